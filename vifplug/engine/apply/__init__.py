"""Carries out a plan, reads the host back, and undoes the plan on failure."""
