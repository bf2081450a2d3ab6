"""Decisions: what is to be done about what is there. Pure."""
