"""Recipes: TOML files to typed settings."""
