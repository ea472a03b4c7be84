"""A table of predictions to metrics with intervals. Read evaluate.py first."""
