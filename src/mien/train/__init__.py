"""Dataset to trained network to model file; the only home of torch. Read fit.py first."""
