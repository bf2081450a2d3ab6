"""Netlink without privileges: sockets, messages, reading and watching links."""
