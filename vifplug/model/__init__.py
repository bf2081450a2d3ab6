"""Values for input and output; no I/O."""
