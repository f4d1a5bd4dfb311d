#!/usr/bin/env bash
# jax 0.10.2, CPU: the gradient of a first convolution by one-hot DNA takes several times as long as the convolution.
#
# Saliency, DeepLIFT and the design of sequences need the gradient of a score by the letters. Forwards, a convolution
# goes from 4 channels to e.g. 64 filters. Backwards, JAX writes a convolution from 64 channels to 4, which has as many
# multiplications; a guess would be that it takes as long. XLA's CPU convolution is slow for few outputs, though. The
# same numbers come several times sooner from one matrix product, (positions, filters) times (filters, width x 4),
# and a sum of `width` shifted slices.
#
# What it means for users: on a CPU explanations of a model whose first layer is wide may spend most of their time in this
# one step. Write the transpose yourself (jax.custom_vjp). Frameworks on JAX (Flax, Equinox, Haiku) use the same primitive.
#
# Seen with jax 0.10.2, jaxlib 0.10.2, Python 3.11, two cores with AVX-512; 32 sequences of 101 bp, 64 filters of width 24,
# medians of 15 in turns, relative to the convolution forwards:
#   forwards                   0.28 ms    1.0
#   gradient as JAX does it    1.35 ms    4.8
#   product and shifts         0.32 ms    1.1
# The script fails if the two gradients differ or the second is less than 2.5 times as quick.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cat > "$place/gradient.py" <<'PYTHON'
import time

import jax
import jax.numpy as jnp
import numpy as np

batch, length, filters, width = 32, 101, 64, 24
rng = np.random.default_rng(0)
x = jnp.asarray(np.eye(4, dtype=np.float32)[rng.integers(0, 4, (batch, length))])
kernel = jnp.asarray(rng.normal(size=(width, 4, filters)).astype(np.float32))
dy = jnp.asarray(rng.normal(size=(batch, length - width + 1, filters)).astype(np.float32))


@jax.jit
def forwards(x):
    return jax.lax.conv_general_dilated(x, kernel, (1,), 'VALID', dimension_numbers=('NWC', 'WIO', 'NWC'))


@jax.jit
def as_jax_does(dy):
    return jax.vjp(forwards, x)[1](dy)[0]


@jax.jit
def product_and_shifts(dy):
    sent = (dy @ kernel.reshape(width * 4, filters).T).reshape(batch, -1, width, 4)
    return sum(jnp.pad(sent[:, :, i], ((0, 0), (i, width - 1 - i), (0, 0))) for i in range(width))


same = float(jnp.abs(as_jax_does(dy) - product_and_shifts(dy)).max())
forwards(x).block_until_ready()
times = {name: [] for name in ('forwards', 'gradient as JAX does it', 'product and shifts')}
for _ in range(15):
    for name, function, given in zip(times, (forwards, as_jax_does, product_and_shifts), (x, dy, dy), strict=True):
        begun = time.perf_counter()
        function(given).block_until_ready()
        times[name].append(time.perf_counter() - begun)
middle = {name: float(np.median(found)) for name, found in times.items()}
for name, seconds in middle.items():
    print(f'{name:24s} {1000 * seconds:6.2f} ms  {seconds / middle["forwards"]:5.1f}')
assert same < 1e-3, f'the two gradients differ by {same}'
ratio = middle['gradient as JAX does it'] / middle['product and shifts']
assert ratio > 2.5, f'changed: {ratio:.1f} times as long as a product and shifts'
PYTHON
"$place/venv/bin/python" "$place/gradient.py"
echo 'as stated'
