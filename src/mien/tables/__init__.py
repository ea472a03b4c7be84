"""Tables of rows: read what `mien video` wrote, and write it for other software."""
