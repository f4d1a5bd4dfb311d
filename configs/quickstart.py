"""A first look on simulated data: a few TFs, the three architectures, in under 5 minutes on 2 cores.

python -m experiments.paper --config=configs/quickstart.py --workdir=runs/quickstart
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The default settings on a small simulated corpus, with fewer steps."""
    config = default.get_config()
    config.corpus.update({'source': 'simulated', 'n_tasks': 4, 'n_train': 1500, 'n_test': 250})
    config.specs = ('medium_cnn', 'medium_rnn', 'medium_cnn_rnn')
    config.recipe.update(
        {
            'epochs': 10,
            'min_steps': 0,
            'negative_sets': 2,
            'learning_rate': 4e-3,  # twice as much in so few steps: medium CNN-RNN -.002 by validation
            'lstm_rate': 4.0,
            'weight_decay': 0.1,
        }
    )
    config.evaluate.n_resamples = 200
    config.explain.update(
        {
            'positives': 100,
            'negatives': 25,
            'references': 10,
            'optimisation_steps': 500,
            'sufficient_steps': 250,
        }
    )
    return config
