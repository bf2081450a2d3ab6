"""The library's interface: hosts in this process and behind the daemon."""
