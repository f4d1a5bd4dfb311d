#!/usr/bin/env bash
# HTSeq 2.1.2: WiggleReader gives every value of a wiggle file one base too far to the right.
#
# Wiggle counts from 1, HTSeq's GenomicInterval from 0. HTSeq's readers of BED and GFF give such intervals;
# WiggleReader puts the number of the file into the interval as it stands. A guess would be that all readers of one
# library agree on where a base is. Nothing warns, and the last value of a chromosome lies beyond its end.
#
# What it means for users: a track read from wiggle is shifted against peaks, reads and motif sites read by the same
# library, and a file written with write_bedgraph_file is shifted against the wiggle that it came from. Take 1 from the
# intervals' start and end, or convert the wiggle first.
#
# Seen with HTSeq 2.1.2, numpy 2.4.6, Python 3.11: a chromosome of 20 bases, one base with a value, told four ways:
#   BED          chr1 19 20       chr1:[19,20)
#   GFF          chr1 20 20       chr1:[19,20)
#   fixedStep    start=20         chr1:[20,21)
#   variableStep 20               chr1:[20,21)
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'HTSeq==2.1.2' 'numpy==2.4.6'
cat > "$place/read.py" <<'PYTHON'
import os
import sys

import HTSeq

os.chdir(sys.argv[1])
texts = {
    'base.bed': 'chr1\t19\t20\tsite\n',
    'base.gff': 'chr1\tx\tsite\t20\t20\t.\t.\t.\tID=site\n',
    'fixed.wig': 'track type=wiggle_0\nfixedStep chrom=chr1 start=20 step=1 span=1\n5\n',
    'variable.wig': 'track type=wiggle_0\nvariableStep chrom=chr1 span=1\n20 5\n',
}
for name, text in texts.items():
    with open(name, 'w') as file:
        file.write(text)
found = {
    'BED          chr1 19 20': next(iter(HTSeq.BED_Reader('base.bed'))).iv,
    'GFF          chr1 20 20': next(iter(HTSeq.GFF_Reader('base.gff'))).iv,
    'fixedStep    start=20': next(iter(HTSeq.WiggleReader('fixed.wig')))[0],
    'variableStep 20': next(iter(HTSeq.WiggleReader('variable.wig')))[0],
}
for name, iv in found.items():
    print(f'{name:28s} {iv.chrom}:[{iv.start},{iv.end})')
bed, gff, fixed, variable = [(iv.start, iv.end) for iv in found.values()]
assert bed == gff == (19, 20), 'changed: BED or GFF'
assert fixed == variable == (20, 21), 'changed: wiggle'
PYTHON
"$place/venv/bin/python" "$place/read.py" "$place"
echo 'as stated'
