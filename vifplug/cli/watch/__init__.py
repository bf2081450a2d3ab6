"""Watching a host as things happen: on a terminal (top), in a browser (web)."""
