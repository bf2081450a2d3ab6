"""Decisions and their execution, against the ``Host`` protocol only: observe, plan, apply, verify."""
