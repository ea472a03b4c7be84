"""The viewer of results: a video beside its timeline, people, events, corrections."""
