"""The privileged side: writes to netlink, OVSDB, sysctls and /dev/net/tun.

Only ``vifplug.linux.host`` imports this package. Verbs are small, take and return primitives, and check every argument
and every ownership again, because the caller may be compromised. They import only errors, naming, ``resources``,
``netlink`` and ``process`` of vifplug.
"""
