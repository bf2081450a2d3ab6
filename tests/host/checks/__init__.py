"""Checks that run in the booted machine, a batch a module; each prints a line. Run by tests/host/__main__.py."""
