#!/usr/bin/env bash
# vcfpy 0.14.2: Record.is_snv() is True for a record that has no alternative allele, and for one with `*`.
#
# `A .` says that the site reads as the reference, `A *` that the base is deleted by a record upstream. is_snv() asks
# that REF is one letter and that every ALT is classified as a substitution: of no ALT that is always so, and `*` is
# classified as one, of type SNV and value `*`. A guess would be that an SNV has another letter. Nothing warns.
#
# What it means for users: files with a record per site (gVCF-like, EMIT_ALL_SITES) and multi-sample calls with
# spanning deletions give "SNVs" that cannot be scored as letters; a count of SNVs is too high, and record.ALT[0]
# raises IndexError, or is an allele that no one-hot code knows. Ask also that ALT is not empty and that each
# value is one of A, C, G and T.
#
# Seen with vcfpy 0.14.2, Python 3.11: REF A everywhere, is_snv and the alternatives that vcfpy gives:
#   ALT G       True   [('SNV', 'G')]
#   ALT .       True   []
#   ALT *       True   [('SNV', '*')]
#   ALT <DEL>   False  [('SYMBOLIC', 'DEL')]
#   ALT AT      False  [('INS', 'AT')]
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'vcfpy==0.14.2'
cat > "$place/read.py" <<'PYTHON'
import io

import vcfpy

alternatives = ['G', '.', '*', '<DEL>', 'AT']
lines = ['##fileformat=VCFv4.2', '##contig=<ID=chr1,length=100>']
lines.append('\t'.join(['#CHROM', 'POS', 'ID', 'REF', 'ALT', 'QUAL', 'FILTER', 'INFO']))
for number, alternative in enumerate(alternatives):
    lines.append(f'chr1\t{10 * number + 10}\t.\tA\t{alternative}\t.\tPASS\t.')
found = []
for alternative, record in zip(alternatives, vcfpy.Reader.from_stream(io.StringIO('\n'.join(lines) + '\n'))):
    alleles = [(allele.type, allele.value) for allele in record.ALT]
    print(f'ALT {alternative:7s} {record.is_snv()!s:6s} {alleles}')
    found.append(record.is_snv())
assert found == [True, True, True, False, False], f'changed: {found}'
PYTHON
"$place/venv/bin/python" "$place/read.py"
echo 'as stated'
