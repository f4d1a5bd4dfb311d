"""The paper's 108 tasks by name, on simulated data: every table over 108 tasks, three specs, without any download.

    python -m experiments.paper --config=configs/simulated108.py --workdir=runs/simulated108

29 minutes on two idle cores, 51 core-minutes.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The default settings on 108 simulated tasks, sized for two cores."""
    config = default.get_config()
    config.corpus.update({'source': 'simulated', 'n_tasks': 0, 'n_train': 1500, 'n_test': 500, 'jaspar': 'JASPAR2016'})
    config.recipe.update({'epochs': 6, 'min_steps': 0, 'negative_sets': 2})
    config.evaluate.n_resamples = 200
    config.explain.update(
        {
            'pieces': ('saliency', 'temporal', 'activations', 'class_optimisation'),
            'positives': 500,
            'negatives': 10,
            'restarts': 2,
            'optimisation_steps': 300,
        }
    )
    config.match.update({'jaspar': 'JASPAR2016', 'filters': False, 'modisco': False})
    config.dashboard.update({'sequences': 20, 'dashboards': 1})
    return config
