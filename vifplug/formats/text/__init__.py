"""Text of documents -> plain values: JSON and YAML."""
