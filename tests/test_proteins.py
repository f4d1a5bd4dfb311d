"""Which TF a task is of: the symbol among the words of its name, the neighbours that are none, and what is told."""

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.evaluation.proteins import (
    FOUND,
    Protein,
    check_told,
    find_protein,
    read_protein,
    symbols_of,
    told_symbols,
)
from demo_jax.evaluation.published import k562_tasks
from demo_jax.motifs import jaspar
from demo_jax.stages.sources import describe, prepare_corpus

SYMBOLS = frozenset({'CTCF', 'GATA1', 'NKX2-5', 'JUN', 'JUNB', 'MSC', 'T', 'EWSR1-FLI1'})


@pytest.mark.parametrize(
    'name, symbol, found, others',
    [
        ('CTCF-K562', 'CTCF', 'symbol', ()),
        ('GSM1_K562_CTCF_peaks', 'CTCF', 'symbol', ()),
        ('K562 CTCF (rep 1)', 'CTCF', 'symbol', ()),
        ('CTCF', 'CTCF', 'symbol', ()),
        ('CTCF_K562_CTCF_Broad', 'CTCF', 'table', ()),  # one of the 108
        ('Gata1.mm10', 'GATA1', 'symbol', ()),
        ('ctcf_k562', 'CTCF', 'symbol', ()),
        ('K562_CTCF_vs_GATA1', 'CTCF', 'symbol', ('GATA1',)),
        ('K562_CTCF_CTCF', 'CTCF', 'symbol', ()),
        ('mycorrhiza_CTCF', 'CTCF', 'symbol', ()),  # MYC is no word of it
        ('ENCFF002_SIN3A', 'SIN3A', 'symbol', ()),  # HGNC's; JASPAR has no matrix of it
        ('A549_POLR2A', 'POLR2A', 'symbol', ()),
        ('GM12878_c-Fos', 'FOS', 'alias', ()),
        ('GM12878_NRSF', 'REST', 'alias', ()),
        ('HepG2.p300', 'EP300', 'alias', ()),
        ('HeLa_PU.1', 'SPI1', 'alias', ()),
        ('HeLa_PU_1', 'SPI1', 'alias', ()),
        ('HeLa_PU1', 'SPI1', 'alias', ()),
        ('heart_Nkx2-5', 'NKX2-5', 'symbol', ()),
        ('GATA-1_K562', 'GATA1', 'symbol', ()),
        ('x_NF-YA', 'NFYA', 'symbol', ()),
        ('EWSR1-FLI1_A673', 'EWSR1-FLI1', 'symbol', ()),
        # The first of two words is a symbol: the second is the number of a replicate, not a part of it.
        ('KLF1-2', 'KLF1', 'symbol', ()),
        ('ZNF14-3', 'ZNF14', 'symbol', ()),
        ('JUN-B', 'JUN', 'symbol', ()),
        ('JUN_B', 'JUN', 'symbol', ()),
        ('GATA_1', 'GATA', 'first word', ()),
        # Words that are symbols and mostly something else.
        ('MSC_CTCF', 'CTCF', 'symbol', ()),
        ('MSC_x', 'MSC', 'symbol', ()),
        ('T_cell_CTCF', 'CTCF', 'symbol', ()),
        ('peaks_max_CTCF', 'CTCF', 'symbol', ()),
        ('peaks_max', 'peaks', 'first word', ()),
        ('K562_MAX', 'MAX', 'symbol', ()),
        ('ctcf_rest', 'CTCF', 'symbol', ()),
        ('ID1_CTCF', 'CTCF', 'symbol', ()),
        # Nothing: as ever the letters up to the first '_'.
        ('LFY_seedling', 'LFY', 'first word', ()),
        ('K562', 'K562', 'first word', ()),
        ('x.y z_1', 'x.y z', 'first word', ()),
        ('H3K27ac_A549_rep1', 'H3K27ac', 'first word', ()),
        ('\u03b2-CTCF', 'CTCF', 'symbol', ()),
    ],
)
def test_the_symbol_is_found_among_the_words(name, symbol, found, others):
    assert find_protein(name, SYMBOLS) == Protein(symbol, found, others)


def test_the_108_tasks_under_other_names():
    """The antibody's name or the symbol behind an accession and the cell gives what the table has."""
    for task in k562_tasks():
        for name in (f'GSM1_K562_{task.antibody}_peaks', f'K562-{task.protein}', f'wt {task.protein} (rep 2)'):
            found = find_protein(name)
            assert (found.symbol, found.others) == (task.protein, ()), name
        assert find_protein(task.name) == find_protein(task.folder) == Protein(task.protein, 'table')


def test_every_symbol_of_jaspar_is_found():
    symbols = jaspar.symbols()
    assert {'CTCF', 'NKX2-5', 'TAL1', 'RORA', 'ZNF143', 'TP53'} <= symbols and len(symbols) > 800
    assert not any('::' in symbol or '(' in symbol for symbol in symbols)
    for symbol in symbols - {'T', 'RAR_DR5'}:  # one letter is no name; an element of DNA
        for name in (f'GSM1_K562_{symbol}_rep1', f'{symbol.title()}.x'):
            assert find_protein(name, symbols).symbol == symbol, name


@pytest.mark.parametrize(
    'name, symbols',
    [
        ('CTCF', ['CTCF']),
        ('JUN(var.2)', ['JUN']),
        ('JUN (var.2)', ['JUN']),
        ('Gata1::Tal1', ['GATA1', 'TAL1']),
        ('MZF1_5-13', ['MZF1']),
        ('RORA_1', ['RORA']),
        ('NKX2-5(var.2)', ['NKX2-5']),
        ('RAR_DR5', ['RAR_DR5']),
    ],
)
def test_symbols_of_a_matrix(name, symbols):
    assert symbols_of(name) == symbols


def test_what_is_told():
    assert told_symbols(['a=CTCF', 'x=y=GATA1', ' b = NKX2-5 ']) == {'a': 'CTCF', 'x=y': 'GATA1', 'b': 'NKX2-5'}
    assert told_symbols('a=CTCF,b=MAX') == {'a': 'CTCF', 'b': 'MAX'} and told_symbols('') == told_symbols([]) == {}
    for bad in (['CTCF'], ['=CTCF'], ['a='], ['a=CT CF'], 'a=CTCF,b'):
        with pytest.raises(InputError, match='expected NAME=SYMBOL'):
            told_symbols(bad)
    with pytest.raises(InputError, match="names task 'a' twice, with CTCF and MAX"):
        told_symbols('a=CTCF,a=MAX')
    check_told({'a': 'CTCF'}, ['a', 'b'])
    with pytest.raises(InputError, match="'c=CTCF': no such task; there are a, b"):
        check_told({'c': 'CTCF'}, ['a', 'b'])


def test_facts_are_read_back():
    protein = Protein('CTCF', 'symbol', ('MAX',))
    assert read_protein(protein.facts()) == protein
    assert protein.how == f'{FOUND["symbol"]}; the name also has MAX'
    wrong = ({'found': 'x'}, {'found': ['symbol']}, {'symbol': 1}, {'others': None})
    for damaged in (None, 'CTCF', {}, {'symbol': 'CTCF'}, *(protein.facts() | change for change in wrong)):
        assert read_protein(damaged) is None


def test_a_prepared_corpus_says_which_tf_each_task_is_of(tmp_path):
    rng = np.random.default_rng(0)
    for name in ('CTCF-K562', 'GSM1_NRSF', 'sample7', 'sample8'):
        letters = rng.integers(0, 4, (24, 30)).astype(np.uint8)
        records = ''.join(f'>{number % 2}\n{dna.decode(row)}\n' for number, row in enumerate(letters))
        (tmp_path / f'{name}.fa').write_text(records)
    corpus = prepare_corpus(source='fasta', input=[str(tmp_path)], tf=['sample7=MAX'], progress=False)
    found = {task: read_protein(facts['tf']) for task, facts in corpus.info['tasks'].items()}
    assert found == {
        'CTCF-K562': Protein('CTCF', 'symbol'),
        'GSM1_NRSF': Protein('REST', 'alias'),
        'sample7': Protein('MAX', 'told'),
        'sample8': Protein('sample8', 'first word'),
    }
    lines = {line.split()[0]: line for line in describe(corpus).splitlines()}
    assert lines['CTCF-K562'].split()[1] == 'CTCF' and 'TF:' not in lines['CTCF-K562']
    assert lines['GSM1_NRSF'].endswith('TF: an alias in the name')
    assert lines['sample7'].endswith('TF: told by --tf')
    assert lines['sample8'].endswith('TF: no known symbol in the name: its first word')
    with pytest.raises(InputError, match='no such task'):
        prepare_corpus(source='fasta', input=[str(tmp_path)], tf=['other=MAX'], progress=False)
