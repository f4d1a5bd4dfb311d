"""The paper's recipe: nine models of Table 1 and DeepBind's CNN, Adam at 1e-2 halved every 10 of 50 epochs.

    python -m experiments.paper --config=configs/paper.py --workdir=runs/paper \\
        --config.corpus.source=auto --config.corpus.input=DATA
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The default settings with the paper's recipe in place of ours."""
    config = default.get_config()
    config.specs = (
        'small_rnn', 'medium_rnn', 'large_rnn', 'small_cnn', 'medium_cnn', 'large_cnn',
        'small_cnn_rnn', 'medium_cnn_rnn', 'large_cnn_rnn', 'deepbind',
    )  # fmt: skip
    config.recipe.update({
        'batch_size': 256,
        'epochs': 50,
        'min_steps': 0,
        'learning_rate': 1e-2,
        'schedule': 'halving',
        'halve_every': 10,
        'warmup': 0.0,
        'dropout': 0.5,
        'weight_decay': 0.0,
        'clip_value': 5.0,
        'clip_norm': 0.0,
        'reverse_complement': False,
        'average_strands': False,
        'negative_sets': 1,
        'patience': 0,
    })  # fmt: skip
    config.match.jaspar = 'JASPAR2016'
    return config
