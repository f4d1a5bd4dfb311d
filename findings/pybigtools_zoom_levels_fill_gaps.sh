#!/usr/bin/env bash
# pybigtools 0.3.0: behind a gap, the zoom levels of a bigWig file that it writes hold values that are not there.
#
# Where values stop and go on later, the block of a zoom level in which they go on counts bases of the gap, too, with the
# first value behind it. `stats` of any library and genome browsers read zoom levels when they are zoomed out. A guess
# would be that bases without a value count for nothing, as in the file itself, which is right, and as in the zoom levels
# of pyBigWig.
#
# Here 150 zeros, a gap of 50 bases, one 100, and 99 zeros: the mean is 100 / 250 = 0.4, and the block that begins at 160
# holds 100 zeros and 100 in 140 bases, though only 100 of these have a value: 40 bases of the gap have become 100.
#
# What it means for users: assembly gaps and masked stretches (contributions and scores are not written at N) raise
# means of what lies behind them by any factor in a browser that is zoomed out. Look at the values where it matters.
#
# Seen with pybigtools 0.3.0, pyBigWig 0.3.29 (which only reads), numpy 2.2.6, Python 3.11:
#   without a gap: mean 0.400 exact 0.400
#   with a gap: mean 14.138 exact 0.400
#   blocks: 0-150 covers 150 sum 0, 160-300 covers 140 sum 4100
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'pyBigWig==0.3.29' 'pybigtools==0.3.0' 'numpy==2.2.6'
cat > "$place/gap.py" <<'PYTHON'
import sys

import pyBigWig
import pybigtools

for gap in (0, 50):
    path = f'{sys.argv[1]}/{gap}.bw'
    values = [0.0] * 150 + [100.0] + [0.0] * 99
    starts = [*range(150), *range(150 + gap, 250 + gap)]
    items = (('chr1', start, start + 1, value) for start, value in zip(starts, values))
    pybigtools.open(path, 'w').write({'chr1': 1000}, items)
    with pyBigWig.open(path) as track:
        mean, exact = track.stats('chr1', 0, 1000)[0], track.stats('chr1', 0, 1000, exact=True)[0]
    print(f'{"with" if gap else "without"} a gap: mean {mean:.3f} exact {exact:.3f}')
track = pybigtools.open(path)
blocks = track.zoom_records(track.zooms()[0], 'chr1')
print('blocks:', ', '.join(f'{a}-{b} covers {s["bases_covered"]} sum {s["sum"]:.0f}' for a, b, s in blocks))
PYTHON
seen=$("$place/venv/bin/python" "$place/gap.py" "$place")
printf '%s\n' "$seen"
stated=$(sed -n 's/^#   \(.*\)/\1/p' "$0")
[ "$seen" = "$stated" ] || { echo 'changed: not what is stated above'; exit 1; }
echo 'as stated'
