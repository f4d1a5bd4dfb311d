#!/usr/bin/env bash
# jax 0.10.2: a folder of compiled programs that was filled without a size limit takes no further program once
# jax_compilation_cache_max_size is set. Each compilation warns and is lost, at every start, for ever.
#
# With a limit JAX keeps a second file per program, NAME-atime, by which it evicts the oldest. Programs that were kept
# before the limit was set have none; the look for the oldest then fails, and with it every write. A guess would be
# that old programs count as the oldest, or are left alone. Without the limit the same folder works again.
#
# What it means for users: to set a limit, begin with an empty folder. (demo_jax keeps its own limit for this reason.)
#
# Seen with jax 0.10.2, jaxlib 0.10.2, filelock 3.20.0, Python 3.11, on a CPU:
#   without a limit        programs 1, with atime 0, warnings 0
#   limit of 1 GB, another  programs 1, with atime 0, warnings 1 FileNotFoundError ...-atime
#   limit, the same again   programs 1, with atime 0, warnings 1 FileNotFoundError ...-atime
#   limit, an empty folder  programs 1, with atime 1, warnings 0
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'jax==0.10.2' 'jaxlib==0.10.2' 'filelock==3.20.0'
cat > "$place/compile.py" <<'PYTHON'
import os
import sys
import warnings

import jax
import numpy as np

folder, limit, factor = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
jax.config.update('jax_compilation_cache_dir', folder)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
if limit:
    jax.config.update('jax_compilation_cache_max_size', limit)
x = np.array([1.0, 2.0], np.float32)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter('always')
    jax.jit(lambda x: x * factor).lower(x).compile()
names = os.listdir(folder)
print(f'programs {sum(n.endswith("-cache") for n in names)}, with atime {sum(n.endswith("-atime") for n in names)}, '
      f'warnings {len(seen)}', *('FileNotFoundError' for w in seen if 'FileNotFoundError' in str(w.message)))
PYTHON
export JAX_PLATFORMS=cpu
mkdir "$place/old" "$place/new"
run() { "$place/venv/bin/python" "$place/compile.py" "$@"; }
first=$(run "$place/old" 0 2)
second=$(run "$place/old" 1000000000 3)
third=$(run "$place/old" 1000000000 3)
empty=$(run "$place/new" 1000000000 3)
printf '%s\n' "$first" "$second" "$third" "$empty"
kept=${first%%,*}  # how many programs that one compilation keeps
[ "$first" = "$kept, with atime 0, warnings 0" ] || { echo 'changed: without a limit'; exit 1; }
for found in "$second" "$third"; do
  case "$found" in "$kept, with atime "*"FileNotFoundError"*) ;; *) echo 'changed: a limit on an old folder'; exit 1 ;; esac
done
case "$empty" in *'warnings 0') ;; *) echo 'changed: a limit on an empty folder'; exit 1 ;; esac
echo 'as stated'
