"""Recorded VIFs are compared with the host again and again, and put right."""
