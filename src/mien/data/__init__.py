"""Labelled images to one leak-free, compact dataset. Read prepare.py first."""
