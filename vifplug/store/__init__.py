"""All that state_dir holds."""
