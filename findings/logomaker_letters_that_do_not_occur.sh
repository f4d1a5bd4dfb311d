#!/usr/bin/env bash
# logomaker 0.8.7: the alphabet of alignment_to_matrix is whatever letters the sequences happen to hold, and the scale
# of the information follows: the same position has 1, 1.58, 2, 2.32 or 2.58 bits by what stands at the others.
#
# The matrix has one column per letter that occurs somewhere: sites without any C or T are measured against an alphabet
# of two letters; an N or a soft-masked (lower-case) base adds letters of its own. The uniform background is spread over
# those. A guess would be four letters and at most 2 bits for DNA, or an error for the rest. Nothing warns.
#
# What it means for users: logos of two motifs drawn side by side have different heights for the same frequencies;
# sites of purines only, or of C and G only, look half as conserved as they are; one N or lower-case base in one of the
# sites changes every position. Count into the columns A, C, G, T first, upper case, and use transform_matrix;
# `background` does not help, for it must be as long as the letters that occur.
#
# Seen with logomaker 0.8.7, numpy 2.4.6, pandas 3.1.1, Python 3.11; bits of the first position (all A):
#   AGGAA AGGAG              letters A G          1.00
#   AGGAA AGGAG AGGAC        letters A C G        1.58
#   AGGAA AGGAG AGCAT        letters A C G T      2.00
#   AGGAA AGGAG AGCAN AGTAT  letters A C G N T    2.32
#   AGGAA AGGAG AGcAt AGTAC  letters A C G T c t  2.58
#   the first two as counts of A, C, G, T         2.00
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'logomaker==0.8.7' 'numpy==2.4.6' 'pandas==3.1.1'
cat > "$place/letters.py" <<'PYTHON'
import logomaker
import pandas as pd

cases = [('AGGAA AGGAG', 1.0), ('AGGAA AGGAG AGGAC', 1.585), ('AGGAA AGGAG AGCAT', 2.0),
         ('AGGAA AGGAG AGCAN AGTAT', 2.322), ('AGGAA AGGAG AGcAt AGTAC', 2.585)]
for text, expected in cases:
    matrix = logomaker.alignment_to_matrix(text.split(), to_type='information', pseudocount=0)
    bits = matrix.loc[0].sum()
    print(f'{text:24s} letters {" ".join(matrix.columns):12s} {bits:.2f}')
    assert matrix.loc[0, 'A'] == bits and abs(bits - expected) < 1e-3, f'changed: {text}'
counts = pd.DataFrame([{letter: column.count(letter) for letter in 'ACGT'} for column in zip(*cases[0][0].split())])
bits = logomaker.transform_matrix(counts, from_type='counts', to_type='information', pseudocount=0).loc[0].sum()
print(f'the first two as counts of A, C, G, T         {bits:.2f}')
assert abs(bits - 2) < 1e-3, 'changed: counts of four letters'
PYTHON
MPLBACKEND=agg MPLCONFIGDIR="$place" "$place/venv/bin/python" "$place/letters.py"
echo 'as stated'
