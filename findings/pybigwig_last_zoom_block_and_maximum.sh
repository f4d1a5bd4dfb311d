#!/usr/bin/env bash
# pyBigWig 0.3.29: the zoom levels of a bigWig file that it writes lack the last block of each chromosome, and the
# maximum in the file's summary is wrong where the largest value comes first.
#
# `stats` and genome browsers read zoom levels when they are zoomed out. Of 1,000 values of 1 in a row the mean over
# all is then .992, and of three values on a chromosome of 1,000 bases it is 0; `exact=True` gives 1 and 3. A guess
# would be that zoom levels are a summary of all values. The summary's maximum is 2.2e-308, the smallest positive number,
# where values only fall, and the largest but the first where the first is the largest. The values themselves are right,
# and a file of the same values, without a gap, by pybigtools 0.3.0 has none of this, whichever library reads it.
#
# What it means for users: the end of a chromosome, and all of a short contig, look empty in a browser that is zoomed
# out, and axes that scale by the summary are cut off. Write with `maxZooms=0`, or with another library.
#
# Seen with pyBigWig 0.3.29, pybigtools 0.3.0, numpy 2.2.6, Python 3.11:
#   1000 ones        by pyBigWig    mean 0.992 exact 1.000 maximum 1
#   1000 ones        by pybigtools  mean 1.000 exact 1.000 maximum 1
#   5, 1, 3 of 1000  by pyBigWig    mean 0.000 exact 3.000 maximum 3
#   5, 1, 3 of 1000  by pybigtools  mean 3.000 exact 3.000 maximum 5
#   999 down to 0    by pyBigWig    mean 499.472 exact 499.500 maximum 2.2e-308
#   999 down to 0    by pybigtools  mean 499.500 exact 499.500 maximum 999
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'pyBigWig==0.3.29' 'pybigtools==0.3.0' 'numpy==2.2.6'
cat > "$place/tracks.py" <<'PYTHON'
import sys

import numpy as np
import pyBigWig
import pybigtools

CASES = {
    '1000 ones': np.ones(1000),
    '5, 1, 3 of 1000': np.array([5.0, 1.0, 3.0]),
    '999 down to 0': np.arange(1000.0)[::-1],
}
for name, values in CASES.items():
    paths = {writer: f'{sys.argv[1]}/{writer}{len(values)}.bw' for writer in ('pyBigWig', 'pybigtools')}
    with pyBigWig.open(paths['pyBigWig'], 'w') as track:
        track.addHeader([('chr1', 1000)])
        track.addEntries('chr1', 0, values=values, span=1, step=1)
    items = (('chr1', place, place + 1, float(value)) for place, value in enumerate(values))
    pybigtools.open(paths['pybigtools'], 'w').write({'chr1': 1000}, items)
    for writer, path in paths.items():
        highest = pybigtools.open(path).info()['summary']['max']
        with pyBigWig.open(path) as track:
            mean = track.stats('chr1', 0, 1000)[0]
            exact = track.stats('chr1', 0, 1000, exact=True)[0]
        shown = f'{highest:.0f}' if highest > 1e-9 else f'{highest:.2g}'
        print(f'{name:15}  by {writer:10}  mean {mean:.3f} exact {exact:.3f} maximum {shown}')
PYTHON
seen=$("$place/venv/bin/python" "$place/tracks.py" "$place")
printf '%s\n' "$seen"
stated=$(sed -n 's/^#   \(.* by .*\)/\1/p' "$0" | tr -s ' ')
[ "$(printf '%s\n' "$seen" | tr -s ' ')" = "$stated" ] || { echo 'changed: not what is stated above'; exit 1; }
echo 'as stated'
