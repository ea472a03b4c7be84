"""Run folders: what a training leaves behind, and how to use it again."""
