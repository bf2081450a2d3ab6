"""What a reader of reports asks for."""
