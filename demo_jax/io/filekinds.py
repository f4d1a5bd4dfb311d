"""What a file is, by its first bytes, where it is not what was expected (pure).

A wrong file often begins in a way that its format fixes. Then the error names the format, and a public tool that makes
the expected one of it.
"""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from demo_jax.errors import InputError

#: Bytes from a file's beginning that are enough to tell.
HEAD = 4096

#: What a reader may expect: by its name, the words for it, and the kinds of text that it takes.
EXPECTED: dict[str, tuple[str, tuple[str, ...]]] = {
    'text': ('text', ('FASTA', 'FASTQ', 'SAM', 'VCF', 'GFF', 'GTF', 'wiggle', 'MEME', 'BED', 'MACS', 'HOMER', 'MAF')),
    'FASTA': ('FASTA', ('FASTA',)),
    'peaks': ('peaks (BED or narrowPeak)', ('BED',)),
    'variants': ('a VCF, or a table with the columns sequence, position, ref, alt', ('VCF',)),
    'MEME': ('motifs in MEME format', ('MEME',)),
    'JASPAR': ('motifs in JASPAR format', ('FASTA',)),  # it begins as FASTA does
    'table': ('tab-separated text with a header', ('BED',)),
}


class _Kind(NamedTuple):
    """A format: what messages call it, and how to convert it, by what was expected ('' = whatever it was)."""

    words: str
    advice: dict[str, str]


def _unpack(words: str, tool: str) -> _Kind:
    return _Kind(words, {'': f'{tool} unpacks it'})


_SHEET = _Kind('an Excel workbook', {'': 'save the sheet as tab-separated text'})
_BIGWIG = _Kind(
    'a bigWig file',
    {
        '': 'bigWigToBedGraph converts it',
        'peaks': ('it holds a signal, of which a peak caller makes peaks (bigWigToBedGraph, then macs3 bdgpeakcall)'),
    },
)
_BIGBED = _Kind('a bigBed file', {'': 'bigBedToBed converts it'})
_TWOBIT = _Kind('a 2bit file', {'': 'twoBitToFa converts it'})
_READS = {
    'FASTA': 'samtools fasta converts it',
    'peaks': 'a peak caller makes peaks of it (macs3 callpeak)',
    'variants': 'a variant caller makes a VCF of it (bcftools mpileup, bcftools call)',
    '': 'samtools view converts it',
}
_INDEX = _Kind('an index', {'': 'name the file that it belongs to'})
#: Formats that are no text, by the bytes that they begin with.
_MAGIC: tuple[tuple[bytes, _Kind], ...] = (
    (b'\x1f\x8b', _unpack('gzipped twice', 'gunzip')),
    (b'BZh', _unpack('a bzip2 file', 'bunzip2')),
    (b'\xfd7zXZ\0', _unpack('an xz file', 'unxz')),
    (b'\x28\xb5\x2f\xfd', _unpack('a zstd file', 'unzstd')),
    (b'\x04\x22\x4d\x18', _unpack('an lz4 file', 'unlz4')),
    (b'7z\xbc\xaf\x27\x1c', _unpack('a 7z archive', '7z x')),
    (b'Rar!\x1a\x07', _unpack('a RAR archive', 'unrar x')),
    (b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', _SHEET),
    (b'PK\x03\x04', _unpack('a zip archive', 'unzip')),
    (b'\x26\xfc\x8f\x88', _BIGWIG),
    (b'\x88\x8f\xfc\x26', _BIGWIG),
    (b'\xeb\xf2\x89\x87', _BIGBED),
    (b'\x87\x89\xf2\xeb', _BIGBED),
    (b'\x43\x27\x41\x1a', _TWOBIT),
    (b'\x1a\x41\x27\x43', _TWOBIT),
    (b'BAM\1', _Kind('a BAM file', _READS)),
    (b'CRAM', _Kind('a CRAM file', _READS)),
    (b'BCF\2', _Kind('a BCF file', {'': 'bcftools view converts it to VCF'})),
    (b'BAI\1', _INDEX),
    (b'TBI\1', _INDEX),
    (b'CSI\1', _INDEX),
    (b'\x89HDF\r\n\x1a\n', _Kind('an HDF5 file', {})),
    (b'\x93NUMPY', _Kind('a NumPy array', {})),
    (b'PAR1', _Kind('a Parquet file', {})),
    (b'SQLite format 3\0', _Kind('an SQLite database', {})),
    (b'%PDF-', _Kind('a PDF document', {'': 'save the data as plain text'})),
    (b'{\\rtf', _Kind('an RTF document', {'': 'save it as plain text'})),
    (b'version https://git-lfs', _Kind('a pointer of Git LFS, not the file itself', {'': 'git lfs pull fetches it'})),
)

#: Encodings of several bytes per letter: their marks, and the share of zeros in text of ASCII letters.
_WIDE = (('UTF-32', (b'\xff\xfe\0\0', b'\0\0\xfe\xff'), 0.75), ('UTF-16', (b'\xff\xfe', b'\xfe\xff'), 0.5))
_BED_LINE = re.compile(r'[^\s#>@]+\t[0-9]+\t[0-9]+(\t|\Z)')
_GTF_LINE = re.compile(r'[^\t#]+\t[^\t]*[^\t0-9][^\t]*\t[^\t]+\t[0-9]+\t[0-9]+\t[^\t]+\t[-+.?]\t[012.]\t')


def _begins(*words: str) -> Callable[[list[str]], bool]:
    return lambda lines: lines[0].startswith(words)


def _is_fastq(lines: list[str]) -> bool:
    return lines[0].startswith('@') and len(lines) > 2 and lines[2].startswith('+')


#: Formats of text, by name: what they are, and whether a file is one by its first lines.
_TEXT: dict[str, tuple[_Kind, Callable[[list[str]], bool]]] = {
    'HTML': (
        _Kind('an HTML page', {'': 'a download may have failed; save the data themselves'}),
        lambda lines: lines[0].lower().startswith(('<!doctype html', '<html')),
    ),
    'XML': (_Kind('an XML file', {'MEME': "MEME's text output (meme.txt) is read"}), _begins('<?xml')),
    'FASTA': (_Kind('FASTA', {}), _begins('>')),
    'FASTQ': (_Kind('FASTQ', {'FASTA': 'seqtk seq -A converts it'}), _is_fastq),
    'SAM': (_Kind('a SAM file', _READS), _begins('@HD\t', '@SQ\t', '@RG\t', '@PG\t')),
    'VCF': (
        _Kind('a VCF', {'FASTA': 'bcftools consensus makes sequences of it and a genome'}),
        _begins('##fileformat=VCF', '#CHROM\tPOS'),
    ),
    'GFF': (_Kind('a GFF file', {'peaks': 'it counts from 1, gff2bed converts it'}), _begins('##gff-version')),
    'GTF': (
        _Kind('a GFF or GTF file', {'peaks': 'it counts from 1, gff2bed or gtf2bed converts it'}),
        lambda lines: any(_GTF_LINE.match(line) for line in lines if not line.startswith('#')),
    ),
    'wiggle': (
        _Kind('a wiggle track', {'peaks': 'it holds a signal, of which a peak caller makes peaks'}),
        lambda lines: any(line.startswith(('fixedStep ', 'variableStep ')) for line in lines[:2]),
    ),
    'GenBank': (_Kind('a GenBank file', {'FASTA': 'seqret (EMBOSS) or any2fasta converts it'}), _begins('LOCUS  ')),
    'EMBL': (_Kind('an EMBL file', {'FASTA': 'seqret (EMBOSS) or any2fasta converts it'}), _begins('ID   ')),
    'MEME': (_Kind('a MEME motif file', {'JASPAR': 'its motifs are read as MEME'}), _begins('MEME version')),
    'MACS': (
        _Kind("MACS's table (.xls)", {'peaks': 'it counts from 1, name the .narrowPeak or .bed file beside it'}),
        lambda lines: lines[0].startswith('# This file is generated by MACS'),
    ),
    'HOMER': (
        _Kind("HOMER's table of peaks", {'peaks': 'it counts from 1, pos2bed.pl converts it'}),
        _begins('# HOMER Peaks', '#PeakID\t', 'PeakID\t', 'PeakID ('),
    ),
    'MAF': (
        _Kind('a MAF file of mutations', {'variants': 'maf2vcf.pl converts it'}),
        lambda lines: any(line.startswith('Hugo_Symbol\t') for line in lines[:3]),
    ),
    'BED': (
        _Kind('a BED file', {'FASTA': 'bedtools getfasta takes the letters of its regions out of a genome'}),
        lambda lines: any(_BED_LINE.match(line) for line in lines[:1]),
    ),
}


def check_kind(path: str | os.PathLike, head: bytes, expected: str = 'text') -> None:
    """Raise `InputError` where the beginning of a file, unpacked, is that of another format than the expected one.

    The error names the format, what was expected, and a tool that converts the one into the other. A beginning that
    fits no known format is accepted: its reader says what is wrong with it.

    Args:
      path: of the file.
      head: its first bytes, `HEAD` or as many as there are; none = an empty file, which is accepted.
      expected: a key of `EXPECTED`.

    Raises:
      InputError: the file is no text, or text of another format, or has line ends of CR alone.
    """
    words, accepted = EXPECTED[expected]
    kind = _binary(head, expected) or _text(head, accepted)
    if kind is not None:
        advice = kind.advice.get(expected, kind.advice.get('', ''))
        raise InputError(f'{path}: is {kind.words}, expected {words}{"; " if advice else ""}{advice}')


def _binary(head: bytes, expected: str) -> _Kind | None:
    """The format, if it is no text in ASCII or UTF-8."""
    if expected == 'table' and head.startswith(b'\x1f\x8b'):  # the one kind of text that is not unpacked
        return _unpack('a gzip file', 'gunzip')
    if head.startswith(b'PK\x03\x04') and (b'[Content_Types].xml' in head or b'xl/' in head):
        return _SHEET
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == b'ustar':
        return _unpack('a tar archive', 'tar -xf')
    for name, marks, zeros in _WIDE:
        some = head[:64]
        as_ascii = len(some) > 7 and some.count(0) == len(some) * zeros  # of every letter all bytes but one are 0
        if head.startswith(marks) or as_ascii:
            return _Kind(f'{name} text', {'': f'iconv -f {name} -t UTF-8 converts it'})
    return None


def _text(head: bytes, accepted: tuple[str, ...]) -> _Kind | None:
    """The format of a text that is none of the accepted ones; None where it may be one, or is not known."""
    text = head.removeprefix(b'\xef\xbb\xbf').decode('utf-8', 'replace').lstrip()
    if '\n' not in text and re.search('\r[^\r]', text):
        return _Kind('text with the line ends of old Macs (CR alone)', {'': "tr '\\r' '\\n' < OLD > NEW converts it"})
    lines = [line.rstrip('\r') for line in text.split('\n')[:40]]
    if len(head) >= HEAD and len(lines) > 1:
        lines.pop()  # may be cut short
    for name, (kind, fits) in _TEXT.items():
        if lines[0] and fits(lines):
            return None if name in accepted else kind
    return None
