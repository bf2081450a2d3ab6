"""Plans of rules of nftables."""
