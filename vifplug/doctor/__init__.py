"""Finds problems of a host, their reasons and remedies: gathers facts, and evaluates them by pure functions."""
