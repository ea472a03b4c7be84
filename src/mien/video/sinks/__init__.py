"""Where the readings of a video go: rows, annotated copies, timelines, reports."""
