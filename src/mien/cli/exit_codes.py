"""The exit codes of every command."""

FAILURE = 1
"""Something could not be done, or some input could not be read."""
USAGE = 2
"""The command line, a recipe or a setting is wrong."""
FACELESS = 3
"""All was read, and some image or video shows no face."""
INTERRUPTED = 130
"""Ctrl-C."""
