"""The training loop. Read fit.py first."""
