"""Engines: what runs the workers; see `mien.scale.registry`."""
