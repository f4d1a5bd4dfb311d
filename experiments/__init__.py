"""Commands. Each is `python -m experiments.NAME`; `--help` lists its flags."""
