"""Labelled collections to one leak-free, compact dataset. Read prepare.py first."""
