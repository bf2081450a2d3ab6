"""Neutron's networks on Linux bridges: an ML2 mechanism driver for neutron-server, and an agent for each host, which
plugs through vifplugd. It needs an environment with Neutron (``vifplug[neutron]``); nothing else of vifplug imports it.

``binding``, ``host_setup``, ``port_request``, ``vxlan_hosts``, ``plugging`` and ``taps`` decide or ask vifplugd, and
import no Neutron. ``mechanism_driver``, ``bridges``, ``callbacks``, ``loop``, ``agent`` and ``interface_driver`` join
them to Neutron's classes.
"""
