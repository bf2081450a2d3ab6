"""Reads and writes rows of Open vSwitch's database."""
