"""What went wrong in a training, by name, with evidence and a remedy: see run_diagnostics.py."""
