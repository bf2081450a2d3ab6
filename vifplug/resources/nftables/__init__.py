"""Kinds of rules of nftables."""
