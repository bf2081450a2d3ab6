"""Creates, sets and deletes links."""
