"""Our best recipe: what validation data prefer over the paper's plain one.

    python -m experiments.paper --config=configs/default.py --workdir=runs/default \\
        --config.corpus.source=auto --config.corpus.input=DATA

Here is only what differs from the defaults of the dataclasses that each section is made from. `python -m configs`
prints every setting with its default and its meaning. Other configs change a few lines of this one. Any setting can
be given on the command line as `--config.SECTION.NAME=VALUE`; unknown names and wrong types are refused.
"""

from ml_collections import ConfigDict

from configs.sections import section
from demo_jax.compute.devices import DeviceSettings
from demo_jax.stages import record
from demo_jax.stages.sources import CorpusSettings
from demo_jax.stages.train import CHECKPOINT_SECONDS
from demo_jax.training.machine import Machine


def sections() -> dict[str, tuple[type, ...]]:
    """The dataclasses that each section is made from: those of the stages, the sequences and the machine."""
    of_stages = {stage.section: (stage.settings,) for stage in record.STAGES}
    return {'corpus': (CorpusSettings,), 'machine': (DeviceSettings, Machine), **of_stages}


def get_config() -> ConfigDict:
    """The settings: those of each section, the job table's, and the seconds between two checkpoints."""
    config = ConfigDict({name: section(*classes) for name, classes in sections().items()})
    # The job table: every combination of task, spec, seed, learning rate and dropout is one model.
    config.specs = ('medium_cnn', 'medium_rnn', 'medium_cnn_rnn')
    config.seeds = (0,)
    config.folds = 1  # more: as many models, each validated on a fold that it has not seen (docs/data.md)
    config.fold_by = 'auto'  # by chromosome for peaks and by pair elsewhere; 'pair' = always by pair
    config.learning_rates = (0.0,)[:0]  # a grid; none = the recipe's
    config.dropouts = (0.0,)[:0]
    config.deepbind = ''  # folder of DeepBind's published models: they stand beside ours (see docs/files.md)
    config.checkpoint_seconds = CHECKPOINT_SECONDS
    config.recipe.update(
        {
            # What the parts are worth in validation AUROC is in RESULTS.md ("Half the operations").
            'batch_size': 64,  # twice the steps of 128 at the same operations
            'epochs': 8,
            'min_steps': 1900,
            'learning_rate': 8e-3,  # medium CNN: 4e-3 -.005 on two large sets, 1.2e-2 as much
            'lstm_rate': 2.0,  # RNNs want 1.6e-2; CNN-RNNs do not care
            'centred': True,  # medium CNN +.008 on two large sets at 4e-3, and it bears twice the rate; CNN-RNN +.003
            'schedule': 'cosine',
            'warmup': 0.1,
            'dropout': 0.1,  # 0.2: medium CNN -.002 on two small sets and, with decay 0.1, -.007 on two large ones
            'weight_decay': 0.05,
            'clip_value': 0.0,
            'clip_norm': 1.0,
            'reverse_complement': True,
            'average_strands': True,
            'negative_sets': 4,
            'patience': 5,
            'patience_share': 0.4,
        }
    )
    return config
