"""Kills, full disks, damaged files, mutants and coverage: `python -m tests.robustness` measures them all."""
