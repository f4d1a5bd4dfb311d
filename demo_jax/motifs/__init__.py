"""Motifs: extracting them, reading and writing them, matching them against JASPAR."""
