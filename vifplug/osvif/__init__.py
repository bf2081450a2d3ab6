"""vifplug as an os-vif plugin, for processes that call ``os_vif.plug``, such as Nova's compute service.

Needs the extra ``vifplug[os-vif]``. Nothing else of vifplug imports this package; only ``os_vif.initialize()`` loads
it, by the entry points ``vifplug`` and ``linux_bridge`` of its namespace. docs/how-to/os-vif.md is for operators;
docs/decisions/0009 explains how vifplug replaces os-vif's own plugin ``ovs``.
"""
