"""Readers of labelled images, one file per kind of format; registry.py lists them."""
