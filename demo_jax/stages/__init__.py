"""The stages of the main command, each a function of a run directory that skips what is complete (edge)."""
