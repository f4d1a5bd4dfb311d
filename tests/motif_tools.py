"""A motif file as the tools of others read it, against what it is meant to say."""

import pathlib

import numpy as np

from demo_jax.motifs import formats

#: How far a probability may be off in a tool that rounds: a tenth of what can be seen in a logo.
TOLERANCE = 1e-3


def check_meme(path: pathlib.Path) -> dict[str, np.ndarray]:
    """See that memelite and Biopython read the probabilities of a MEME file; returns them as we read them."""
    import memelite.io
    from Bio import motifs

    ours = formats.read_meme(path)
    escaped = [formats.escape(name) for name in ours]
    theirs = memelite.io.read_meme(str(path))
    assert list(theirs) == escaped
    with open(path, encoding='utf-8') as handle:
        parsed = motifs.parse(handle, 'minimal')
    assert [motif.name for motif in parsed] == escaped
    for matrix, motif, name in zip(ours.values(), parsed, escaped, strict=True):
        np.testing.assert_allclose(theirs[name].T, matrix, atol=2e-6)
        counts = np.array([motif.counts[letter] for letter in 'ACGT']).T
        assert np.abs(counts.sum(axis=1) / motif.num_occurrences - 1).max() < TOLERANCE  # as many as there are sites
        np.testing.assert_allclose(np.array([motif.pwm[letter] for letter in 'ACGT']).T, matrix, atol=TOLERANCE)
    return ours


def check_jaspar(path: pathlib.Path) -> dict[str, np.ndarray]:
    """See that Biopython and lightmotif read the counts of a JASPAR file; returns them as we read them."""
    import lightmotif
    from Bio import motifs

    ours = formats.read_jaspar(path)
    escaped = [formats.escape(name) for name in ours]
    with open(path, encoding='utf-8') as handle:
        parsed = list(motifs.parse(handle, 'jaspar'))
    light = list(lightmotif.load(str(path), format='jaspar16'))
    assert [motif.matrix_id for motif in parsed] == [motif.name for motif in light] == escaped
    for counts, bio, lm in zip(ours.values(), parsed, light, strict=True):
        assert (counts == np.rint(counts)).all() and len(set(counts.sum(axis=1))) == 1
        np.testing.assert_array_equal(np.array([bio.counts[letter] for letter in 'ACGT']).T, counts)
        # lightmotif's columns are A C T G N.
        np.testing.assert_array_equal(np.array(list(lm.counts))[:, [0, 1, 3, 2]], counts)
    return ours
