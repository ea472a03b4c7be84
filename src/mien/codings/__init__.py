"""Codings: labelled segments of time, by people or by mien, from ELAN, Praat and tables."""
