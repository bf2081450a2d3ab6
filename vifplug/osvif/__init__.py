"""vifplug as a plugin of os-vif: what a process that calls ``os_vif.plug`` (Nova's compute service) plugs with.

Needs the extra ``vifplug[os-vif]``. Nothing else of vifplug imports this package, and nothing here is imported but by
``os_vif.initialize()``, by the entry points ``vifplug`` and ``linux_bridge`` of its namespace. docs/os-vif.md tells
operators about it, docs/decisions/0009 how the plugin named ``ovs``, which is os-vif's own, comes to be vifplug's.
"""
