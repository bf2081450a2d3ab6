"""System calls of a process: descriptors, signals, users, namespaces."""
