"""Frames to tracks to smoothed, timestamped rows. Read session.py first."""
