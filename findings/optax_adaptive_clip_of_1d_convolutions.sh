#!/usr/bin/env bash
# optax 0.2.8: adaptive_grad_clip takes the kernel of a one-dimensional convolution for a multi-head linear layer. It
# compares gradient and weights per pair of input channel and filter, along the width alone, not per filter.
#
# Flax keeps such a kernel as (width, channels, filters). Any array with three axes is reduced along the first only,
# though the text of optax's unitwise_norm says axes 0, 1, 2 for three and four axes. The same kernel with a height of
# one in front, (1, width, channels, filters), is a two-dimensional convolution and is treated per filter. A guess
# would be that both are clipped alike, for they are the same layer. Nothing warns.
#
# What it means for users: in a model of sequences a filter's weights for one letter are often small (a position weight
# matrix is sparse). Its gradient for that letter is cut to `clipping` times that small norm, although the filter as a
# whole is far from the limit. Say `axis=(0, 1)` for such kernels (for them alone, with optax.masked or
# optax.partition), or give the layers a height of one.
#
# Seen with optax 0.2.8, flax 0.12.8, jax 0.10.2, numpy 2.4.6, Python 3.11, on a CPU; 64 filters of 11 x 4, each with a
# gradient of at most 1.5 times its weights, clipping=2; filter 0 has weights of .001 for the letter A:
#   kernel (11, 4, 64)      entries changed 55 of 2816, gradient of filter 0 for A kept 0.0021
#   kernel (1, 11, 4, 64)   entries changed 0 of 2816, gradient of filter 0 for A kept 1.0000
#   axis=(0, 1)             entries changed 0 of 2816, gradient of filter 0 for A kept 1.0000
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'optax==0.2.8' 'flax==0.12.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cat > "$place/clip.py" <<'PYTHON'
import numpy as np
import optax
from flax import nnx

flat = nnx.Conv(4, 64, kernel_size=(11,), rngs=nnx.Rngs(0)).kernel[...]
high = nnx.Conv(4, 64, kernel_size=(1, 11), rngs=nnx.Rngs(0)).kernel[...]
rng = np.random.default_rng(0)
weights = rng.normal(size=flat.shape).astype(np.float32)
weights[:, 0, 0] = 1e-3  # filter 0 scarcely looks at A
gradient = rng.normal(size=flat.shape).astype(np.float32)
norm = lambda x: np.sqrt((x**2).sum((0, 1), keepdims=True))
gradient *= np.minimum(1.0, 1.5 * norm(weights) / norm(gradient))  # no filter is near the limit of 2


def show(name, weights, gradient, **settings):
    clip = optax.adaptive_grad_clip(2.0, **settings)
    kept = np.asarray(clip.update(gradient, clip.init(weights), weights)[0]).reshape(flat.shape)
    before = gradient.reshape(flat.shape)
    changed = (np.abs(kept - before) > 1e-5 * np.abs(before)).sum()
    part = np.linalg.norm(kept[:, 0, 0]) / np.linalg.norm(before[:, 0, 0])
    print(f'{name:22s}  entries changed {changed} of {kept.size}, gradient of filter 0 for A kept {part:.4f}')
    return changed, part


one = show(f'kernel {flat.shape}', weights, gradient)
two = show(f'kernel {high.shape}', weights.reshape(high.shape), gradient.reshape(high.shape))
told = show('axis=(0, 1)', weights, gradient, axis=(0, 1))
assert one[0] > 0 and one[1] < 0.1, 'changed: three axes'
assert two[0] == told[0] == 0, 'changed: four axes, or axes that were named'
assert 'Rank-3 or 4: Axes (0, 1, 2)' in ' '.join(optax.transforms.unitwise_norm.__doc__.split()), 'changed: the text'
PYTHON
JAX_PLATFORMS=cpu "$place/venv/bin/python" "$place/clip.py"
echo 'as stated'
