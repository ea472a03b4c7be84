"""A doctor for training runs: findings with evidence and remedies: see run_diagnostics.py."""
