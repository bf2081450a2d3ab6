"""What can be done with VIFs, one module for each command."""
