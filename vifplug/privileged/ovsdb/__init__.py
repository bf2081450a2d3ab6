"""Rows of Open vSwitch's database read and written."""
