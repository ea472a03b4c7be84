"""What a model looks at: maps, and the check that they depend on its weights."""
