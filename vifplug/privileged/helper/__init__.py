"""The helper as a process: its start, its channel, its end."""
