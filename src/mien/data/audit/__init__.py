"""What is wrong with a labelled collection, image by image."""
