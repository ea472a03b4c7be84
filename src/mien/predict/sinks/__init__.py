"""Where readings go: JSON, CSV, annotated images."""
