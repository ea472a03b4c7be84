"""The same person over gaps, cuts and files: read `file.People` first."""
