"""A plan is carried out, read back, and undone when it fails."""
