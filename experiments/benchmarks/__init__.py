"""The suites of `experiments.benchmark`, and what they share."""
