"""The options, read once."""
