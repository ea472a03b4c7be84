"""Face detectors, one file each, behind one interface."""
