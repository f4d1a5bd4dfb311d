"""The main command's short flags: a user's own peaks, single stages, and a plan that writes nothing."""

import dataclasses

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.io import files
from demo_jax.nn.models import SPECS
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.jobs import Recipe
from tests.helpers_commands import run_command

SITE = 'TGACTCAGC'
SMALL = (
    '--config=configs/default.py',
    '--specs=small_cnn',
    '--config.recipe.epochs=3',
    '--config.recipe.min_steps=0',
    '--config.recipe.batch_size=16',
    '--config.recipe.negative_sets=1',
    '--config.baseline.n_sequences=20',
    '--config.baseline.n_motifs=1',
    '--config.evaluate.n_resamples=20',
    '--config.explain.pieces=("saliency",)',
    '--config.explain.positives=4',
    '--config.match.jaspar=JASPAR2016',
)


def command(*flags):
    return run_command('paper', *flags)


@pytest.fixture(scope='module')
def peaks(tmp_path_factory):
    """A genome of three chromosomes with a motif under every peak, and two peak files."""
    folder = tmp_path_factory.mktemp('peaks')
    rng = np.random.default_rng(0)
    chroms = {name: rng.integers(0, 4, 12_000).astype(np.uint8) for name in ('chr1', 'chr2', 'chr8')}
    lines = {'JUN_lab': [], 'XYZ "x".v2': []}
    for name, letters in chroms.items():
        for number, centre in enumerate(range(200, 11_800, 200)):
            letters[centre - 4 : centre + 5] = dna.encode(SITE)
            task = list(lines)[number % 2]
            lines[task].append(f'{name}\t{centre - 90}\t{centre + 70}\tpeak{number}\t0\t.\t{number}\t-1\t-1\t90\n')
    (folder / 'genome.fa').write_text(''.join(f'>{name}\n{dna.decode(seq)}\n' for name, seq in chroms.items()))
    for task, rows in lines.items():
        (folder / f'{task}.narrowPeak').write_text(''.join(rows))
    return folder, lines


@pytest.fixture(scope='module')
def run(peaks):
    folder, lines = peaks
    files_given = ','.join(str(folder / f'{task}.narrowPeak') for task in lines)
    flags = (f'--peaks={files_given}', f'--genome={folder / "genome.fa"}', f'--workdir={folder / "run"}')
    status, out, err = command(*SMALL, *flags)
    assert status == 0, err
    return folder / 'run', out, flags


def test_peaks_become_tables_in_one_command(run, peaks):
    folder, out, _ = run
    _, lines = peaks
    corpus = RunDirectory(folder).corpus()
    assert corpus.tasks == tuple(sorted(lines))
    for task in corpus.tasks:
        test = corpus.rows(task, 'test')
        places = corpus.intervals[test]
        on_chr8 = [row for row in lines[task] if row.startswith('chr8')]
        positives = [row for row in range(test.start, test.stop) if corpus.labels[row]]
        assert len(positives) == len(on_chr8)  # chr8 is held out
        assert {corpus.chroms[place['chrom']] for place in places if place['chrom'] >= 0} == {'chr8'}
        assert all(corpus.sequence(row)[46:55] == SITE for row in positives)  # centred on the summit
    assert {row['task'] for row in files.read_tsv(folder / 'tables' / 'auroc.tsv')} == set(lines)
    for stage in ('train', 'baseline', 'evaluate', 'explain', 'match', 'discover', 'grammar', 'report'):
        said = [line for line in out.splitlines() if line.startswith(f'{stage}: ')]
        assert len(said) == 1 and 'likely' in said[0]
    assert out.splitlines()[-1] == f'dashboard: {folder / "dashboard" / "index.html"}'
    assert (folder / 'dashboard' / 'index.html').exists() and (folder / 'figures').is_dir()


def test_windows_of_peaks_are_written_on_the_genome(run, peaks):
    folder, _, _ = run
    corpus = RunDirectory(folder).corpus()
    genome = {}
    for record in (peaks[0] / 'genome.fa').read_text().split('>')[1:]:
        name, letters = record.split('\n', 1)
        genome[name] = letters.replace('\n', '')
    place = folder / 'motifs' / files.safe_name('JUN_lab') / 'small_cnn'
    rows = files.read_tsv(place / 'windows.tsv')
    bed = [line.split('\t') for line in (place / 'windows.bed').read_text().splitlines()]
    for row, (chrom, start, end, _, _, strand) in zip(rows, bed, strict=True):
        letters = genome[chrom][int(start) : int(end)]
        if strand == '-':
            letters = dna.decode(dna.reverse_complement(dna.encode(letters)[None])[0])
        assert letters == row['word'] and corpus.name(int(row['row'])) == row['name']


def test_a_plan_says_what_peak_files_were_taken_for(peaks, monkeypatch):
    folder, lines = peaks
    monkeypatch.setenv('HOME', str(folder))
    (folder / 'black.bed').write_text('chr1\t180\t220\nchrM\t1\t9\n')
    given = ','.join(f'{name}=~/{task}.narrowPeak' for name, task in zip(('JUN', 'two words'), lines, strict=True))
    flags = (
        *SMALL,
        '--dry_run',
        f'--peaks={given}',
        f'--genome={folder}/genome.fa',
        f'--workdir={folder}/none',
        f'--config.corpus.blacklist={folder}/black.bed',
    )
    status, out, err = command(*flags, '--config.corpus.top=50')
    assert status == 0, err
    assert ': 2 tasks, ' in out.splitlines()[0]
    told = [
        'peaks: narrowPeak, summits of column 10, ranked by column 7 (all tasks)',
        'genome.fa has no chr9, named as a test chromosome (all tasks)',
        '1 of 2 regions of the blacklist lie on chromosomes that the genome lacks (chrM) (all tasks)',
        'left out: 1 blacklisted (most in JUN: 1)',
        'top: 3 peaks have the same value (24), of which the first 2 in the file are used (JUN)',
    ]
    assert [line for line in told if line not in out.splitlines()] == []
    (folder / 'black.bed').write_text('1\t180\t220\n')
    status, _, err = command(*flags)
    assert status == 2 and err.startswith(f"error: {folder}/black.bed: none of its chromosomes ('1', ...) is in ")


def test_a_plan_counts_and_writes_nothing(tmp_path):
    status, out, err = command(
        '--config=configs/quickstart.py',
        f'--workdir={tmp_path / "none"}',
        '--dry_run',
        '--specs=small_cnn,small_rnn',
        '--config.corpus.n_tasks=3',
        '--config.corpus.n_train=100',
        '--config.corpus.n_test=20',
        '--scheduler=local:3',  # a plan starts no workers
    )
    assert status == 0, err
    assert not (tmp_path / 'none').exists()
    assert 'CPU device' in out and 'worker' not in out
    assert '3 tasks, 720 sequences of 101 bp, 6 models (2 specs, 1 seed)' in out
    # 180 training sequences in batches of 64, 10 epochs: 30 steps per model.
    assert '6 models, 180 steps of 64 sequences' in out and '0/6' in out
    for stage in ('train', 'baseline', 'evaluate', 'explain', 'match', 'discover', 'grammar', 'report', 'memory about'):
        assert stage in out


def test_a_plan_of_a_run_says_what_is_done(run):
    folder, _, flags = run
    before = sorted(path for path in folder.rglob('*') if path.is_file())
    status, out, err = command(*SMALL, *flags, '--dry_run')
    assert status == 0, err
    assert '2/2' in out
    assert sorted(path for path in folder.rglob('*') if path.is_file()) == before


def test_a_run_without_an_input_goes_on_with_its_own_sequences(run):
    folder, _, _ = run
    before = RunDirectory(folder).config()['corpus']
    status, _, err = command(*SMALL, f'--workdir={folder}', '--stages=evaluate', '--config.corpus.width=55')
    assert status == 0, err
    assert RunDirectory(folder).config()['corpus'] == before  # not what did not apply
    status, _, err = command(*SMALL, f'--workdir={folder}', '--dry_run', '--config.corpus.seed=7')
    assert status == 0, err
    status, _, err = command(*SMALL, f'--workdir={folder}', '--stages=evaluate', '--tasks=JUN_lab')
    assert status == 2 and "tasks are 'JUN_lab', but" in err and 'was made with others (2)' in err


@pytest.mark.parametrize('place', ['file', '/proc/none'])
def test_a_place_that_cannot_be_written_is_one_line(place, tmp_path):
    (tmp_path / 'file').touch()
    status, _, err = command(*SMALL, f'--workdir={tmp_path / place}', '--corpus=simulated')
    assert status == 2 and 'cannot be made a run directory' in err and 'Traceback' not in err


@pytest.mark.parametrize(
    'flags, message',
    [
        (
            ('--stages=trian',),
            "error: no stage 'trian'; the stages are train, baseline, evaluate, explain, match, discover, grammar",
        ),
        (('--peaks=a.bed',), 'error: --peaks and --genome belong together'),
        (('--peaks=a.bed', '--genome=g.fa', '--input=x'), 'error: --peaks is an input of its own'),
        (('--tasks=NOPE',), "error: no task 'NOPE' in the input; it holds A"),
        (('--specs=huge_cnn',), "error: unknown spec 'huge_cnn'"),
        (('--corpus=genbank',), "error: source is 'genbank'"),
        (('--config.evaluate.n_resamples=0',), 'error: evaluate: n_resamples is 0, expected 1 or more'),
        (('--config=nofile.py',), 'error: nofile.py: no such config file'),
        (
            ('--config.recipe.epoch=3',),
            'error: --config.recipe.epoch: no such setting; recipe has average_strands, batch',
        ),
        (('--config.recipe.epochs.x=3',), 'error: --config.recipe.epochs.x: no such setting; epochs is a value'),
        (('--config.seeds=(0,0.5)',), 'error: seed is 0.5, expected a whole number'),
        (('--config.learning_rates=("a",)',), "error: learning rate is 'a', expected a number"),
        (('--config.machine.width=-1',), 'error: machine: width is -1, expected 0'),
        (('--config.match.jaspar=JASPAR2015',), "error: JASPAR release 'JASPAR2015' is not installed"),
        (('--config.match.collection=core2',), "has no matrices with tax_group 'vertebrates' and collection 'core2'"),
    ],
)
def test_bad_flags(flags, message, tmp_path):
    (tmp_path / 'A.fa').write_text('>1\nACGTACGTACGTACGTACGTACGTACGT\n' * 4)
    given = () if '--peaks=a.bed' in flags else (f'--input={tmp_path / "A.fa"}',)
    status, _, err = command('--config=configs/default.py', f'--workdir={tmp_path / "none"}', *flags, *given)
    assert status == 2 and message in err and err.count('\n') == 1
    assert not (tmp_path / 'none' / 'run.json').exists()


@pytest.mark.parametrize('flag', ['--config.machine.breadth=1', '--bogus=1'])
def test_a_bad_flag_without_a_config_is_one_line(flag):
    status, _, err = command(flag)
    assert status == 2 and err.count('\n') == 1 and flag.split('=')[0].removeprefix('--') in err


def test_the_papers_config_is_the_papers_recipe():
    from configs import default, paper

    config = paper.get_config()
    assert config.recipe.to_dict() == dataclasses.asdict(Recipe())
    assert (Recipe().learning_rate, Recipe().dropout, Recipe().epochs) == (0.01, 0.5, 50)
    assert config.match.jaspar == 'JASPAR2016' and set(config.specs) == set(SPECS)
    assert set(default.get_config().recipe) == set(dataclasses.asdict(Recipe()))


def test_tasks_by_name_are_as_many_as_are_named(tmp_path):
    task = 'MYC_K562_c-Myc_Stanford'
    status, out, err = command(
        '--config=configs/quickstart.py',
        f'--workdir={tmp_path / "none"}',
        '--dry_run',
        f'--tasks={task}',
        '--config.corpus.simulation.length=60',
        '--config.machine.width=1',
    )
    assert status == 0, err
    assert '1 tasks' in out or '1 task,' in out
    assert 'of 60 bp' in out


def test_the_plan_says_which_tf_each_task_is_of_and_tf_overrules_it(peaks, tmp_path):
    folder, lines = peaks
    (tmp_path / 'K562-CTCF_vs_JUN.narrowPeak').write_text((folder / 'JUN_lab.narrowPeak').read_text())
    given = [str(folder / f'{task}.narrowPeak') for task in lines] + [str(tmp_path / 'K562-CTCF_vs_JUN.narrowPeak')]
    flags = (f'--peaks={",".join(given)}', f'--genome={folder / "genome.fa"}', f'--workdir={tmp_path / "run"}')
    status, out, err = command(*SMALL, *flags, '--dry_run')
    assert status == 0, err
    told = out.splitlines()
    assert 'TF (a symbol in the name): JUN_lab JUN, K562-CTCF_vs_JUN CTCF' in told
    assert 'TF (no known symbol in the name: its first word): XYZ "x".v2 XYZ "x".v2' in told
    assert 'further symbols in names, not taken: K562-CTCF_vs_JUN JUN' in told
    status, out, err = command(*SMALL, *flags, '--dry_run', '--tf=XYZ "x".v2=MAX', '--tf=JUN_lab=JUND')
    assert status == 0, err
    assert 'TF (told by --tf): JUN_lab JUND, XYZ "x".v2 MAX' in out.splitlines()
    for flag, message in (
        ('--tf=ABC=MAX', "--tf='ABC=MAX': no such task; there are JUN_lab"),
        ('--tf=JUN_lab', "--tf='JUN_lab': expected NAME=SYMBOL"),
    ):
        status, _, err = command(*SMALL, *flags, flag)
        assert status == 2 and err.splitlines()[-1].startswith(f'error: {message}') and 'Traceback' not in err
    assert not (tmp_path / 'run').exists() or not (tmp_path / 'run' / 'run.json').exists()


def test_the_plan_of_a_simulation_says_both_releases(tmp_path):
    flags = ('--config=configs/quickstart.py', '--dry_run', '--config.corpus.n_train=20', f'--workdir={tmp_path / "x"}')
    _, out, _ = command(*flags)
    assert 'motifs planted from JASPAR2022, matched with JASPAR2022' in out.splitlines()
    _, out, _ = command(*flags, '--config.match.jaspar=JASPAR2026', '--config.corpus.jaspar=JASPAR2016')
    assert 'motifs planted from JASPAR2016, matched with JASPAR2026' in out.splitlines()
    status, _, err = command(*flags, '--tf=MYC_K562_c-Myc_Stanford=MAX')
    assert status == 2 and 'a simulated task' in err and err.count('\n') == 1


def test_tables_count_what_was_used_and_left_out(run):
    folder, out, _ = run
    assert 'Table 4 leaves out 1 of 2 tasks, whose TF has no matrix in JASPAR2016: XYZ "x".v2' in out
    rows = files.read_tsv(folder / 'tables' / 'table4.tsv')
    assert rows and all((row['n_tasks'], row['out_of']) == ('1', '4') for row in rows if row['method'] == 'saliency')
    used = {row['task']: int(row['n_test']) for row in files.read_tsv(folder / 'tables' / 'auroc.tsv')}
    assert used == {'JUN_lab': 58, 'XYZ "x".v2': 58}  # 29 peaks each on chr8, fewer than the 500 of other sets


def test_tasks_without_test_data_are_named(tmp_path):
    for name in ('A_AC', 'A_B', 'C_AC'):
        (tmp_path / f'{name}.seq').write_text('FoldID\tEventID\tseq\tBound\n')
    status, _, err = command('--config=configs/default.py', f'--workdir={tmp_path / "run"}', f'--input={tmp_path}')
    assert status == 2 and err.count('\n') == 1
    assert f'{tmp_path / "C_AC.seq"}: the test file that belongs to it (C_B.seq) is missing' in err


@pytest.mark.parametrize('stage, needed', [('evaluate', 'train'), ('explain', 'train'), ('match', 'explain')])
def test_a_stage_asked_for_too_early(run, tmp_path, stage, needed):
    _, _, flags = run
    status, _, err = command(*SMALL, *flags[:2], f'--workdir={tmp_path / "early"}', f'--stages={stage}')
    assert status == 2 and f'run the stage {needed}' in err and 'Traceback' not in err
