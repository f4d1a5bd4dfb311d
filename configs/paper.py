"""The paper's recipe: nine models of Table 1 and DeepBind's CNN, Adam at 1e-2 halved every 10 of 50 epochs.

    python -m experiments.paper --config=configs/paper.py --workdir=runs/paper \\
        --config.corpus.source=auto --config.corpus.input=DATA
"""

from ml_collections import ConfigDict

from configs import default
from configs.sections import section
from demo_jax.training.jobs import Recipe


def get_config() -> ConfigDict:
    """The default settings with the paper's recipe in place of ours."""
    config = default.get_config()
    config.specs = (
        'small_rnn',
        'medium_rnn',
        'large_rnn',
        'small_cnn',
        'medium_cnn',
        'large_cnn',
        'small_cnn_rnn',
        'medium_cnn_rnn',
        'large_cnn_rnn',
        'deepbind',
    )
    config.recipe = section(Recipe)  # its defaults are the paper's
    config.match.jaspar = 'JASPAR2016'
    return config
