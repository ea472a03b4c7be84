"""The exit codes of every command."""

FAILURE = 1
"""The command failed, or some input could not be read."""
USAGE = 2
"""The command line, a recipe or a setting is wrong; also logs that mien doctor cannot read."""
FACELESS = 3
"""Every input was read, and at least one image or video shows no face."""
INTERRUPTED = 130
"""Ctrl-C."""
