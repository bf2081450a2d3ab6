"""Netlink without privileges: sockets, messages, links read and watched."""
