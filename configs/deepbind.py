"""DeepBind's CNN as a baseline, trained for as long as it gets better on validation data.

    python -m experiments.paper --config=configs/deepbind.py --input=DATA --workdir=runs/deepbind \
        --stages=train,evaluate
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The default settings with eight times as many sequences, dropout 1/2 and more shuffles."""
    config = default.get_config()
    config.specs = ('deepbind',)
    config.recipe.update(
        {
            'batch_size': 128,
            'epochs': 16,
            'min_steps': 8000,
            'dropout': 0.5,
            'weight_decay': 1e-2,
            'negative_sets': 12,
            'patience': 0,
            'patience_share': 0.0,
        }
    )
    return config
