#!/usr/bin/env bash
# optax 0.2.8: centralize() takes the mean along the wrong axes of Flax's kernels. The mean is that of all filters
# together at each position (convolution) or of all outputs at each input (dense), not that of each filter.
#
# Gradient centralisation makes the gradient of each output unit sum to zero over its inputs. optax keeps the first axis
# and averages over the others, which is right for kernels that begin with the outputs (equinox). Flax's kernels
# end with them: (width, channels, filters) and (inputs, outputs). A guess would be that an optimiser of the JAX world
# suits Flax's layout, as adaptive_grad_clip of the same library does for dense layers. Nothing warns.
#
# What it means for users: with Flax the result is another method: filters keep their mean gradient, and what is taken
# away couples all filters of a layer. Of a last layer with one output nothing at all is left: its weights have the
# shape (inputs, 1), each gradient is its own mean, and they never learn. Transpose around it, or take the mean by hand.
#
# Seen with optax 0.2.8, flax 0.12.8, equinox 0.13.8, jax 0.10.2, numpy 2.4.6, Python 3.11, on a CPU:
#   flax Conv (11, 4, 16)      largest mean gradient of a filter 0.35
#   equinox Conv1d (16, 4, 11) largest mean gradient of a filter 0.00
#   flax Linear (16, 1)        largest update 0 after 100 steps, loss 0.91 to 0.91; without centralize 0.91 to 0.00
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'optax==0.2.8' 'flax==0.12.8' 'equinox==0.13.8' 'jax==0.10.2' \
  'jaxlib==0.10.2' 'numpy==2.4.6'
cat > "$place/centralize.py" <<'PYTHON'
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

rng = np.random.default_rng(0)
ended = rng.normal(size=nnx.Conv(4, 16, kernel_size=(11,), rngs=nnx.Rngs(0)).kernel.shape).astype(np.float32)
begun = ended.transpose(2, 1, 0)  # the same gradient, as equinox would have it
assert begun.shape == eqx.nn.Conv1d(4, 16, 11, key=jax.random.key(0)).weight.shape
centre = optax.centralize()
flax = np.abs(np.asarray(centre.update(ended, centre.init(ended))[0]).mean((0, 1))).max()
equinox = np.abs(np.asarray(centre.update(begun, centre.init(begun))[0]).mean((1, 2))).max()
print(f'flax Conv {ended.shape}      largest mean gradient of a filter {flax:.2f}')
print(f'equinox Conv1d {begun.shape} largest mean gradient of a filter {equinox:.2f}')

x = rng.normal(size=(256, 16)).astype(np.float32)
target = x @ rng.normal(size=(16, 1)).astype(np.float32) / 4


def fit(optimiser):
    layer = nnx.Linear(16, 1, use_bias=False, kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))
    weights = layer.kernel[...]
    loss = lambda w: jnp.mean((jnp.asarray(x) @ w - target) ** 2)
    state, start = optimiser.init(weights), weights
    for _ in range(100):
        updates, state = optimiser.update(jax.grad(loss)(weights), state, weights)
        weights = optax.apply_updates(weights, updates)
    return float(jnp.abs(weights - start).max()), float(loss(start)), float(loss(weights))


moved, first, last = fit(optax.chain(optax.centralize(), optax.sgd(0.1)))
_, _, plain = fit(optax.sgd(0.1))
print(f'flax Linear (16, 1)        largest update {moved:g} after 100 steps, loss {first:.2f} to {last:.2f}; '
      f'without centralize {first:.2f} to {plain:.2f}')
assert flax > 0.1, 'changed: a kernel of flax'
assert equinox < 1e-5, 'changed: a kernel of equinox'
assert moved == 0 and first == last and plain < 0.1 * first, 'changed: a layer with one output'
PYTHON
JAX_PLATFORMS=cpu "$place/venv/bin/python" "$place/centralize.py"
echo 'as stated'
