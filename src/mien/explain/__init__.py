"""What a model looks at: saliency maps, and the check that they depend on its weights."""
