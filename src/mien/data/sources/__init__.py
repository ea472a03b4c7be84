"""Readers of labelled collections, one file per form."""
