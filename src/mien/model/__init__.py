"""What a model is: its description, where it is found, and how it runs. No torch."""
