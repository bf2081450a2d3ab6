"""What describes the command line: examples, manual pages, completion. Made from the parser itself."""
