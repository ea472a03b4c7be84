"""Where readings go: JSON, CSV, annotated pictures."""
