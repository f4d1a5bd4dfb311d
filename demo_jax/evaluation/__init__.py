"""Measures of performance, and the comparisons of the paper's Tables 2 and 3."""
