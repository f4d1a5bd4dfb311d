"""Files that are scored, and the command that scores them."""

import numpy as np

from demo_jax import dna
from demo_jax.data import variants
from demo_jax.predict.windows import check_fasta


def letters(n, seed=0):
    return dna.decode(np.random.default_rng(seed).integers(0, 4, n))


def fasta(path, **sequences):
    path.write_text(''.join(f'>{name} more words\n{text}\n' for name, text in sequences.items()))
    return path


def vcf(*lines):
    return '##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n' + ''.join(
        '\t'.join(map(str, line)) + '\t.\tPASS\t.\n' for line in lines
    )


def other(base, step=1):
    return 'ACGT'[('ACGT'.index(base) + step) % 4]


def read(path):
    """The variants of a file, and what is passed over."""
    items = list(variants.read_variants(path))
    return [item for item in items if isinstance(item, variants.Variant)], [
        item for item in items if isinstance(item, variants.Skipped)
    ]


def checked(path, models, stride=10):
    return check_fasta(path, models, stride=stride, progress=False)
