"""The library's face: hosts in this process and behind the daemon."""
