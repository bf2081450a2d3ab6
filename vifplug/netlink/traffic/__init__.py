"""What links have carried, and what their tables hold of stations. Reading needs no privilege."""
