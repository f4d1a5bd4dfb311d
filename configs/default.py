"""Our best recipe: what validation data prefer over the paper's plain one.

    python -m experiments.paper --config=configs/default.py --workdir=runs/default \\
        --config.corpus.source=auto --config.corpus.input=DATA

Other configs change a few lines of this one. Any setting can be given on the command line as
`--config.SECTION.NAME=VALUE`; unknown names and wrong types are refused.
"""

import dataclasses

from ml_collections import ConfigDict, config_dict

from demo_jax.data.simulate import RELEASE, SimulationSettings


def get_config() -> ConfigDict:
    """The settings, with what each means."""
    config = ConfigDict()

    # Where the sequences come from: see `python -m experiments.prepare --help`.
    config.corpus = ConfigDict({
        # auto, deepbind, deepmotif, fasta, bed, simulated, deepmotif108, or prepared (a corpus on disk)
        'source': 'auto',
        'input': '',  # files and folders, separated by commas; $VARIABLES are replaced
        'tasks': '',  # only these tasks, separated by commas
        'seed': 0,  # of shuffles, validation rows and the simulation
        'valid_fraction': 0.1,  # share of the training pairs to choose epochs and specs by
        'n_tasks': 0,  # simulated: how many of the 108 K562 tasks, unless `tasks` names some; 0 = all
        'n_train': 1000,  # simulated: training positives per task
        'n_test': 500,  # simulated: test positives per task
        'n_pair_tasks': 0,  # simulated: in so many tasks only the spacing of two motifs tells
        'simulation': dataclasses.asdict(SimulationSettings()),  # simulated: what each means is said there
        'jaspar': RELEASE,  # simulated: release of the motifs
        'test_fraction': 0.0,  # share held out where the input names no test set; 0 = FASTA .1, bed refused
        'genome': '',  # bed: FASTA file of the genome
        'width': 101,  # bed: bp per window, centred on the summit
        'top': 0,  # bed: only so many peaks, the strongest; 0 = all
        'test_chroms': 'chr8,chr9',  # bed: chromosomes whose peaks are for testing
        'blacklist': '',  # bed: BED file of regions to leave out
        'negatives': 'shuffle',  # bed: or gc, windows of the genome with the same GC content
        'download': False,  # deepmotif108: fetch the archive (107 MB) unless it is in `cache`
        'cache': '~/.cache/demo_jax',
    })  # fmt: skip

    # The job table: every combination of task, spec, seed, learning rate and dropout is one model.
    config.specs = ('medium_cnn', 'medium_rnn', 'medium_cnn_rnn')
    config.seeds = (0,)
    config.learning_rates = (0.0,)[:0]  # a grid; none = the recipe's
    config.dropouts = (0.0,)[:0]

    # How each model is trained; `demo_jax.training.jobs.Recipe` says what each means.
    config.recipe = ConfigDict({
        'batch_size': 128,
        'epochs': 16,
        'min_steps': 2000,
        'learning_rate': 4e-3,
        'schedule': 'cosine',
        'halve_every': 10,
        'warmup': 0.1,
        'dropout': 0.25,
        'weight_decay': 1e-2,
        'clip_value': 0.0,
        'clip_norm': 1.0,
        'reverse_complement': True,
        'average_strands': True,
        'negative_sets': 4,
        'patience': 0,
        'retries': 3,
    })  # fmt: skip

    # How the work is laid out on this machine; all but `precision` changes the speed only.
    config.machine = ConfigDict({
        'host_devices': 0,  # CPU devices; 0 = one single-threaded device per core
        # models in lockstep on one device; none = 1 on a CPU, all on a GPU or TPU; 0 = all
        'width': config_dict.placeholder(int),
        'slots': 0,  # models held at once; 0 = one per CPU device, up to 128 per GPU
        'segment_steps': 0,  # training steps per call; 0 = 32 on a CPU, 256 on a GPU
        'precision': 'float32',  # of matrix products in training on a GPU or TPU: float32, tf32 or bf16
        'compilation_cache': '~/.cache/demo_jax/xla',  # compiled programs, for the next start; '' = kept nowhere
    })  # fmt: skip

    config.checkpoint_seconds = 60.0
    # The classical baseline; `demo_jax.stages.baseline.BaselineSettings` says what each means.
    config.baseline = ConfigDict({'method': 'auto', 'n_sequences': 500, 'n_motifs': 5, 'timeout': 600.0})
    config.evaluate = ConfigDict({'n_resamples': 1000})  # bootstrap resamples for the 95% intervals

    # What is explained, and how; `demo_jax.stages.explain.ExplainSettings` says what each means.
    config.explain = ConfigDict({
        'specs': ('',)[:0],  # none = the best of each kind by validation AUROC, as in the paper; ('all',) = every one
        'pieces': (
            'saliency', 'integrated_gradients', 'mutagenesis', 'temporal', 'activations', 'filters',
            'class_optimisation',
        ),
        'positives': 500,  # test positives per task; 0 = all
        'negatives': 50,
        'integration_steps': 32,
        'truncate': 'input',
        'restarts': 4,
        'optimisation_steps': 1000,
        'optimisation_rate': 0.05,
        'optimisation_l2': 0.009,
    })  # fmt: skip

    # How motifs are matched; `demo_jax.stages.match.MatchSettings` says what each means.
    config.match = ConfigDict({
        'jaspar': '',  # release, e.g. JASPAR2016; none = that of simulated motifs, for other data the newest
        'tax_group': 'vertebrates',
        'collection': 'CORE',
        'rule': 'monomer',
        'tf': '',  # TASK=SYMBOL, separated by commas: which TF a task is of, where its name does not tell
        'measure': 'q_value',
        'threshold': 0.5,
        'chance_draws': 4,
        'filters': True,
        'modisco': True,
        'modisco_map': 'auto',
    })  # fmt: skip
    # Figures and the page; `demo_jax.stages.report.ReportSettings` says what each means.
    config.dashboard = ConfigDict({
        'sequences': 50,  # test sequences per task on the page
        'dashboards': 2,  # dashboard figures per task
        'hit_p_value': 1e-4,  # of the JASPAR hits in the sequences; a shorter motif's are its best words
        'page_megabytes': 60.0,  # larger pages show fewer sequences
    })  # fmt: skip
    return config
