#!/usr/bin/env bash
# flax 0.12.8: the metrics of flax.nnx count their values in 32 bits. From the 2,147,483,648th value on the average of
# ones is -1, and at the length of the human genome -2.56.
#
# nnx.metrics.Average keeps a float32 sum and an int32 count, which goes round; Accuracy is an Average, and Welford's
# mean, deviation and error come from such a count as well. A guess would be that a metric made to be fed in pieces has
# room for them, or says that it is full. Nothing warns.
#
# What it means for users: a metric per base over a genome (3.1e9 bases), or per base and track over many windows
# (16,384 windows of 131,072 bases are enough), is wrong while each batch is right. Average per batch or per
# chromosome, and combine those averages outside.
#
# Seen with flax 0.12.8, jax 0.10.2, Python 3.11, on a CPU; 2**24 values a batch, all 1, all predictions right, and
# others with mean 1 and deviation 1 for Welford:
#   values 2,130,706,432  average 1.00, accuracy 1.00, Welford's mean 1.00, deviation 1.00, error 2e-05
#   values 2,147,483,648  average -1.00, accuracy -1.00, Welford's mean 1.00, deviation nan, error nan
#   values 3,087,007,744  average -2.56, accuracy -2.56, Welford's mean 1.00, deviation nan, error nan
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'flax==0.12.8' 'jax==0.10.2' 'jaxlib==0.10.2'
cat > "$place/count.py" <<'PYTHON'
import jax.numpy as jnp
import numpy as np
from flax import nnx

SIZE = 2**24
values = jnp.ones(SIZE, jnp.bfloat16)
right = jnp.ones(SIZE, jnp.int32)
spread = jnp.asarray(np.resize(np.array([0.0, 2.0], np.float32), SIZE))  # mean 1, deviation 1
average, accuracy, welford = nnx.metrics.Average(), nnx.metrics.Accuracy(threshold=0.5), nnx.metrics.Welford()
seen = {}
for batch in range(1, 185):
    average.update(values=values)
    accuracy.update(logits=values, labels=right)
    welford.update(values=spread)
    if batch in (127, 128, 184):
        statistics = welford.compute()
        seen[batch] = [float(x) for x in (average.compute(), accuracy.compute(), statistics.mean,
                                          statistics.standard_deviation, statistics.standard_error_of_mean)]
        print('values {:,}  average {:.2f}, accuracy {:.2f}, Welford\'s mean {:.2f}, deviation {:.2f}, error {:.1g}'
              .format(batch * SIZE, *seen[batch]))
assert seen[127][:2] == [1, 1] and abs(seen[127][3] - 1) < 1e-3, 'changed: fewer than 2**31 values'
assert seen[128][:2] == [-1, -1] and seen[128][3] != seen[128][3], 'changed: 2**31 values'
assert -2.6 < seen[184][0] < -2.5, 'changed: the length of the human genome'
PYTHON
JAX_PLATFORMS=cpu "$place/venv/bin/python" "$place/count.py"
echo 'as stated'
