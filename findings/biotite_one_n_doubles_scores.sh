#!/usr/bin/env bash
# biotite 1.6.0: one N in one aligned site about doubles the log-odds scores of the whole profile.
#
# A NucleotideSequence with an N has the alphabet of 15 IUPAC codes. SequenceProfile.from_alignment takes the common
# alphabet of its sequences, so the profile gets 15 columns in place of 4. Without background frequencies,
# sequence_score and log_odds_matrix compare with 1/15 per symbol, not with 1/4: each position gains
# log2(15/4) = 1.9 bits. The pseudocount is shared by 15 symbols, too. A guess would be that an N says nothing about a
# site, and that a score in bits against uniform letters does not depend on it. Nothing warns.
#
# What it means for users: thresholds in bits, and comparisons of motifs of which one was built from sites with an N,
# are wrong; sequences far from the motif gain as much as its sites. Give background_frequencies (1/4 each for A, C, G
# and T, a small number for the other eleven), or leave out sites with N.
#
# Seen with biotite 1.6.0, numpy 2.4.6, Python 3.11: five sites of TGA[C/G]TCA, scores in bits, pseudocount 1:
#   five clean sites            4 symbols  TGACTCA  11.65  CCCCCCC -10.00
#   first letter of one is N   15 symbols  TGACTCA  24.28  CCCCCCC  -6.32
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'biotite==1.6.0' 'numpy==2.4.6'
cat > "$place/score.py" <<'PYTHON'
import biotite.sequence as sequences
import numpy as np
from biotite.sequence.align import Alignment

clean = ['TGACTCA', 'TGAGTCA', 'TGACTCA', 'TGACTCT', 'TGAGTCA']
scores = []
for name, sites in ('five clean sites', clean), ('first letter of one is N', [*clean[:4], 'NGAGTCA']):
    trace = np.arange(7)[:, None].repeat(5, axis=1)
    profile = sequences.SequenceProfile.from_alignment(Alignment([sequences.NucleotideSequence(s) for s in sites], trace))
    symbols = len(profile.alphabet)
    asked = [sequences.NucleotideSequence(s, ambiguous=symbols > 4) for s in ('TGACTCA', 'CCCCCCC')]
    site, other = [profile.sequence_score(s, pseudocount=1) for s in asked]
    print(f'{name:26s} {symbols:2d} symbols  TGACTCA {site:6.2f}  CCCCCCC {other:6.2f}')
    scores.append((symbols, round(site, 2), round(other, 2)))
assert scores == [(4, 11.65, -10.0), (15, 24.28, -6.32)], f'changed: {scores}'
PYTHON
"$place/venv/bin/python" "$place/score.py"
echo 'as stated'
