"""The runner of the MEME Suite's programs, against programs made here that behave well and badly."""

import sys
import time

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.baseline import meme_suite
from demo_jax.baseline.meme_suite import MemeSuiteError

SEQUENCES = [dna.encode('ACGTTGACTCATCGNA'), dna.encode('TTTTGACTCAAA')]
MOTIFS = """MEME version 5.5.5

ALPHABET= ACGT

Background letter frequencies
A 0.25 C 0.25 G 0.25 T 0.25

MOTIF 1-TGAC STREME-1
letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 1.0e-003
 0.000000 0.000000 0.000000 1.000000
 0.100000 0.200000 0.300000 0.400000

MOTIF 2-AC STREME-2
letter-probability matrix: alength= 4 w= 1 nsites= 9 E= 0.2
 0.700000 0.100000 0.100000 0.100000
"""
# Writes what it was given beside the motifs, so that a test can look at it.
WRITE = """
out = sys.argv[sys.argv.index('--oc' if '--oc' in sys.argv else '-oc') + 1]
path = os.path.join(out, {output!r})
os.makedirs(os.path.dirname(path))
fasta = sys.argv[sys.argv.index('--p') + 1] if '--p' in sys.argv else sys.argv[-1]
open({seen!r}, 'w').write(repr(sys.argv[1:]) + '\\n' + open(fasta).read())
open(path, 'wb').write({text!r})
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program on the PATH, made of a body in Python; nothing else is on it."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', str(folder))

    def make(name, body):
        path = folder / name
        path.write_text(f'#!{sys.executable}\nimport os, signal, subprocess, sys, time\n{body}\n')
        path.chmod(0o755)

    return make


def writing(tmp_path, text=MOTIFS, output='streme.txt'):
    return WRITE.format(output=output, seen=str(tmp_path / 'seen'), text=text.encode())


@pytest.mark.parametrize('name, output', list(meme_suite.PROGRAMS.items()))
def test_motifs_are_read(program, tmp_path, name, output):
    program(name, writing(tmp_path, output=output))
    assert meme_suite.installed() == name
    found = meme_suite.find_motifs(name, SEQUENCES, n_motifs=5)
    assert list(found) == ['1-TGAC', '2-AC']
    np.testing.assert_allclose(found['1-TGAC'], [[0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4]])
    arguments, *fasta = (tmp_path / 'seen').read_text().splitlines()
    assert fasta == ['>1', 'ACGTTGACTCATCGNA', '>2', 'TTTTGACTCAAA']
    assert "'5'" in arguments and 'nmotifs' in arguments
    assert list(meme_suite.find_motifs(name, SEQUENCES, n_motifs=1)) == ['1-TGAC']  # it gave one more than asked for


def test_streme_comes_first(program):
    assert meme_suite.installed() is None
    program('meme-chip', '')
    program('streme', '')
    assert meme_suite.installed() == 'streme'


def test_a_name_is_not_a_command(program, tmp_path):
    program('streme', writing(tmp_path))
    for bad in ('streme; touch x', 'sh', ''):
        with pytest.raises(MemeSuiteError, match='expected one of streme, meme-chip'):
            meme_suite.find_motifs(bad, SEQUENCES)
    with pytest.raises(MemeSuiteError, match='meme-chip: is not on the PATH'):
        meme_suite.find_motifs('meme-chip', SEQUENCES)


@pytest.mark.parametrize(
    'body, message',
    [
        ('print("ERROR: too few sequences"); print(); sys.exit(3)', r"status 3 \('ERROR: too few sequences'\)"),
        ('sys.exit(1)', r"status 1 \('it said nothing'\)"),
        ('sys.stderr.buffer.write(b"\\xff\\xfe bad"); sys.exit(2)', 'status 2'),
        ('os.kill(os.getpid(), signal.SIGKILL)', 'signal 9'),
        ('pass', 'wrote no streme.txt'),
    ],
)
def test_failures_are_one_line(program, body, message):
    program('streme', body)
    with pytest.raises(MemeSuiteError, match=f'^streme: .*{message}') as caught:
        meme_suite.find_motifs('streme', SEQUENCES)
    assert '\n' not in str(caught.value)


def test_a_program_that_cannot_be_started(program, tmp_path):
    program('streme', '')
    (tmp_path / 'bin' / 'streme').write_text('#!/no/such/interpreter\n')
    with pytest.raises(MemeSuiteError, match='streme: cannot be run'):
        meme_suite.find_motifs('streme', SEQUENCES)


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'holds no motif'),
        ('<html>nothing of use</html>', 'streme.txt: is an HTML page'),
        (MOTIFS.replace('0.700000', 'many'), 'line 15 is .* expected 4 numbers'),
        (MOTIFS.replace('w= 2', 'w= 4'), 'expected 4 numbers'),
        (MOTIFS.replace('0.700000', '0.900000'), "'2-AC' has .* expected probabilities of A C G T"),
        (MOTIFS.replace('0.700000', '-0.700000').replace('0.100000', '0.566667'), 'expected probabilities of A C G T'),
    ],
)
def test_garbage_is_refused(program, tmp_path, text, message):
    program('streme', writing(tmp_path, text))
    with pytest.raises(MemeSuiteError, match=message) as caught:
        meme_suite.find_motifs('streme', SEQUENCES)
    assert str(caught.value).startswith('streme: ') and '\n' not in str(caught.value)


def test_bytes_that_are_not_text_are_refused(program, tmp_path):
    body = writing(tmp_path).replace(repr(MOTIFS.encode()), repr(b'\xff\x01\xfd'))
    program('streme', body)
    with pytest.raises(MemeSuiteError, match='streme: .*is not text'):
        meme_suite.find_motifs('streme', SEQUENCES)


def test_a_slow_program_is_ended_with_its_children(program, tmp_path):
    """The program starts another and both would go on for long; neither outlives the time limit."""
    beats = tmp_path / 'beats'
    program(
        'streme',
        f"""
if os.fork():
    time.sleep(60)
for _ in range(1200):
    with open({str(beats)!r}, 'a') as handle:
        handle.write('.')
    time.sleep(0.05)
""",
    )
    begun = time.monotonic()
    for timeout in (1, 4, 16):  # a busy machine may take longer to start it
        with pytest.raises(MemeSuiteError, match=rf'streme: was not done after {timeout} s'):
            meme_suite.find_motifs('streme', SEQUENCES, timeout=timeout)
        if beats.exists():
            break
    assert time.monotonic() - begun < 50
    beaten = beats.stat().st_size
    time.sleep(0.5)
    assert beats.stat().st_size == beaten > 0


def test_the_temporary_folder_is_gone(program, tmp_path, monkeypatch):
    scratch = tmp_path / 'scratch'
    scratch.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(scratch))
    program('streme', writing(tmp_path))
    meme_suite.find_motifs('streme', SEQUENCES)
    program('streme', 'sys.exit(1)')
    with pytest.raises(MemeSuiteError):
        meme_suite.find_motifs('streme', SEQUENCES)
    assert list(scratch.iterdir()) == []
