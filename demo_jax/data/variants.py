"""Sequence variants out of VCF files and tables, and the two alleles around each (edge: touches the disk)."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from demo_jax.data.genome import FastaInMemory, Genome
from demo_jax.data.textfile import Line, check_size, read_lines
from demo_jax.errors import InputError, brief

COLUMNS = ('sequence', 'position', 'ref', 'alt')
_VCF_COLUMNS = ('#CHROM', 'POS', 'ID', 'REF', 'ALT')
_ALLELE = re.compile(r'[ACGTUN]+', re.IGNORECASE)
#: IUPAC letters for more than one base; a VCF names one of the bases as REF.
_AMBIGUOUS = frozenset('RYSWKMBDHV')


class Variant(NamedTuple):
    """A small variant.

    Attributes:
      line: its line in the file.
      id: its name, or ''.
      sequence: the name of the sequence or chromosome.
      position: of the first letter of `ref`, from 1.
      ref, alt: the letters that are there, and those in their place; at least one each, in upper case.
    """

    line: int
    id: str
    sequence: str
    position: int
    ref: str
    alt: str


@dataclass(frozen=True)
class Variants:
    """The variants of a file.

    Attributes:
      path: the file.
      variants: in the file's order; a record with several ALT alleles is several variants.
      skipped: how many alleles were passed over, by reason.
    """

    path: str
    variants: tuple[Variant, ...]
    skipped: Mapping[str, int]


def read_variants(path: str | os.PathLike) -> Variants:
    """Read a VCF (plain or gzipped), or a table with a header and tab-separated columns.

    The table's columns are sequence, position (from 1, as in VCF), ref and alt, in any order, perhaps id;
    others are passed over. In both, ALT may name several alleles, separated by commas. An insertion or
    deletion is written as in VCF, with the base before it: REF A, ALT ATT. Alleles without letters of their
    own (`<DEL>`, breakends, `*`, `.`) are passed over and counted.

    Raises:
      InputError: names the line and what is wrong in it; or there is no variant.
    """
    lines = (line for line in read_lines(path) if line.text.strip())
    variants: list[Variant] = []
    skipped: dict[str, int] = {}
    for line, row in _rows(path, lines):
        position = row['position']
        if not re.fullmatch(r'[0-9]{1,12}', position) or int(position) < 1:
            raise InputError(f'{path}: line {line}: position is {brief(position)}, expected a whole number from 1')
        ref = _allele(path, line, 'ref', row['ref'])
        for alt in row['alt'].split(','):
            if alt in ('.', '*') or re.match(r'<|.*[\[\]]|\.[A-Za-z]|[A-Za-z]+\.$', alt):
                reason = {'.': 'no other allele', '*': 'deleted by another variant'}.get(alt, 'symbolic allele')
                skipped[reason] = skipped.get(reason, 0) + 1
                continue
            letters = _allele(path, line, 'alt', alt)
            check_size(path, len(variants) + 1)
            variants.append(Variant(line, row.get('id', ''), row['sequence'], int(position), ref, letters))
    if not variants:
        raise InputError(f'{path}: holds no variants that can be scored{_told(skipped)}')
    return Variants(str(path), tuple(variants), skipped)


def _told(skipped: Mapping[str, int]) -> str:
    return f' (passed over: {", ".join(f"{count} {reason}" for reason, count in skipped.items())})' if skipped else ''


def _rows(path: str | os.PathLike, lines: Iterator[Line]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and cells of each record, under the names of `COLUMNS` and perhaps 'id'."""
    header: list[str] | None = None
    vcf = False
    for line in lines:
        text = line.text.decode('utf-8', 'replace')
        if text.startswith('##'):
            vcf = True
            continue
        cells = text.split('\t')
        if header is None:
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


def _allele(path: str | os.PathLike, line: int, name: str, letters: str) -> str:
    if not _ALLELE.fullmatch(letters):
        raise InputError(
            f'{path}: line {line}: {name} is {brief(letters)}, expected letters ACGTN (an insertion or deletion '
            'with the base before it)'
        )
    return letters.upper().replace('U', 'T')


class Alleles(NamedTuple):
    """Both alleles of a variant in their surroundings.

    Attributes:
      start: 0-based, of `ref` in the sequence.
      ref, alt: letters, equally many where the sequence has enough of them.
    """

    start: int
    ref: bytes
    alt: bytes


def cut_alleles(fasta: Genome | FastaInMemory, variants: Variants, variant: Variant, width: int) -> Alleles:
    """Both alleles of a variant, each within `width` letters.

    The longer allele stands in the middle, and both have the same letters before them; what an insertion
    or deletion adds or takes is made up for behind. Near an end of the sequence the window lies against
    that end (at the right end an insertion or deletion is then made up for before the alleles), and a shorter
    sequence is used whole. Neither allele may be longer than `width`.

    Raises:
      InputError: there is no such sequence or position, or its letters are not REF.
    """
    where = f'{variants.path}: line {variant.line}'
    if variant.sequence not in fasta.sizes:
        names = list(fasta.sizes)
        more = f' and {len(names) - 5} more' if len(names) > 5 else ''
        raise InputError(
            f'{where}: sequence {brief(variant.sequence)} is not in {fasta.path}, which has '
            f'{", ".join(brief(name) for name in names[:5])}{more}'
        )
    size, first = fasta.sizes[variant.sequence], variant.position - 1
    after = first + len(variant.ref)
    if after > size:
        raise InputError(
            f'{where}: position {variant.position} with REF {brief(variant.ref)} lies beyond the {size} letters of '
            f'{brief(variant.sequence)}'
        )
    found = fasta.letters(variant.sequence, first, after).decode('latin-1').upper().replace('U', 'T')
    if any(a != b and b not in _AMBIGUOUS for a, b in zip(variant.ref, found, strict=True)):
        raise InputError(
            f'{where}: REF is {brief(variant.ref)}, but {fasta.path} has {brief(found)} at {variant.sequence}:'
            f'{variant.position}'
        )
    before = (width - max(len(variant.ref), len(variant.alt))) // 2
    windows = []
    for allele in (variant.ref, variant.alt):
        right = min(width - len(allele) - min(before, first), size - after)
        left = min(width - len(allele) - right, first)
        pieces = (
            fasta.letters(variant.sequence, first - left, first),
            allele.encode('ascii'),
            fasta.letters(variant.sequence, after, after + right),
        )
        windows.append((first - left, b''.join(pieces)))
    return Alleles(windows[0][0], windows[0][1], windows[1][1])
