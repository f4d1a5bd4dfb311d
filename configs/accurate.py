"""The most accurate scores that our recipes give: three seeds of the medium CNN-RNN, each trained for twice as long.

    python -m experiments.paper --config=configs/accurate.py --workdir=runs/accurate \\
        --config.corpus.source=auto --config.corpus.input=DATA

It takes six times the operations of `configs/default.py` with this one architecture. Scores, variants and explanations
are of the three together.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The default settings with one architecture, three seeds and twice the steps."""
    config = default.get_config()
    config.specs = ('medium_cnn_rnn',)
    config.seeds = (0, 1, 2)
    config.recipe.update({'epochs': 16, 'min_steps': 3800})
    return config
