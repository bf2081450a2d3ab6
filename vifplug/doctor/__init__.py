"""What is wrong with a host, why, and what to do: facts gathered thinly, and judged by pure functions."""
