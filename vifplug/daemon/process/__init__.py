"""The daemon's processes: the parent, and the worker that serves."""
