"""Motifs by programs of the MEME Suite, if they are installed (edge: runs programs, touches the disk)."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.io import files
from demo_jax.motifs import formats

#: The programs, in order of preference, and the file in its output folder to which each writes its motifs.
PROGRAMS: Mapping[str, str] = MappingProxyType({'streme': 'streme.txt', 'meme-chip': 'meme_out/meme.txt'})
TIMEOUT = 600.0
_LAST_WORDS = 10_000  # bytes at the end of its messages that are read


class MemeSuiteError(InputError):
    """A program of the MEME Suite cannot be run, or its output cannot be used; one line."""


def installed() -> str | None:
    """The first of `PROGRAMS` that is on the PATH."""
    return next((program for program in PROGRAMS if shutil.which(program)), None)


def find_motifs(
    program: str, sequences: Sequence[np.ndarray], *, n_motifs: int = 5, timeout: float = TIMEOUT
) -> dict[str, np.ndarray]:
    """The motifs that a program of the MEME Suite finds in positive sequences.

    The program runs with its default settings except for the number of motifs and a fixed seed, in a temporary folder,
    without a shell. If it exceeds the timeout, it is killed with every program that it has started.

    Args:
      program: 'streme' or 'meme-chip'.
      sequences: uint8 (l,) each.
      n_motifs: how many are requested; more in the output are ignored.
      timeout: seconds.

    Returns:
      Name -> probabilities, float64 (w, 4), in the program's order.

    Raises:
      MemeSuiteError: it is not on the PATH, fails, exceeds the timeout, or its output is not motifs.
    """
    if program not in PROGRAMS:
        raise MemeSuiteError(f'motif program {brief(program)}: expected one of {", ".join(PROGRAMS)}')
    path = shutil.which(program)
    if path is None:
        raise MemeSuiteError(f'{program}: is not on the PATH')
    with tempfile.TemporaryDirectory(prefix='demo_jax_') as folder:
        fasta, out = pathlib.Path(folder, 'positives.fa'), pathlib.Path(folder, 'out')
        records = (f'>{number}\n{dna.decode(sequence)}\n' for number, sequence in enumerate(sequences, start=1))
        files.write_text(fasta, ''.join(records))
        _run([path, *_arguments(program, str(fasta), str(out), n_motifs)], folder, timeout)
        output = out / PROGRAMS[program]
        if not output.is_file():
            raise MemeSuiteError(f'{program}: wrote no {PROGRAMS[program]}')
        try:
            motifs = formats.read_meme(output)
        except InputError as error:
            raise MemeSuiteError(f'{program}: {str(error).replace(f"{out}{os.sep}", "")}') from error
    chosen = list(motifs.items())[:n_motifs]
    return {name: matrix / matrix.sum(axis=1, keepdims=True) for name, matrix in chosen}


def _arguments(program: str, fasta: str, out: str, n_motifs: int) -> list[str]:
    if program == 'streme':
        return ['--p', fasta, '--oc', out, '--dna', '--nmotifs', str(n_motifs), '--seed', '0']
    return ['-oc', out, '-seed', '0', '-meme-nmotifs', str(n_motifs), fasta]


def _run(command: Sequence[str], folder: str, timeout: float) -> None:
    """Run a program to its end, in its own process group.

    Raises:
      MemeSuiteError: it cannot be started, exits with another status than 0, or exceeds the timeout.
    """
    program = os.path.basename(command[0])
    messages = pathlib.Path(folder, 'messages')
    with open(messages, 'wb') as handle:  # not a pipe: a process left behind could keep it open
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise MemeSuiteError(f'{command[0]}: cannot be run ({error.strerror or error})') from error
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise MemeSuiteError(f'{program}: was not done after {timeout:g} s') from None
        finally:
            if process.returncode is None:  # timeout, or interrupted
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status:
        with open(messages, 'rb') as handle:  # only the end, since there may be many
            handle.seek(max(0, messages.stat().st_size - _LAST_WORDS))
            said = handle.read().decode('utf-8', 'replace').split('\n')
        last = next((line.strip() for line in reversed(said) if line.strip()), 'it said nothing')
        how = f'was ended by signal {-status}' if status < 0 else f'ended with status {status}'
        raise MemeSuiteError(f'{program}: {how} ({brief(last)})')
