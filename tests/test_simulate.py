"""The simulated corpus: what is planted is where the corpus says, and nothing else tells the classes apart."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from demo_jax import dna
from demo_jax.data.simulate import RELEASE, SimulationSettings, most_informative, simulate_corpus
from demo_jax.errors import InputError
from demo_jax.evaluation.published import k562_tasks
from demo_jax.motifs.jaspar import load_matrices, releases
from demo_jax.motifs.matching import own_matrices
from demo_jax.stages.sources import describe, prepare_corpus

TASKS = ('GATA1_K562_x', 'CTCF_K562_y', 'BDP1_K562_z', 'MAX_K562_w')
OWN = {'GATA1_K562_x': 'MA0035.3', 'CTCF_K562_y': 'MA0139.1', 'MAX_K562_w': 'MA0058.3'}
PAIR = 'MAX_K562_w'
SETTINGS = SimulationSettings(cofactor_tasks=1.0, pair_tasks=(PAIR,))


@pytest.fixture(scope='module')
def jaspar():
    return load_matrices('JASPAR2016')


@pytest.fixture(scope='module')
def matrices(jaspar):
    return {motif: matrix.probabilities for motif, matrix in jaspar.items()}


@pytest.fixture(scope='module')
def corpus(matrices):
    return simulate_corpus(TASKS, matrices, task_motifs=OWN, n_train=400, n_test=300, settings=SETTINGS, seed=4)


def site_letters(corpus, site):
    """The letters of a site as its own strand reads."""
    first = corpus.starts[site['row']] + site['start']
    letters = corpus.tokens[first : first + site['width']]
    return letters if site['strand'] > 0 else dna.reverse_complement(letters)


def of_task(corpus, name):
    k = corpus.task_index(name)
    sites = corpus.sites
    return sites[(sites['row'] >= corpus.bounds[k, 0]) & (sites['row'] < corpus.bounds[k, -1])]


def test_layout(corpus):
    assert corpus.tasks == TASKS and set(corpus.lengths) == {101}
    assert corpus.bounds[0].tolist() == [0, 720, 800, 1400]
    assert corpus.name(0).startswith('train_') and corpus.name(1399).endswith('_shuf')
    assert (corpus.pairs >= 0).all()


def test_recorded_sites_hold_their_motif(corpus, matrices):
    """Letters at the recorded places follow the motif: their counts correlate with the matrix, on both strands."""
    sites = corpus.sites
    assert (sites['start'] >= 0).all() and (sites['start'] + sites['width'] <= 101).all()
    for number, motif in enumerate(corpus.site_motifs):
        for strand in (1, -1):
            chosen = sites[(sites['motif'] == number) & (sites['strand'] == strand)]
            assert len(chosen) > 20 and set(chosen['width']) == {len(matrices[motif])}
            counts = np.mean([dna.one_hot(site_letters(corpus, site)) for site in chosen], axis=0)
            assert np.corrcoef(counts.ravel(), matrices[motif].ravel())[0, 1] > 0.9


def test_site_letters_have_the_sharpened_distribution(matrices):
    matrix = matrices['MA0139.1']
    settings = SimulationSettings(sharpness=2.0, weak_share=(0.0, 0.0), motif_share=(1.0, 1.0), cofactor_tasks=0)
    c = simulate_corpus(
        ['CTCF_a'], matrices, task_motifs={'CTCF_a': 'MA0139.1'}, n_train=3000, n_test=10, settings=settings
    )
    primary = c.sites[c.sites['role'] == 0]
    assert len(primary) == 3010
    seen = np.mean([dna.one_hot(site_letters(c, site)) for site in primary], axis=0)
    expected = matrix**2 / (matrix**2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(seen, expected, atol=4 * np.sqrt(0.25 / 3010))
    centre = primary['start'] + primary['width'] / 2 - 50.5
    assert abs(centre.mean()) < 1.5 and 12 < centre.std() < 16  # sd 15, cut off at the sequence's ends


def test_roles(corpus):
    for name in TASKS[:3]:
        facts = corpus.info['tasks'][name]
        sites = of_task(corpus, name)
        labels = corpus.labels[sites['row']]
        primary, cofactor, decoy = (sites['role'] == role for role in range(3))
        assert {corpus.site_motifs[n] for n in sites['motif'][primary]} == {facts['motif']}
        assert {corpus.site_motifs[n] for n in sites['motif'][cofactor]} == {facts['cofactor']}
        assert {corpus.site_motifs[n] for n in sites['motif'][decoy]} == set(facts['decoys'])
        assert (labels[primary | cofactor] == 1).all()
        assert abs(primary.sum() / 700 - facts['motif_share']) < 0.05
        assert abs(cofactor.sum() / primary.sum() - SETTINGS.cofactor_share) < 0.1
        # The co-factor lies at the task's spacing, downstream as the motif's strand reads.
        of_row = {site['row']: site for site in sites[primary]}
        for site in sites[cofactor]:
            own = of_row[site['row']]
            left, right = (own, site) if own['strand'] > 0 else (site, own)
            assert right['start'] - left['start'] - left['width'] == facts['spacing']
            assert own['strand'] == site['strand']


def test_decoys_are_the_same_in_both_of_a_pair(corpus):
    decoys = corpus.sites[corpus.sites['role'] == 2]
    by_label = [
        sorted(
            (corpus.pairs[site['row']], site['start'], site['strand'], site['motif'])
            for site in decoys
            if corpus.labels[site['row']] == label
        )
        for label in (0, 1)
    ]
    assert by_label[0] == by_label[1] and len(by_label[0]) > 300
    rows = corpus.sites['row']
    for row in np.unique(decoys['row']):
        here = np.sort(corpus.sites[rows == row], order='start')
        assert (here['start'][1:] >= here['start'][:-1] + here['width'][:-1]).all()


def test_pair_tasks_are_told_by_spacing_alone(corpus):
    facts = corpus.info['tasks'][PAIR]
    sites = of_task(corpus, PAIR)
    gaps = {0: [], 1: []}
    for row in np.unique(sites['row'][sites['role'] == 0]):
        first, second = (sites[(sites['row'] == row) & (sites['role'] == role)][0] for role in (0, 1))
        left, right = (first, second) if first['strand'] > 0 else (second, first)
        gaps[int(corpus.labels[row])].append(right['start'] - left['start'] - left['width'])
    assert len(gaps[0]) == len(gaps[1]) > 500
    assert set(gaps[1]) == {facts['spacing']}
    assert min(gaps[0]) >= 0 and np.abs(np.array(gaps[0]) - facts['spacing']).min() >= SETTINGS.pair_margin
    assert abs(np.mean(gaps[0]) - facts['spacing']) < 0.7  # not told by the mean place either


def test_negatives_without_decoys_are_dinucleotide_shuffles(matrices):
    settings = SimulationSettings(decoys=0, decoy_share=0)
    c = simulate_corpus(TASKS[:1], matrices, task_motifs=OWN, n_train=20, n_test=10, settings=settings)
    for pair in np.unique(c.pairs):
        a, b = (c.sequence(row) for row in np.flatnonzero(c.pairs == pair))
        assert a != b and a[0] == b[0] and a[-1] == b[-1]
        assert sorted(zip(a, a[1:], strict=False)) == sorted(zip(b, b[1:], strict=False))


def best_match(one_hot, matrix):
    """The highest log-odds score over positions and both strands: float (n,)."""
    weights = np.log2(np.maximum(matrix, 0.01) / 0.25)
    windows = np.lib.stride_tricks.sliding_window_view(one_hot, len(matrix), axis=1)
    return np.max([np.einsum('npaw,wa->np', windows, w).max(axis=1) for w in (weights, weights[::-1, ::-1])], axis=0)


def test_difficulty(corpus, matrices):
    """The planted motif's own matrix gives an AUROC that is good and not perfect; in a pair task it gives nothing."""
    for name in TASKS:
        rows = corpus.rows(name, 'test')
        scores = best_match(dna.one_hot(corpus.padded(rows)), matrices[corpus.info['tasks'][name]['motif']])
        auroc = roc_auc_score(corpus.labels[rows], scores)
        assert (0.42 < auroc < 0.58) if name == PAIR else (0.8 < auroc < 0.99), (name, auroc)


def test_background_is_realistic(matrices):
    settings = SimulationSettings(motif_share=(0.0, 0.0), decoys=0, gc_peak=0.4)
    c = simulate_corpus(TASKS, matrices, task_motifs=OWN, n_train=1000, n_test=10, settings=settings)
    assert len(c.sites) == 0
    for name in TASKS:
        rows = c.rows(name, 'train')
        tokens = c.padded(rows)[c.labels[rows] == 1]
        is_gc = (tokens == 1) | (tokens == 2)
        assert is_gc[:, 40:61].mean() > is_gc[:, :15].mean() + 0.03
        assert abs(is_gc.mean() - c.info['tasks'][name]['gc']) < 0.06
        cpg = ((tokens[:, :-1] == 1) & (tokens[:, 1:] == 2)).mean()
        assert 0.1 < cpg / ((tokens == 1).mean() * (tokens == 2).mean()) < 0.7  # depleted


def test_a_task_does_not_depend_on_the_others(corpus, matrices):
    def content(c, name):
        span = slice(*c.bounds[c.task_index(name)][[0, -1]])
        sites = of_task(c, name)
        return c.padded(span).tobytes(), c.labels[span].tobytes(), [c.site_motifs[m] for m in sites['motif']]

    options = {'task_motifs': OWN, 'n_train': 400, 'n_test': 300}
    no_pairs = dataclasses.replace(SETTINGS, pair_tasks=())
    alone = simulate_corpus(TASKS[2:3], matrices, seed=4, settings=no_pairs, **options)
    assert content(alone, TASKS[2]) == content(corpus, TASKS[2])
    other = simulate_corpus(TASKS, matrices, settings=SETTINGS, seed=5, **options)
    assert content(other, TASKS[2]) != content(corpus, TASKS[2])


def test_proteins_without_a_motif_get_one_and_it_is_said(corpus, matrices):
    assert corpus.info['tasks']['BDP1_K562_z']['motif_assigned'] is True
    assert corpus.info['tasks']['CTCF_K562_y']['motif_assigned'] is False
    other = simulate_corpus(['BDP1_other', 'BDP1_more'], matrices, n_train=10, n_test=5, seed=77)
    assigned = {facts['motif'] for facts in other.info['tasks'].values()}
    assert assigned == {corpus.info['tasks']['BDP1_K562_z']['motif']}


def test_bad_settings_and_matrices(matrices):
    for changes, message in (
        ({'gc': (0.6, 0.4)}, 'gc is'),
        ({'motif_share': (0.5, 1.2)}, 'between 0 and 1'),
        ({'length': 10}, 'length is 10'),
        ({'sharpness': 0}, 'sharpness'),
        ({'decoy_share': -1}, 'decoy_share is -1'),
    ):
        with pytest.raises(InputError, match=message):
            SimulationSettings(**changes)

    def simulate(names=TASKS, matrices=matrices, **options):
        return simulate_corpus(names, matrices, n_train=10, n_test=5, **options)

    with pytest.raises(InputError, match="motif 'bad': .*shape"):
        simulate(matrices={'bad': np.ones((3, 5))})
    with pytest.raises(InputError, match='not probabilities'):
        simulate(matrices={'bad': np.ones((3, 4))})
    with pytest.raises(InputError, match='0 matrices of 7 to 16 columns'):
        simulate(matrices={})
    with pytest.raises(InputError, match="its motif 'MA9' is not among"):
        simulate(task_motifs={TASKS[0]: 'MA9'})
    with pytest.raises(InputError, match="pair_tasks names 'nobody'"):
        simulate(settings=SimulationSettings(pair_tasks=('nobody',)))
    tight = SimulationSettings(length=42, pair_tasks=(PAIR,), pair_margin=10)
    with pytest.raises(InputError, match='need .* letters, the sequences have 42'):
        simulate([PAIR], task_motifs={PAIR: 'MA0139.1'}, settings=tight)
    with pytest.raises(InputError, match='occurs 2 times'):
        simulate(['A_x', 'A_x'])
    with pytest.raises(InputError, match='n_train is 1'):
        simulate_corpus(TASKS, matrices, n_train=1)


def test_jaspar_matrices_are_those_of_pyjaspar(jaspar):
    from pyjaspar import jaspardb

    database = jaspardb(release='JASPAR2016')
    motifs = database.fetch_motifs(collection='CORE', tax_group=['vertebrates'])
    database.conn.close()
    assert len(jaspar) == len(motifs) == 519 and list(jaspar) == sorted(jaspar)
    for motif in motifs:
        counts = np.array([motif.counts[letter] for letter in 'ACGT']).T
        np.testing.assert_allclose(jaspar[motif.matrix_id].counts, counts)
        np.testing.assert_allclose(jaspar[motif.matrix_id].probabilities, counts / counts.sum(axis=1, keepdims=True))
        assert jaspar[motif.matrix_id].name == motif.name


def test_jaspar_names_and_releases(jaspar):
    assert own_matrices('gata1', jaspar) == ('MA0035.3',)  # not GATA1::TAL1
    assert own_matrices('BDP1', jaspar) == ()
    assert releases()[0] == 'JASPAR2026' and 'JASPAR2016' in releases()
    with pytest.raises(InputError, match="'JASPAR1999' is not installed; pyjaspar has JASPAR2026"):
        load_matrices('JASPAR1999')
    with pytest.raises(InputError, match='no matrices with tax_group'):
        load_matrices('JASPAR2016', tax_group='martians')


def test_the_most_informative_matrix_is_planted(matrices):
    bits = {motif: 2 * len(m) + np.sum(m * np.log2(np.maximum(m, 1e-12))) for motif, m in matrices.items()}
    assert bits['MA0492.1'] > bits['MA0491.1']  # JUND's two
    assert most_informative(('MA0491.1', 'MA0492.1'), matrices, 101) == 'MA0492.1'
    assert most_informative(('MA0492.1', 'MA0491.1'), matrices, 101) == 'MA0492.1'
    assert most_informative(('MA0491.1',), matrices, 101) == 'MA0491.1'
    exact = np.eye(4)[[0, 1, 2, 3] * 10]
    made = {'wide': exact[:26], 'quarter': exact[:25], 'short': exact[:8], 'equal': exact[1:9]}
    assert most_informative(('short', 'wide', 'quarter'), made, 101) == 'quarter'
    assert most_informative(('wide', 'short'), made, 101) == 'short'
    assert most_informative(('wide',), made, 101) == 'wide'
    assert most_informative(('short', 'equal'), made, 101) == 'short'  # of equals the first


def test_the_default_release_is_pinned_and_plants_no_short_words():
    """Of the 108 tasks all plant words of 8 letters or more, but for ARID3A, whose only matrix has 6 columns."""
    options = {'source': 'simulated', 'tasks': [task.name for task in k562_tasks()], 'n_train': 2, 'n_test': 1}
    corpus = prepare_corpus(**options)
    assert corpus.info['jaspar'] == RELEASE == 'JASPAR2022'
    assert corpus.fingerprint() == prepare_corpus(**options, jaspar=RELEASE).fingerprint()
    assert corpus.fingerprint() != prepare_corpus(**options, jaspar='JASPAR2026').fingerprint()
    planted = {task: facts['motif'] for task, facts in corpus.info['tasks'].items()}
    known = load_matrices(RELEASE)
    short = {task.split('_')[0] for task, motif in planted.items() if len(known[motif].probabilities) <= 7}
    assert short == {'ARID3A'}
    for task in k562_tasks():
        own = own_matrices(task.protein, known)
        assert corpus.info['tasks'][task.name]['motif_assigned'] == (not own)
        if own and task.protein != 'CTCF':
            assert known[planted[task.name]].bits == max(known[motif].bits for motif in own)
    assert {planted[task.name] for task in k562_tasks() if task.protein == 'CTCF'} == {'MA0139.1'}
    assert f'motifs planted from {RELEASE}, fingerprint' in describe(corpus).splitlines()[-1]


def test_a_tf_is_found_in_the_name_of_a_simulated_task_or_told():
    options = {'source': 'simulated', 'n_train': 2, 'n_test': 1, 'jaspar': 'JASPAR2016'}
    corpus = prepare_corpus(**options, tasks=['K562_GATA1', 'sample7'], tf=['sample7=CTCF'])
    planted = {task: (facts['motif'], facts['motif_assigned']) for task, facts in corpus.info['tasks'].items()}
    assert planted == {'K562_GATA1': ('MA0035.3', False), 'sample7': ('MA0139.1', False)}
    with pytest.raises(InputError, match='no such task'):
        prepare_corpus(**options, tasks=['K562_GATA1'], tf=['sample7=CTCF'])
