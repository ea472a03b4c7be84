"""The doctor for any PyTorch training: read watch.py first."""
