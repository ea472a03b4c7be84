"""Find problems in labelled images, image by image. Read audit.py first."""
