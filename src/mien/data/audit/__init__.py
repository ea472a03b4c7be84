"""What is wrong with a labelled collection, picture by picture."""
