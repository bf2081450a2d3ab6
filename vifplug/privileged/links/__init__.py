"""Links made, set and deleted."""
