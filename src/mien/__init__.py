"""mien: facial expressions, read and learned."""

__version__ = "0.1.0"
