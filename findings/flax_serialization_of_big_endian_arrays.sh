#!/usr/bin/env bash
# flax 0.12.8: flax.serialization brings a big-endian NumPy array back with other numbers: 1, 2, 3 as 16777216,
# 33554432, 50331648, and 0.5, 1, 2 as about 1e-43, 5e-41, 1e-43.
#
# The bytes are written as they lie, but of the type only its name, and the name of '>f4' is 'float32', as that of '<f4'
# is. What is read back has the right shape and type. A guess would be the same numbers (as safetensors 0.8.0 gives), or
# an error, as jax.numpy.asarray has for such an array. Nothing warns.
#
# What it means for users: arrays are big-endian that come from netCDF-3 (scipy.io.netcdf_file), from files of Java
# programs or from a NumPy type such as '>i4' of a binary format. Kept beside a model's weights (means and deviations of
# tracks, background counts, positions), they are lost the moment they are written: the file holds no sign of it. Call
# `x.astype(x.dtype.newbyteorder('='))` first.
#
# Seen with flax 0.12.8, safetensors 0.8.0, scipy 1.17.1, numpy 2.4.6, jax 0.10.2, Python 3.11, on a CPU:
#   positions  >i4 1 2 3        flax int32 16777216 33554432 50331648           safetensors int32 1 2 3
#   netCDF     >f4 0.5 1 2      flax float32 8.8282e-44 4.6006e-41 8.9683e-44   safetensors float32 0.5 1 2
#   native     float32 0.5 1 2  flax float32 0.5 1 2                            safetensors float32 0.5 1 2
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'flax==0.12.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6' \
  'scipy==1.17.1' 'safetensors==0.8.0'
cat > "$place/order.py" <<'PYTHON'
import sys

import numpy as np
import safetensors.numpy
from flax import serialization
from scipy.io import netcdf_file

path = sys.argv[1] + '/means.nc'
with netcdf_file(path, 'w') as file:
    file.createDimension('track', 3)
    file.createVariable('mean', 'f4', ('track',))[:] = [0.5, 1, 2]
with netcdf_file(path, 'r', mmap=False) as file:
    means = file.variables['mean'][:].copy()
positions = np.frombuffer(bytes([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]), '>i4')
told = lambda x: ' '.join([str(x.dtype), *(f'{v:.5g}' if x.dtype.kind == 'f' else str(v) for v in x)])
same = {}
for name, array in ('positions', positions), ('netCDF', means), ('native', means.astype('<f4')):
    flax = serialization.from_bytes({'x': np.zeros_like(array)}, serialization.to_bytes({'x': array}))['x']
    other = safetensors.numpy.load(safetensors.numpy.save({'x': array}))['x']
    print(f'{name:10s} {told(array):16s} flax {told(flax):42s} safetensors {told(other)}')
    same[name] = np.array_equal(flax, array), np.array_equal(other, array)
assert means.dtype.str == '>f4'
assert same['native'] == (True, True), 'changed: the native order'
assert same['positions'] == same['netCDF'] == (False, True), 'changed: the big-endian order'
PYTHON
JAX_PLATFORMS=cpu "$place/venv/bin/python" "$place/order.py" "$place"
echo 'as stated'
