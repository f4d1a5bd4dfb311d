"""Sequence variants from VCF files and tables, and the sequences of both alleles (edge: touches the disk)."""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from demo_jax.data.genome import Genome, Nearby
from demo_jax.data.names import other_spelling, spellings
from demo_jax.errors import InputError, brief
from demo_jax.io.textfile import Line, read_lines

COLUMNS = ('sequence', 'position', 'ref', 'alt')
_LETTERS = frozenset('ACGTN')
_VCF_COLUMNS = ('#CHROM', 'POS', 'ID', 'REF', 'ALT')
#: Letters of a sequence that are read at a time while an allele moves to the left.
_SHIFT = 100
_ALLELE = re.compile(r'[ACGTUN]+', re.IGNORECASE)
#: IUPAC letters for more than one base; a VCF names one of the bases as REF.
_AMBIGUOUS = frozenset('RYSWKMBDHV')
#: `<DEL>`, breakends such as `N[chr1:5[`, and single breakends such as `.A` and `A.`.
_SYMBOLIC = re.compile(r'<|.*[\[\]]|\.[A-Za-z]|[A-Za-z]+\.$')

#: Reasons to skip an allele, as the output has them. The first three are not errors of the file.
NO_ALLELE = 'no other allele'
DELETED = 'deleted by another variant'
SYMBOLIC = 'symbolic allele'
TELOMERE = 'position 0'
AMBIGUOUS = 'allele with an IUPAC letter'
NOT_DNA = 'allele that is no DNA'
UNKNOWN = 'on a sequence that the FASTA lacks'
BEYOND = 'position beyond the end of its sequence'
DIFFERENT = 'REF that differs from the FASTA'
SWAPPED = 'REF that differs from the FASTA, which has ALT there (are they swapped?)'


class Variant(NamedTuple):
    """A small variant.

    Attributes:
      line: its line in the file.
      id: its name, or ''.
      sequence: the name of the sequence or chromosome.
      position: of the first letter of `ref`, from 1.
      ref, alt: the reference letters, and the letters that replace them; at least one each, in upper case.
    """

    line: int
    id: str
    sequence: str
    position: int
    ref: str
    alt: str


class Skipped(NamedTuple):
    """An allele that is skipped.

    Attributes:
      line, id, sequence, position, ref, alt: as in the file.
      reason: why it is skipped, one of a few texts.
      detail: what is wrong with this allele.
    """

    line: int
    id: str
    sequence: str
    position: str
    ref: str
    alt: str
    reason: str
    detail: str


class UnfitVariant(InputError):
    """A variant that cannot be scored. The message begins with the file and the line; `detail` does not."""

    def __init__(self, path: str | os.PathLike, line: int, reason: str, detail: str) -> None:
        super().__init__(f'{path}: line {line}: {detail}')
        self.reason, self.detail = reason, detail


def skipped(variant: Variant, reason: str, detail: str) -> Skipped:
    """The record of a variant that was read but is skipped."""
    return Skipped(variant.line, variant.id, variant.sequence, str(variant.position), *variant[4:], reason, detail)


def read_variants(
    path: str | os.PathLike, *, strict: bool = False, say: Callable[[str], object] = lambda text: None
) -> Iterator[Variant | Skipped]:
    """Read a VCF (plain or gzipped), or a table with a header and tab-separated columns, allele by allele.

    The columns of a table are sequence, position (from 1, as in VCF), ref and alt, and optionally id, in any order;
    other columns are ignored. In both formats, ALT may contain several alleles, separated by commas. An insertion or
    deletion is written as in VCF, with the base before it: REF A, ALT ATT.

    These alleles are skipped: alleles without letters of their own (`<DEL>`, breakends, `*`, `.`), whatever their
    position and REF; position 0 (a telomere); alleles with an IUPAC letter for several bases; and alleles that are not
    DNA.

    A file without a header whose first line looks like that of a VCF (a whole number in the second of at least five
    columns, letters in the fourth) is read as one.

    Args:
      path: the file.
      strict: refuse the file if an allele with letters cannot be read.
      say: called with a sentence if something had to be guessed.

    Yields:
      The variants and the skipped alleles, in the order of the file.

    Raises:
      InputError: there is no header, a line has too few or too many columns, or a position is not a whole number; names
        the line.
      UnfitVariant: with `strict`.
    """
    lines = (line for line in read_lines(path, 'variants') if line.text.strip())
    for line, row in _rows(path, lines, say):
        raw = (line, row.get('id', ''), row['sequence'], row['position'], row['ref'])
        if _is_plain(row):
            yield Variant(*raw[:3], int(row['position']), row['ref'], row['alt'])
            continue
        for alt in row['alt'].split(','):
            reason = {'.': NO_ALLELE, '*': DELETED}.get(alt) or (SYMBOLIC if _SYMBOLIC.match(alt) else None)
            if reason:
                yield Skipped(*raw, alt, reason, 'has no letters that could be scored')
                continue
            if not re.fullmatch(r'[0-9]{1,12}', row['position']):
                raise InputError(f'{path}: line {line}: position is {_found(row["position"])}')
            try:
                if not int(row['position']):
                    raise UnfitVariant(path, line, TELOMERE, f'position is {_found(row["position"])}')
                letters = [_allele(path, line, name, text) for name, text in (('ref', row['ref']), ('alt', alt))]
            except UnfitVariant as error:
                if strict:
                    raise
                yield Skipped(*raw, alt, error.reason, error.detail)
                continue
            yield Variant(*raw[:3], int(row['position']), *letters)


def _is_plain(row: Mapping[str, str]) -> bool:
    """Whether this is one substitution of a letter by another, as most lines are: nothing else need be asked."""
    return (
        row['ref'] in _LETTERS
        and row['alt'] in _LETTERS
        and len(row['position']) <= 12
        and row['position'].isdecimal()
        and row['position'].isascii()
        and row['position'] != '0' * len(row['position'])
    )


def _found(position: str) -> str:
    return f'{brief(position)}, expected a whole number from 1'


def _rows(
    path: str | os.PathLike, lines: Iterator[Line], say: Callable[[str], object]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and cells of each record, by the names of `COLUMNS` and optionally 'id'."""
    header: list[str] | None = None
    vcf = False
    for line in lines:
        text = line.text.decode('utf-8', 'replace')
        if text.startswith('##'):
            vcf = True
            continue
        cells = text.split('\t', 5) if vcf else text.split('\t')
        if header is None and _looks_like_vcf(cells):
            vcf, header = True, list(_VCF_COLUMNS)
            say(f'{path}: has no header line (#CHROM, ...); its columns are read as CHROM, POS, ID, REF, ALT')
        elif header is None:
            vcf = vcf or cells[0] == '#CHROM'
            header = cells if vcf else [cell.strip().removeprefix('#').lower() for cell in cells]
            needed = _VCF_COLUMNS if vcf else COLUMNS
            if vcf and tuple(cells[:5]) != needed or not vcf and not set(needed) <= set(header):
                raise InputError(
                    f'{path}: line {line.number} is {brief(text)}, expected a VCF, or a tab-separated header with '
                    f'{", ".join(COLUMNS)}'
                )
            twice = [name for name in (*COLUMNS, 'id') if header.count(name) > 1 and not vcf]
            if twice:
                raise InputError(f'{path}: line {line.number} names the column {twice[0]} twice')
            continue
        if text.startswith('#'):
            continue
        if len(cells) < 5 if vcf else len(cells) != len(header):
            raise InputError(
                f'{path}: line {line.number} has {len(cells)} tab-separated columns, expected '
                f'{"5 or more" if vcf else len(header)}'
            )
        if vcf:
            sequence, position, id_, ref, alt = cells[:5]
            row = {'sequence': sequence, 'position': position, 'ref': ref, 'alt': alt}
            yield line.number, row | {'id': '' if id_ == '.' else id_}
        else:
            yield line.number, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    if header is None:
        raise InputError(f'{path}: has no header line (#CHROM, POS, ...)')


def _looks_like_vcf(cells: list[str]) -> bool:
    """Whether a first line holds a variant and no names of columns."""
    return len(cells) >= 5 and cells[1].isdecimal() and _ALLELE.fullmatch(cells[3]) is not None


def _allele(path: str | os.PathLike, line: int, name: str, letters: str) -> str:
    if not _ALLELE.fullmatch(letters):
        iupac = letters and not set(letters.upper()) - set('ACGTUN') - _AMBIGUOUS
        raise UnfitVariant(
            path,
            line,
            AMBIGUOUS if iupac else NOT_DNA,
            f'{name} is {brief(letters)}, expected letters ACGTN (an insertion or deletion with the base before it)',
        )
    return letters.upper().replace('U', 'T')


class Names:
    """The names of a file's sequences in the FASTA: as they are, or with or without 'chr' where only that fits.

    Attributes:
      respelt: the first name that was spelt otherwise, and its spelling in the FASTA; None = none so far.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        """`sizes` has the letters of each sequence of the FASTA, by its name."""
        self._sizes = sizes
        self._known: dict[str, str] = {}
        self.respelt: tuple[str, str] | None = None

    def resolve(self, variant: Variant) -> Variant:
        """The variant under the FASTA's name; as it is, where the FASTA has no such name, or several that could be."""
        name = variant.sequence
        if name not in self._known:
            found = [name] if name in self._sizes else spellings(name, self._sizes)
            self._known[name] = found[0] if len(found) == 1 else name
            if len(found) == 1 and found[0] != name:
                self.respelt = self.respelt or (name, found[0])
        return variant if self._known[name] == name else variant._replace(sequence=self._known[name])

    def told(self, path: str | os.PathLike, fasta: str | os.PathLike) -> str:
        """A sentence about what was spelt otherwise, or ''."""
        if self.respelt is None:
            return ''
        ours, theirs = map(brief, self.respelt)
        return f'{path}: {ours} is called {theirs} in {fasta}; names that differ so were matched'


def normalised(fasta: Genome | Nearby, variant: Variant) -> Variant:
    """The same change at its leftmost place, with the fewest letters: what all ways to write it have in common.

    The algorithm of Tan, Abecasis and Kang (2015, Bioinformatics 31:2202), as in `vt normalize` and `bcftools norm`:
    letters that both alleles end in are dropped; an allele that becomes empty gets the letter before; then letters that
    both begin with are dropped, down to one letter. At the left end of a sequence the letter behind is taken instead.

    Args:
      fasta: the sequences, one of which has REF at the variant's position.
      variant: of letters.

    Returns:
      The variant; itself where both alleles are one letter, or equal.
    """
    ref, alt, first = variant.ref, variant.alt, variant.position - 1
    if len(ref) == len(alt) == 1 or ref == alt:
        return variant
    behind = first + len(ref)
    before = ''  # letters of the sequence, the last of which lies in front of both alleles
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt, behind = ref[:-1], alt[:-1], behind - 1
        if ref and alt:
            continue
        if not before and first:
            before = _upper(fasta, variant.sequence, max(0, first - _SHIFT), first)
        if before:
            ref, alt, before, first = before[-1] + ref, before[-1] + alt, before[:-1], first - 1
    if not (ref and alt):  # at the very beginning
        after = _upper(fasta, variant.sequence, behind, behind + 1)
        return variant._replace(position=first + 1, ref=ref + after, alt=alt + after)
    same = 0
    while same < min(len(ref), len(alt)) - 1 and ref[same] == alt[same]:
        same += 1
    return variant._replace(position=first + 1 + same, ref=ref[same:], alt=alt[same:])


class Alleles(NamedTuple):
    """Both alleles of a variant with the letters around them.

    Attributes:
      start: 0-based position of `ref` in the sequence.
      ref, alt: letters; of equal length if the sequence is long enough.
    """

    start: int
    ref: bytes
    alt: bytes


def cut_alleles(fasta: Genome | Nearby, path: str | os.PathLike, variant: Variant, width: int) -> Alleles:
    """Both alleles of a variant, each within `width` letters.

    The longer allele is in the middle, and both alleles have the same letters before them. An insertion or deletion
    changes the number of letters after the alleles, so that both windows have the same length. Near an end of the
    sequence, the window ends there; at the right end, the number of letters before the alleles differs instead. A
    sequence that is shorter than the window is used completely. Neither allele may be longer than `width`.

    Args:
      fasta: the sequences.
      path: the file of variants, for messages.
      variant: from that file.
      width: letters of a window.

    Raises:
      UnfitVariant: there is no such sequence or position, or its letters are not REF.
    """
    size, first = fasta.sizes.get(variant.sequence), variant.position - 1
    if size is None:
        other = other_spelling(variant.sequence, fasta.sizes)
        detail = (
            f'sequence {brief(variant.sequence)} is not in {fasta.path}, which has {_some(fasta.sizes)}'
            f'{f"; it may be called {brief(other)} there" if other else ""}'
        )
        raise UnfitVariant(path, variant.line, UNKNOWN, detail)
    after = first + len(variant.ref)
    if after > size:
        detail = (
            f'position {variant.position} with REF {brief(variant.ref)} lies beyond the {size} letters of '
            f'{brief(variant.sequence)}'
        )
        raise UnfitVariant(path, variant.line, BEYOND, detail)
    found = _upper(fasta, variant.sequence, first, after)
    if any(a != b and b not in _AMBIGUOUS for a, b in zip(variant.ref, found, strict=True)):
        there = _upper(fasta, variant.sequence, first, min(first + len(variant.alt), size))
        # If ALT is the beginning of REF (the base before a deletion), its agreement with the FASTA tells nothing.
        swapped = there == variant.alt and not variant.ref.startswith(variant.alt)
        detail = (
            f'REF is {brief(variant.ref)}, but {fasta.path} has {brief(found)} at {variant.sequence}:{variant.position}'
            f'{", which agrees with ALT" if swapped else ""}'
        )
        raise UnfitVariant(path, variant.line, SWAPPED if swapped else DIFFERENT, detail)
    around = fasta.letters(variant.sequence, max(0, first - width), min(after + width, size))
    middle, windows = min(first, width), []
    for allele, (left, right) in zip((variant.ref, variant.alt), margins(variant, size, width), strict=True):
        end = middle + after - first
        pieces = (around[middle - left : middle], allele.encode('ascii'), around[end : end + right])
        windows.append((first - left, b''.join(pieces)))
    return Alleles(windows[0][0], windows[0][1], windows[1][1])


def margins(variant: Variant, size: int, width: int) -> list[tuple[int, int]]:
    """How many letters stand before and behind REF in its window, and ALT in its own, see `cut_alleles`.

    Args:
      variant: lies on a sequence of `size` letters.
      size: letters of the sequence.
      width: letters of a window.
    """
    first, after = variant.position - 1, variant.position - 1 + len(variant.ref)
    before = (width - max(len(variant.ref), len(variant.alt))) // 2
    found = []
    for allele in (variant.ref, variant.alt):
        right = min(width - len(allele) - min(before, first), size - after)
        found.append((min(width - len(allele) - right, first), right))
    return found


def _some(names: Mapping[str, int]) -> str:
    """The first few of a FASTA's names."""
    more = f' and {len(names) - 5} more' if len(names) > 5 else ''
    return ', '.join(brief(name) for name in itertools.islice(names, 5)) + more


def _upper(fasta: Genome | Nearby, sequence: str, start: int, end: int) -> str:
    return fasta.letters(sequence, start, end).decode('latin-1').upper().replace('U', 'T')
