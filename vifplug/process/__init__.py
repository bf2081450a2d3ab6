"""What a process asks of its kernel."""
