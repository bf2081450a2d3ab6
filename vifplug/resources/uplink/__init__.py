"""Kinds that join a network's Linux bridge to networks outside the host; ``resources.vlan`` is another one."""
