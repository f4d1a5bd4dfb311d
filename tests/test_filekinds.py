"""Files of another format than the expected one: the error says what the file is, and which tool converts it."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pytest
from Bio import bgzf

from demo_jax.data import peak_files, variants
from demo_jax.data.genome import Genome
from demo_jax.errors import InputError
from demo_jax.io import files, textfile
from demo_jax.io.filekinds import EXPECTED, check_kind
from demo_jax.motifs import formats

#: What reads a file, by what it expects; and a good file for it.
READERS = {
    'FASTA': lambda path: list(textfile.read_fasta(path)),
    'FASTA in parts': lambda path: list(textfile.read_fasta_parts(path)),
    'genome': Genome,
    'peaks': peak_files.read_peaks,
    'variants': lambda path: list(variants.read_variants(path)),
    'MEME': formats.read_meme,
    'JASPAR': formats.read_jaspar,
    'table': files.read_tsv,
}
TABLE = b'sequence\tposition\tref\talt\ns\t5\tA\tC\n'
VCF = b'##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\ns\t5\t.\tA\tC\n'
MEME = b'MEME version 4\n\nALPHABET= ACGT\n\nMOTIF a\nletter-probability matrix: alength= 4 w= 1\n0.1 0.2 0.3 0.4\n'
JASPAR = b'>MA0001.1 a\nA [ 1 ]\nC [ 2 ]\nG [ 1 ]\nT [ 1 ]\n'
FASTA, BED = b'>s\nACGT\n', b'chr1\t5\t9\n'
GOOD = {
    'FASTA': [FASTA],
    'FASTA in parts': [FASTA],
    'genome': [FASTA],
    'peaks': [BED, b'track name=x\n' + BED],
    'variants': [VCF, TABLE],
    'MEME': [MEME],
    'JASPAR': [JASPAR],
    'table': [TABLE, BED],
}


def zipped(name):
    held = io.BytesIO()
    with zipfile.ZipFile(held, 'w') as archive:
        archive.writestr(name, 'x')
    return held.getvalue()


def tarred():
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('x'))
    return held.getvalue()


def in_blocks(data):
    held = io.BytesIO()
    writer = bgzf.BgzfWriter(fileobj=held)
    writer.write(data)
    writer.flush()
    return held.getvalue() + EMPTY_BLOCK


def array():
    held = io.BytesIO()
    np.save(held, np.zeros(3))
    return held.getvalue()


#: The end of a block-gzipped file.
EMPTY_BLOCK = bytes.fromhex('1f8b08040000000000ff0600424302001b0003000000000000000000')
BAM = b'BAM\1\4\0\0\0@HD\n\0\0\0\0'
#: Files that are no text, and what every reader says of them.
BINARY = {
    'gzip twice': (gzip.compress(gzip.compress(FASTA)), 'is gzipped twice, .*; gunzip unpacks it'),
    'bzip2': (bz2.compress(FASTA), 'is a bzip2 file, .*; bunzip2 unpacks it'),
    'xz': (lzma.compress(FASTA), 'is an xz file, .*; unxz unpacks it'),
    'zstd': (b'\x28\xb5\x2f\xfd\x04\x00', 'is a zstd file, .*; unzstd unpacks it'),
    'zip': (zipped('x.fa'), 'is a zip archive, .*; unzip unpacks it'),
    'xlsx': (zipped('[Content_Types].xml'), 'is an Excel workbook, .*; save the sheet as tab-separated text'),
    'xls': (b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(50), 'is an Excel workbook, '),
    'tar': (tarred(), 'is a tar archive, .*; tar -xf unpacks it'),
    'tar.gz': (gzip.compress(tarred()), 'is a tar archive, '),
    'bigWig': (b'\x26\xfc\x8f\x88\4\0', 'is a bigWig file, .*bigWigToBedGraph'),
    'bigBed': (b'\xeb\xf2\x89\x87\4\0', 'is a bigBed file, .*; bigBedToBed converts it'),
    'bigBed, other order': (b'\x87\x89\xf2\xeb\0\4', 'is a bigBed file, '),
    '2bit': (b'\x43\x27\x41\x1a\0\0', 'is a 2bit file, .*; twoBitToFa converts it'),
    'BAM': (in_blocks(BAM), 'is a BAM file, .*(samtools|macs3|bcftools)'),
    'BAM, unpacked': (BAM, 'is a BAM file, '),
    'CRAM': (b'CRAM\3\0', 'is a CRAM file, '),
    'BCF': (in_blocks(b'BCF\2\2\0\0\0\0'), 'is a BCF file, .*; bcftools view converts it to VCF'),
    'tabix': (in_blocks(b'TBI\1\0\0'), 'is an index, .*; name the file that it belongs to'),
    'HDF5': (b'\x89HDF\r\n\x1a\n\0', 'is an HDF5 file, '),
    'NumPy': (array(), 'is a NumPy array, '),
    'PDF': (b'%PDF-1.7\n', 'is a PDF document, '),
    'UTF-16': ('>s\nACGT\n'.encode('utf-16'), 'is UTF-16 text, .*; iconv -f UTF-16 -t UTF-8 converts it'),
    'UTF-16, no mark': ('chr1\t100\t200\n'.encode('utf-16-le'), 'is UTF-16 text, '),
    'UTF-16, big': ('chr1\t100\t200\n'.encode('utf-16-be'), 'is UTF-16 text, '),
    'UTF-32': ('chr1\t100\t200\n'.encode('utf-32'), 'is UTF-32 text, .*; iconv -f UTF-32'),
    'old Mac': (b'chr1\t5\t9\rchr1\t7\t12\r', r"line ends of old Macs \(CR alone\), .*; tr '\\r' '\\n' < OLD > NEW"),
    'HTML': (b'<!DOCTYPE html>\n<html><body>404\n', 'is an HTML page, .*; a download may have failed'),
    'Git LFS': (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'is a pointer of Git LFS.*git lfs pull'),
    'RTF': (b'{\\rtf1\\ansi\nchr1', 'is an RTF document, '),
}


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('kind', BINARY)
def test_every_reader_says_what_is_no_text(tmp_path, reader, kind):
    data, message = BINARY[kind]
    path = tmp_path / 'given.txt'
    path.write_bytes(data)
    if reader == 'table' and data[:2] == b'\x1f\x8b':  # our own tables are not packed
        message = 'is a gzip file, .*; gunzip unpacks it'
    with pytest.raises(InputError, match=f'given.txt: .*({message})') as caught:
        READERS[reader](path)
    assert 'expected' in str(caught.value) and str(caught.value).isprintable()


FASTQ = b'@read1\nACGT\n+\nIIII\n'
SAM = b'@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:100\n'
GTF = b'#!genome-build x\nchr1\tHAVANA\tgene\t11869\t14409\t.\t+\t.\tgene_id "G";\n'
MACS = b'# This file is generated by MACS version 3.0.0\n# Command line: callpeak\nchr\tstart\tend\n'
#: Texts of another format: the reader, what it is given, and what it says.
WRONG = [
    ('FASTA', FASTQ, 'is FASTQ, expected FASTA; seqtk seq -A converts it'),
    ('FASTA in parts', FASTQ, 'is FASTQ, expected FASTA; seqtk'),
    ('genome', FASTQ, 'is FASTQ, expected FASTA; seqtk'),
    ('genome', gzip.compress(FASTQ, mtime=0), 'is FASTQ, expected FASTA; seqtk'),
    ('genome', in_blocks(FASTQ), 'is FASTQ, expected FASTA; seqtk'),
    ('FASTA', SAM, 'is a SAM file, expected FASTA; samtools fasta converts it'),
    ('FASTA', BED, 'is a BED file, expected FASTA; bedtools getfasta'),
    ('FASTA', VCF, 'is a VCF, expected FASTA; bcftools consensus'),
    ('FASTA', b'LOCUS       NC_1 5386 bp\n', 'is a GenBank file, expected FASTA; '),
    ('FASTA', b'ID   X56734; SV 1;\n', 'is an EMBL file, expected FASTA; '),
    ('peaks', FASTA, r'is FASTA, expected peaks \(BED or narrowPeak\)'),
    ('peaks', FASTQ, r'is FASTQ, expected peaks \(BED or narrowPeak\)'),
    ('peaks', VCF, 'is a VCF, expected peaks'),
    ('peaks', b'##gff-version 3\n', 'is a GFF file, expected peaks .*; it counts from 1, gff2bed converts it'),
    ('peaks', GTF, 'is a GFF or GTF file, expected peaks .*; it counts from 1, gff2bed or gtf2bed converts it'),
    ('peaks', b'track type=wiggle_0\nfixedStep chrom=chr1 start=1 step=1\n1\n', 'is a wiggle track, expected peaks'),
    ('peaks', MACS, r"is MACS's table \(.xls\), expected peaks .*; it counts from 1, name the .narrowPeak"),
    ('peaks', b'# HOMER Peaks\n#PeakID\tchr\tstart\n', "is HOMER's table of peaks, .*; it counts from 1, pos2bed.pl"),
    ('peaks', MEME, 'is a MEME motif file, expected peaks'),
    ('variants', FASTA, 'is FASTA, expected a VCF, or a table'),
    ('variants', BED, 'is a BED file, expected a VCF'),
    ('variants', b'#version 2.4\nHugo_Symbol\tEntrez\n', 'is a MAF file of mutations, .*; maf2vcf.pl converts it'),
    ('MEME', JASPAR, 'is FASTA, expected motifs in MEME format'),
    ('MEME', b'<?xml version="1.0"?>\n<MEME/>\n', r"is an XML file, .*; MEME's text output \(meme.txt\) is read"),
    ('JASPAR', MEME, 'is a MEME motif file, expected motifs in JASPAR format'),
    ('table', FASTA, 'is FASTA, expected tab-separated text with a header'),
]


@pytest.mark.parametrize(('reader', 'data', 'message'), WRONG)
def test_text_of_another_format_is_named(tmp_path, reader, data, message):
    path = tmp_path / 'given.txt'
    path.write_bytes(data)
    with pytest.raises(InputError, match=f'given.txt: {message}'):
        READERS[reader](path)


@pytest.mark.parametrize('reader', READERS)
def test_what_is_expected_is_read(tmp_path, reader):
    """With Windows line ends, a byte-order mark and gzipped, too, where the reader takes those."""
    path = tmp_path / 'given.txt'
    for data in GOOD[reader]:
        for changed in (data, data.replace(b'\n', b'\r\n'), b'\xef\xbb\xbf' + data, gzip.compress(data)):
            if changed[:2] == b'\x1f\x8b' and reader == 'table':
                continue
            path.write_bytes(changed)
            assert READERS[reader](path) is not None


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\n',
        b'chr1 5 9 name\n',
        b'chr1\t5\t9\tname\t0\t+\t.\t1\t1\t2\n',
        b'# comment\nchr1\t5\t9\n',
        b'browser position chr7\ntrack name=x\nchr1\t5\t9\n',
        b'chr1\t5\t9\r\n' * 600,
        b'@odd\t5\t9\n',
        b'chr1\t5\t9\r',
    ],
)
def test_peaks_that_begin_unusually_are_not_taken_for_something_else(data):
    check_kind('x', data[:4096], 'peaks')


def test_text_of_no_known_format_is_left_to_its_reader():
    for expected in EXPECTED:
        check_kind('x', b'anything at all\n', expected)
        check_kind('x', 'gänse\n'.encode(), expected)
    check_kind('x', FASTQ, 'text')
