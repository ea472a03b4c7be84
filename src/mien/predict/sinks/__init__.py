"""Sinks of image readings: JSON, CSV, annotated images."""
