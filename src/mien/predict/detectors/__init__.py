"""Face detectors, one file each, behind one interface."""

DEFAULT = "yunet"
"""Name of the default detector: of the command line, `Reader`, the server and private mode."""
# It is here and not in the registry, so that the command line can show it without ONNX Runtime.
