"""Own matrices from release to release: the planted one by its id, what is missing is said, and how 2016's differ."""

import dataclasses

import numpy as np
import pytest

from demo_jax.data.simulate import RELEASE
from demo_jax.errors import InputError
from demo_jax.evaluation.proteins import Protein
from demo_jax.evaluation.published import k562_tasks
from demo_jax.motifs import jaspar, own
from demo_jax.motifs.matching import own_matrices
from demo_jax.stages.sources import prepare_corpus

ZBTB7A = 'ZBTB7A_K562_ZBTB7A_(SC-34508)_HudsonAlpha'
GATA1 = 'GATA1_K562_GATA-1_USC'
STAND_IN = 'BCL3_K562_BCL3_HudsonAlpha'  # no release has a matrix of it


def simulated(release, tasks):
    return prepare_corpus(source='simulated', tasks=tasks, n_train=4, n_test=2, jaspar=release)


def without_release(corpus):
    """As an earlier version wrote it."""
    return dataclasses.replace(corpus, info={name: value for name, value in corpus.info.items() if name != 'jaspar'})


def test_the_release_is_stored_and_matched_with():
    corpus = simulated(None, [GATA1, STAND_IN])
    assert corpus.info['jaspar'] == RELEASE == 'JASPAR2022' and corpus.info['seed'] == 0
    found = own.find_own(corpus, corpus.tasks)
    assert (found.release, found.planted_from, found.notes, found.without) == (RELEASE, RELEASE, (), [])
    planted = {task: facts['motif'] for task, facts in corpus.info['tasks'].items()}
    assert {task: ids[0] for task, ids in found.ids.items()} == planted
    assert found.ids[GATA1] == ('MA0035.4',) and found.planted[GATA1] == ('MA0035.4', 'MA0035.4')
    assert found.facts()[GATA1] == {
        'tf': 'GATA1',
        'release': RELEASE,
        'consensus': 'ttCTAATCTat',
        'planted': 'JASPAR2022:MA0035.4',
    }


@pytest.mark.parametrize('release', ['JASPAR2016', 'JASPAR2024', 'JASPAR2026'])
def test_all_108_are_matched_with_what_was_planted(release):
    """Whatever the release, no task drops out, stand-ins included."""
    corpus = simulated(release, [task.name for task in k562_tasks()])
    found = own.find_own(corpus, corpus.tasks)
    assert found.release == release and not found.without and not found.notes
    for task, facts in corpus.info['tasks'].items():
        assert found.ids[task][0] == facts['motif']
        assert facts['motif_assigned'] <= (found.ids[task] == (facts['motif'],))


def test_another_release_is_said_and_what_it_lacks():
    corpus = simulated('JASPAR2026', [ZBTB7A, GATA1, STAND_IN])
    stand_in = corpus.info['tasks'][STAND_IN]['motif']
    found = own.find_own(corpus, corpus.tasks, release='JASPAR2016')
    assert stand_in.partition('.')[0] not in {motif.partition('.')[0] for motif in found.matrices}
    assert found.ids == {ZBTB7A: ('MA0750.1',), GATA1: ('MA0035.3',), STAND_IN: ()}
    assert found.planted[ZBTB7A] == ('MA0750.4', 'MA0750.1') and found.planted[STAND_IN] == (stand_in, None)
    assert found.notes == (
        'Motifs were planted from JASPAR2026 and are matched with JASPAR2016.',
        'JASPAR2016 has other versions of 2 planted motifs: '
        'MA0035.5 as MA0035.3, MA0750.4 as MA0750.1 (another motif).',
        f'JASPAR2016 lacks the motif that was planted in 1 task: {stand_in} ({STAND_IN}).',
    )


def test_a_stand_in_is_the_tasks_own_whatever_the_tf_is_called():
    """BACH1 has no matrix in 2016, so that another was planted; the one of 2026 is nowhere in the sequences."""
    task = 'BACH1_K562_Bach1_(sc-14700)_Stanford'
    corpus = simulated('JASPAR2016', [task])
    motif = corpus.info['tasks'][task]['motif']
    assert corpus.info['tasks'][task]['motif_assigned']
    matrices = jaspar.load_matrices('JASPAR2026')
    assert own_matrices('BACH1', matrices) == ('MA1633.2',)
    (matched,) = own.find_own(corpus, [task], release='JASPAR2026').ids[task]
    assert matched.partition('.')[0] == motif.partition('.')[0]


def test_a_corpus_without_a_release_works_and_says_what_was_guessed():
    corpus = without_release(simulated('JASPAR2018', [GATA1, ZBTB7A]))
    found = own.find_own(corpus, corpus.tasks)
    assert set(corpus.site_motifs) <= found.matrices.keys()
    assert found.ids == {GATA1: ('MA0035.3',), ZBTB7A: ('MA0750.2',)} and found.release in ('JASPAR2018', 'JASPAR2016')
    assert found.notes == (
        'The corpus does not say which JASPAR release its motifs were planted from; '
        f'{found.release} is the newest that has all of them.',
    )
    nowhere = dataclasses.replace(corpus, site_motifs=tuple(f'X{number}' for number in range(len(corpus.site_motifs))))
    found = own.find_own(nowhere, nowhere.tasks)
    assert found.release == jaspar.releases()[0]
    assert found.notes[0].endswith('no installed one has all of them.')
    assert found.notes[1].startswith('Motifs were planted from an unknown release and are matched with JASPAR')


def test_a_release_that_is_not_installed_is_refused_unless_another_is_named():
    corpus = simulated('JASPAR2022', [GATA1])
    newer = dataclasses.replace(corpus, info={**corpus.info, 'jaspar': 'JASPAR2099'})
    with pytest.raises(InputError, match='planted from JASPAR2099, and pyjaspar has .*; install a newer pyjaspar'):
        own.find_own(newer, newer.tasks)
    found = own.find_own(newer, newer.tasks, release='JASPAR2022')
    assert found.ids[GATA1] == ('MA0035.4',)
    assert found.notes == ('Motifs were planted from JASPAR2099 and are matched with JASPAR2022.',)


def real(tasks):
    corpus = simulated('JASPAR2022', [GATA1, ZBTB7A][: len(tasks)])
    info = {'source': 'fasta', 'tasks': {task: {} for task in tasks}}
    return dataclasses.replace(corpus, tasks=tuple(tasks), sites=None, site_motifs=(), info=info)


def test_real_data_take_the_newest_release_and_the_tf_of_the_name_or_the_one_told():
    corpus = real(['GSM1_K562_GATA1_peaks', 'sample7'])
    found = own.find_own(corpus, corpus.tasks)
    assert found.release == jaspar.releases()[0] and found.planted_from is None and found.notes == ()
    assert found.ids == {'GSM1_K562_GATA1_peaks': ('MA0035.5',), 'sample7': ()} and found.without == ['sample7']
    told = own.find_own(corpus, corpus.tasks, release='JASPAR2016', tf='sample7=CTCF')
    assert told.ids['sample7'] == ('MA0139.1',) and told.proteins['sample7'] == Protein('CTCF', 'told')
    assert told.as_json()['matrices'] == {
        'MA0035.3': {'name': 'Gata1', 'consensus': 'TtCTTATCTgT'},
        'MA0139.1': {'name': 'CTCF', 'consensus': 'TggCCACcAGGGGGCGCta'},
    }
    with pytest.raises(InputError, match='no such task'):
        own.find_own(corpus, corpus.tasks, tf='sample8=CTCF')
    with pytest.raises(InputError, match='a simulated task'):
        own.find_own(simulated('JASPAR2022', [GATA1]), [GATA1], tf=f'{GATA1}=CTCF')


# Own matrices of the 108 that are another motif in the newest release than in the paper's, or the same one turned
# around: base id -> (TF, id and consensus in 2016, in 2026). Whoever adds a release looks at these again.
DIFFERENT = {
    'MA0088': ('ZNF143', 'MA0088.2', 'TACCCACAATGCAttG', 'MA0088.3', 'CgggGCaTtCTGGGAaTTGTAGT'),
    'MA0470': ('E2F4', 'MA0470.1', 'gGGCGGGAAgg', 'MA0470.3', 'TTTTGGCGCCATT'),
    'MA0528': ('ZNF263', 'MA0528.1', 'GGAGGAGGAgGgGGAGGAGGa', 'MA0528.3', 'GGGAGGA'),
    'MA0750': ('ZBTB7A', 'MA0750.1', 'gGCGACCACCga', 'MA0750.4', 'GGGGTCtC'),
}
TURNED = {
    'MA0060': ('NFYA', 'MA0060.2', 'AGagtGCTGATTGGTcca', 'MA0060.4', 'CCAATCAG'),
    'MA0062': ('GABPA', 'MA0062.2', 'CCGGAAGTGgc', 'MA0062.4', 'CACTTCCTGT'),
    'MA0079': ('SP1', 'MA0079.3', 'gCCCCGCCCCC', 'MA0079.5', 'GGGGCGGGG'),
    'MA0502': ('NFYB', 'MA0502.1', 'aaatggaCCAATCAG', 'MA0502.3', 'tCATTGGCC'),
    'MA0516': ('SP2', 'MA0516.1', 'GcCCCGCCCCCtccc', 'MA0516.3', 'GGGGCGGGG'),
    'MA0597': ('THAP1', 'MA0597.1', 'cTGCCCgcA', 'MA0597.3', 'GCAGGGCA'),
}


def test_every_own_matrix_of_the_108_agrees_with_the_papers_but_for_those_known():
    newest = jaspar.load_matrices('JASPAR2026')
    different, turned = {}, {}
    for protein in dict.fromkeys(task.protein for task in k562_tasks()):
        for motif in own_matrices(protein, newest):
            other = own.counterpart(newest[motif])
            if other is None:
                continue
            entry = (protein, other.id, other.consensus, motif, newest[motif].consensus)
            if other.agreement < 0.75:
                different[motif.partition('.')[0]] = entry
                assert other.note == f'JASPAR2016: {other.id} {other.consensus}, another motif'
            elif other.turned:
                turned[motif.partition('.')[0]] = entry
                assert other.note == f'JASPAR2016: {other.id} {other.consensus}, turned around'
            else:
                assert other.note == f'JASPAR2016: {other.id} {other.consensus}'
    assert different == DIFFERENT
    assert turned == TURNED


def matrix(letters, name='x', weight=0.94):
    rows = np.full((len(letters), 4), (1 - weight) / 3)
    rows[np.arange(len(letters)), ['ACGT'.index(letter) for letter in letters]] = weight
    return jaspar.JasparMatrix('M1.1', name, 100 * rows, rows)


@pytest.mark.parametrize(
    'one, other, least, most, turned',
    [
        ('TGACTCAGCA', 'TGACTCAGCA', 1, 1, False),
        ('TGACTCAGCA', 'TGCTGAGTCA', 1, 1, True),
        ('AATGACTCAGCAAT', 'GACTCAGC', 1, 1, False),  # cut flanks
        ('CACGTG', 'CACGTG', 1, 1, False),  # a palindrome is never turned
        ('GGCGACCACC', 'CCGGAAGTG', 0.2, 0.7, None),
    ],
)
def test_agreement(one, other, least, most, turned):
    found = own.compare(matrix(one), matrix(other))
    assert least - 1e-9 <= found.agreement <= most + 1e-9 and (turned is None or found.turned is turned)


def test_no_counterpart_of_the_same_matrix_or_of_a_newer_one():
    old, new = jaspar.load_matrices('JASPAR2016'), jaspar.load_matrices('JASPAR2026')
    assert own.counterpart(old['MA0035.3']) is None and own.counterpart(new['MA0151.1']) is None
    assert own.counterpart(new['MA1633.2']) is None  # BACH1
    assert own.counterpart(new['MA0035.5']).id == 'MA0035.3'


@pytest.mark.parametrize(
    'release, motif',
    [
        ('JASPAR2016', 'MA0089.1'),
        ('JASPAR2022', 'MA0089.2'),
        ('JASPAR2024', 'MA0089.3'),
        ('JASPAR2026', 'MA0089.3'),
    ],
)
def test_nfe2l1_is_not_taken_for_nrf1(release, motif):
    """MA0089 is NFE2L1's in every release, by whatever alias it is named; NRF1's own is the GCGC of MA0506."""
    matrices = jaspar.load_matrices(release)
    assert matrices[motif].name == 'MAFG::NFE2L1' and 'ATGAC' in matrices[motif].consensus.upper()
    (nrf1,) = own_matrices('NRF1', matrices, 'any')
    assert nrf1.startswith('MA0506.') and 'TGCGC' in matrices[nrf1].consensus.upper()
    assert motif in own_matrices('NFE2L1', matrices, 'any')
