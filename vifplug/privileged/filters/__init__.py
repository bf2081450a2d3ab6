"""Filters of guests' frames: rules of nftables in tables of vifplug's."""
