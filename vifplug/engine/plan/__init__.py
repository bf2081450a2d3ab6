"""Decisions: compares desired and observed state and plans the changes. Pure."""
