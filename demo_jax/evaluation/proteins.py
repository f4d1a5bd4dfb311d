"""Which protein a task is of: its symbol is looked for among the words of the task's name (pure)."""

import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from demo_jax.errors import InputError, brief
from demo_jax.evaluation.published import k562_tasks, published_task

#: How a symbol was found, as tables and the page say it.
FOUND: Mapping[str, str] = {
    'told': 'told by --tf',
    'table': 'from the table of the 108 tasks',
    'symbol': 'a symbol in the name',
    'alias': 'an alias in the name',
    'first word': 'no known symbol in the name: its first word',
}

# HGNC's symbols of proteins that are looked for by ChIP-seq, as families: transcription factors first, then what
# modifies, reads and moves chromatin, then the machinery of transcription, then cohesin and others.
_HGNC = re.compile(
    r"""
    ZNF\d{1,3}[A-Z]? | ZBTB\d{1,2}[A-Z]? | ZSCAN\d{1,2}[A-C]? | ZKSCAN\d{1,2} | ZFP\d{1,2}[A-Z]? | ZF[XY] | ZIC[1-5]
    | ZEB[12] | ZFHX[2-4] | ZHX[1-3] | ZMYND\d{1,2} | ZMYM[1-6] | ZMIZ[12] | KLF\d{1,2} | SP([1-9]|100|110|140L?)
    | SOX\d{1,2} | FOX[A-S]\d | HOX[A-D]\d{1,2} | PAX[1-9] | POU[1-6]F[1-3] | POU2AF1 | NKX\d-?\d{1,2} | SIX[1-6]
    | MEIS[1-3] | PBX[1-4] | PKNOX[12] | TGIF[12] | IRX[1-6] | LHX[1-9] | LMX1[AB] | DLX[1-6] | MSX[12] | OTX[12]
    | PITX[1-3] | CDX[124] | CUX[12] | ONECUT[1-3] | HNF1[AB] | HNF4[AG] | GATA[1-6] | GATAD[12][AB] | TEAD[1-4]
    | TBX\d{1,2} | TBXT | TBR1 | EOMES | MGA | NR\d[A-I]\d | NR0B[12] | ESR[12] | ESRR[ABG] | RAR[ABG] | RXR[ABG]
    | ROR[ABC] | PPAR[ADG] | THR[AB] | VDR | AR | PGR | STAT([1-46]|5[AB]) | IRF[1-9] | IKZF[1-5] | RUNX[1-3] | CBFB
    | RFX([1-8]|ANK|AP) | E2F[1-8] | TFDP[12] | RB1 | ETS[12] | ETV\d | ELF[1-5] | ELK[134] | ERG | FLI1
    | GABP[AB]\d? | SPI[1BC] | SMAD[1-9] | NFATC[1-4] | NFAT5 | NFI[ABCX] | NFKB[12] | REL[AB]? | ATF[1-7]B?
    | CREB[135](L\d)? | CREM | CEBP[ABDEGZ] | MAF[ABFGK]? | BACH[12] | NFE2(L[1-3])? | FOS(B|L[12])? | JUN[BD]?
    | BATF[23]? | JDP2 | USF[12] | MAX | MYC[NL]? | MXD[134] | MXI1 | MNT | MLX | MITF | TFE[3BC] | TFEB | SREBF[12]
    | ARNT2? | AHR | HIF1A | EPAS1 | CLOCK | BHLH[A-E]\d{2} | HES[1-7] | HEY[12L] | TCF\d{1,2}(L[12])? | LEF1
    | TAL[12] | LYL1 | MYOD1 | MYOG | MYF[56] | ASCL[12] | NEUROD[1-6] | NEUROG[1-3] | TWIST[12] | SNAI[1-3]
    | GLI[1-4] | GLIS[1-3] | EGR[1-4] | WT1 | PRDM\d{1,2} | GFI1B? | BCL(3|6B?|11[AB]) | MYB(L[12])? | MEF2[A-D]
    | SRF | HSF[1245] | NRF1 | NFY[ABC] | YY[12] | CTCFL? | REST | MAZ | PATZ1 | VEZF1 | HINFP | TP(53|63|73)
    | GRHL[1-3] | TFAP2[A-E] | TFAP4 | TFCP2(L1)? | EBF[1-4] | THAP\d{1,2} | GMEB[12] | HBP1 | MTF[12] | NANOG
    | RBPJL? | AIRE | CIC | CREBZF | ARID[1-5][A-C]? | HMBOX1 | HDAC\d{1,2} | SIRT[1-7] | KAT(2[AB]|[5-8])
    | KDM[1-8][A-F]? | KMT[25][A-H] | SETD\d[AB]? | SETDB[12] | EZH[12] | EED | SUZ12 | RBBP[4-7] | RING1 | RNF2
    | CBX[1-8] | PHC[1-3] | PHF\d{1,2}A? | PCGF[1-6] | BMI1 | SIN3[AB] | SAP(30|130) | NCOR[12] | NCOA[1-3]
    | RCOR[1-3] | TBL1XR1 | CHD[1-9] | SMARC[AB]\d | SMARC[C-E][1-3] | BRD[1-9] | BPTF | MBD[1-6] | MECP2 | MTA[1-3]
    | TET[1-3] | DNMT(1|3[ABL]) | UHRF1 | TRIM(24|28|33) | EP(300|400) | CREBBP | WDR5 | ASH2L | HCFC[12] | DOT1L
    | EHMT[12] | SUV39H[12] | ATRX | DAXX | INO80 | RUVBL[12] | PARP1 | HMG[AN][1-5] | CTBP[12] | POLR[123][A-M]
    | TAF\d{1,2}[A-L]? | TBP(L[12])? | GTF2(A[12]|B|E[12]|F[12]|H[1-5]|I) | GTF3(A|C[1-6]) | BRF[12] | BDP1
    | MED\d{1,2}L? | CCNT[12] | CDK(7|8|9|12|13|19) | NELF[ABE] | SUPT(4H1|5H|6H|16H) | SSRP1 | INTS\d{1,2} | UBTF
    | RAD21 | SMC1[AB] | SMC[3-6] | STAG[123] | NIPBL | WAPL | NCAP[DGH]2? | TOP[12][AB]? | BRCA[12] | PML | BCLAF1
    | XRCC[1-6]
    """,
    re.VERBOSE,
)
# Symbols that are more often something else in a name: a kind of cell or the number of a sample in capitals, ...
_DOUBTFUL = frozenset({'MSC', 'ID1', 'ID2', 'ID3', 'ID4'})
# ... or an ordinary word or month in small letters.
_ORDINARY = frozenset({'ar', 'cat', 'clock', 'jun', 'max', 'met', 'rel', 'rest', 'set'})


class Protein(NamedTuple):
    """The protein that a task is of.

    Attributes:
      symbol: e.g. 'CTCF'.
      found: how it was found, a key of `FOUND`.
      others: further symbols in the name, which were not taken.
    """

    symbol: str
    found: str
    others: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """How the symbol was found, and what else the name holds, in words."""
        also = f'; the name also has {", ".join(self.others)}' if self.others else ''
        return FOUND[self.found] + also

    def facts(self) -> dict[str, Any]:
        """The same as JSON holds it; `read_protein` turns it back."""
        return {'symbol': self.symbol, 'found': self.found, 'others': list(self.others)}


def symbols_of(matrix_name: str) -> list[str]:
    """The symbols in a matrix's name, in capitals: 'JUN(var.2)' -> JUN, 'RORA_1' -> RORA, 'Gata1::Tal1' -> both."""
    return re.sub(r'\s*\(var\.\s*\d+\)|_\d+(-\d+)?$', '', matrix_name).upper().split('::')


def find_protein(task: str, symbols: Collection[str] = ()) -> Protein:
    """The protein of a task, out of the task's name.

    One of the paper's 108 tasks has it in the table of tasks. In any other name every word (letters and digits
    between other characters) is compared with the symbols given, with HGNC's symbols of transcription factors and
    proteins of chromatin, and with the aliases of the 108 tasks ('c-Fos', 'NRSF', 'p300'). Small and capital letters
    are the same. Words joined by '-' count as one where the first of them is no symbol ('NKX2-5', 'GATA-1'), for an
    alias also those joined by '.' or '_' ('PU.1'). The first match is taken. Words in small letters only, and symbols
    that are mostly something else in a name ('MSC'), come after all others. A name without any match gives its
    letters up to the first '_'.

    Args:
      task: its name, e.g. 'GSM1_K562_CTCF_peaks'.
      symbols: further symbols to look for, e.g. those of JASPAR's matrices.
    """
    known = published_task(task)
    if known is not None:
        return Protein(known.protein, 'table')
    lookup = {_bare(symbol): symbol.upper() for symbol in symbols if len(symbol) > 1} | _of_the_table()
    clear: list[tuple[str, str]] = []
    doubtful: list[tuple[str, str]] = []
    words = list(re.finditer('[A-Za-z0-9]+', task))
    at = 0
    while at < len(words):
        for size in (1, 2, 3):
            first, last = words[at], words[min(at + size, len(words)) - 1]
            text = task[first.start() : last.end()]
            found = _look_up(text, lookup, joined=size > 1)
            if found is not None:
                in_small = text == text.lower() and not any(letter.isdigit() for letter in text)
                if found[0] in _DOUBTFUL or in_small:
                    doubtful += [found] if text not in _ORDINARY else []
                else:
                    clear.append(found)
                at += size - 1
                break
        at += 1
    candidates = clear or doubtful
    if not candidates:
        return Protein(task.split('_')[0], 'first word')
    others = dict.fromkeys(symbol for symbol, _ in candidates if symbol != candidates[0][0])
    return Protein(*candidates[0], tuple(others))


def read_protein(facts: Any) -> Protein | None:
    """A protein as `Protein.facts` wrote it; None for anything else."""
    if not isinstance(facts, Mapping):
        return None
    symbol, found, others = (facts.get(name) for name in ('symbol', 'found', 'others'))
    if not (isinstance(symbol, str) and isinstance(found, str) and found in FOUND and isinstance(others, list | tuple)):
        return None
    return Protein(symbol, found, tuple(map(str, others)))


def told_symbols(entries: str | Iterable[str]) -> dict[str, str]:
    """Task -> symbol, of entries NAME=SYMBOL, a sequence of them or a text in which commas separate them.

    Raises:
      InputError: an entry is something else, or two entries name one task.
    """
    told: dict[str, str] = {}
    for entry in entries.split(',') if isinstance(entries, str) else entries:
        name, equals, symbol = entry.rpartition('=')
        name, symbol = name.strip(), symbol.strip()
        if not entry.strip():
            continue
        if not equals or not name or not re.fullmatch('[A-Za-z0-9][A-Za-z0-9.-]{0,39}', symbol):
            raise InputError(f'--tf={brief(entry)}: expected NAME=SYMBOL, e.g. GSM1_K562=CTCF')
        if told.setdefault(name, symbol) != symbol:
            raise InputError(f'--tf names task {brief(name)} twice, with {told[name]} and {symbol}')
    return told


def check_told(told: Mapping[str, str], tasks: Sequence[str]) -> None:
    """Raise `InputError` where a symbol is told for a task that is not there."""
    for name in told:
        if name not in tasks:
            listed = ', '.join(tasks[:6]) + (' ...' if len(tasks) > 6 else '')
            raise InputError(f'--tf={brief(f"{name}={told[name]}")}: no such task; there are {listed}')


def _look_up(text: str, lookup: Mapping[str, str], *, joined: bool) -> tuple[str, str] | None:
    """Symbol and kind of a piece of a name, which may be several words joined by something."""
    bare = _bare(text)
    if not joined or re.fullmatch('[A-Za-z0-9-]+', text):
        if bare in lookup:
            return lookup[bare], 'symbol'
        if _HGNC.fullmatch(bare):
            return bare, 'symbol'
    alias = _aliases().get(bare) if re.fullmatch('[A-Za-z0-9._-]+', text) else None
    return None if alias is None else (alias, 'alias')


def _bare(text: str) -> str:
    """Letters and digits alone, in capitals: 'Nkx2-5' -> 'NKX25'."""
    return re.sub('[^A-Za-z0-9]', '', text).upper()


@functools.cache
def _of_the_table() -> dict[str, str]:
    """The proteins of the 108 tasks, without punctuation -> as they are."""
    return {_bare(task.protein): task.protein for task in k562_tasks()}


@functools.cache
def _aliases() -> Mapping[str, str]:
    """What the 108 tasks' antibodies call their protein, where it is not the symbol: 'CFOS' -> 'FOS'."""
    found: dict[str, set[str]] = {}
    for task in k562_tasks():
        alias = _bare(re.sub(r'\(.*?\)|^eGFP-', '', task.antibody))
        if alias != _bare(task.protein):
            found.setdefault(alias, set()).add(task.protein)
    return {alias: next(iter(proteins)) for alias, proteins in found.items() if len(proteins) == 1}
