"""The predict flow behind HTTP and WebSocket; the only home of FastAPI."""
