"""Sequences: tokens and shuffles, the corpus, readers of files, and simulation."""
