"""The same face followed over time: read `follow.py` first."""
