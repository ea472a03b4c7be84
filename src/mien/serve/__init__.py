"""The predict flow behind HTTP and WebSocket, and a web page."""
