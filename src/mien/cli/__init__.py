"""The command line: one file per command, thin; heavy imports stay inside the commands."""
