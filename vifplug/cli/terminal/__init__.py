"""What only a terminal gets: drawn tables, and the progress of long work."""
