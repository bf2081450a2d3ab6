"""The commands on VIFs, one module each."""
