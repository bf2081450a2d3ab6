"""Compares recorded VIFs with the host again and again, and repairs them."""
