"""The privileged side: what touches netlink for writing, OVSDB, sysctls and /dev/net/tun.

Only ``vifplug.linux.host`` imports this package. Verbs are small, take and give primitives, and check every
argument and every ownership again, because the caller may be the one under attack. They import errors
and naming, and nothing else of vifplug. What reads links (``reading``) needs no privilege and runs in the
caller; it lives here because pyroute2 and its constants do.
"""
