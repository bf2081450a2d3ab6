"""The contents of state_dir."""
