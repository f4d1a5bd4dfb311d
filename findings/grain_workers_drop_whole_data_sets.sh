#!/usr/bin/env bash
# grain 0.2.18: with worker processes every worker makes its own batches, and drop_remainder drops a remainder of each.
# 100 sequences in batches of 32 are three batches without workers, two with two workers and none at all with four.
#
# Each worker of a DataLoader takes every n-th record and batches those, so there are n remainders; the same holds for a
# Dataset batched after to_iter_dataset() and before mp_prefetch(). A guess would be that worker_count decides the speed
# alone, and that only the last 4 of these records are dropped. Nothing warns of it; a loop over no batches is silent.
#
# What it means for users: a small validation set (one chromosome's peaks, a few hundred variants) is cut or vanishes
# when the number of workers is raised, and its metric is that of other records, or none; without drop_remainder there
# are n small batches instead, each of a shape to compile. Let the records be at least workers times batch size, or
# batch before to_iter_dataset().
#
# Seen with grain 0.2.18, numpy 2.4.6, Python 3.11; records kept of 100, in batches of 32:
#   workers 0  DataLoader 96  batch, to_iter_dataset 96  to_iter_dataset, batch 96
#   workers 2  DataLoader 64  batch, to_iter_dataset 96  to_iter_dataset, batch 64
#   workers 4  DataLoader 0   batch, to_iter_dataset 96  to_iter_dataset, batch 0
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -q 'grain==0.2.18' 'numpy==2.4.6'
cat > "$place/load.py" <<'PYTHON'
import grain
import grain.python
from absl import app


class Records:
    def __len__(self):
        return 100

    def __getitem__(self, index):
        return index


def loader(workers):
    sampler = grain.python.IndexSampler(100, shard_options=grain.python.NoSharding(), shuffle=False, num_epochs=1,
                                        seed=0)
    return grain.python.DataLoader(data_source=Records(), sampler=sampler, worker_count=workers,
                                   operations=[grain.python.Batch(32, drop_remainder=True)])


def before(workers):
    data = grain.MapDataset.source(Records()).batch(32, drop_remainder=True).to_iter_dataset()
    return data.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)) if workers else data


def after(workers):
    data = grain.MapDataset.source(Records()).to_iter_dataset().batch(32, drop_remainder=True)
    return data.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)) if workers else data


def main(_):
    seen = {}
    for workers in 0, 2, 4:
        kept = [sum(len(batch) for batch in make(workers)) for make in (loader, before, after)]
        print('workers {}  DataLoader {:<2}  batch, to_iter_dataset {}  to_iter_dataset, batch {}'
              .format(workers, *kept))
        seen[workers] = kept
    assert seen[0] == [96, 96, 96], 'changed: no workers'
    assert seen[2] == [64, 96, 64], 'changed: two workers'
    assert seen[4] == [0, 96, 0], 'changed: four workers'


if __name__ == '__main__':
    app.run(main)
PYTHON
"$place/venv/bin/python" "$place/load.py"
echo 'as stated'
