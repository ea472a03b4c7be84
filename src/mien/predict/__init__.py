"""Images to faces to expressions. Read pipeline.py first."""
