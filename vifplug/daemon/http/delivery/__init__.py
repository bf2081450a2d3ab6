"""How a complete answer is delivered: without its body, as not modified, or compressed; and a list in pages."""
