"""Logs of other programs' trainings: read diagnose.py first."""
