"""The real host, reached through the privileged helper."""
