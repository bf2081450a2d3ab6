"""Filters of guests' frames, on a real kernel."""
