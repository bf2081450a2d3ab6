"""What `vifplug setup-host` does: the facts of a host, the steps that it lacks, and the code that carries them out."""
