"""Training many models in one compiled program."""
