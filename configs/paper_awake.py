"""The paper's recipe with the least change that keeps its models alive: the rate of 1e-2 is reached in 5% of the steps.

    python -m experiments.paper --config=configs/paper_awake.py --workdir=runs/paper_awake \\
        --config.corpus.source=auto --config.corpus.input=DATA

At 1e-2 from the first step, many CNNs push every ReLU of a layer below zero for good, and start again at half of it.
"""

from ml_collections import ConfigDict

from configs import paper


def get_config() -> ConfigDict:
    """The settings of `configs/paper.py` with a warm-up."""
    config = paper.get_config()
    config.recipe.warmup = 0.05
    return config
