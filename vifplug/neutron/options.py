"""The options of the mechanism driver, which neutron-server reads, and of the agent: one group, [vifplug]."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

GROUP = "vifplug"
TAP, BRIDGE = "tap", "bridge"

DRIVER_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "vif_type",
        default=TAP,
        choices=[TAP, BRIDGE],
        help="neutron-server: the binding:vif_type of bound ports. tap: the compute service makes the tap, as Nova "
        "does by itself, and the agent puts it on the network's bridge. bridge: the compute service plugs through "
        "vifplug itself; Nova has no VIFs of this type.",
    ),
]
AGENT_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "socket",
        default="/run/vifplug/vifplug.sock",
        help="Agent: the socket of vifplugd, [daemon] socket of its configuration.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=60.0,
        min=1.0,
        help="Agent: seconds for which an answer of vifplugd is waited for.",
    ),
    cfg.BoolOpt(
        "l2_population",
        default=False,
        help="Agent: whether VXLAN networks are joined by unicast to the hosts that neutron-server's mechanism driver "
        "l2population names, which must be loaded. By default by multicast, to vifplugd's [bridge] vxlan_group.",
    ),
    cfg.FloatOpt(
        "polling_interval",
        default=30.0,
        min=1.0,
        help="Agent: seconds between two comparisons of all taps and VIFs. The kernel's events are acted upon at once.",
    ),
    cfg.BoolOpt(
        "prevent_spoofing",
        default=True,
        help="Agent: whether ports with port security may send only from their own addresses and their "
        "allowed_address_pairs. It needs [filter] enabled = true in vifplugd's configuration.",
    ),
]


def register(conf: cfg.ConfigOpts, options: list[cfg.Opt]) -> Any:
    """The group, with these options registered."""
    conf.register_opts(options, group=GROUP)
    return conf[GROUP]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options by group, for oslo-config-generator."""
    return [(GROUP, [*DRIVER_OPTIONS, *AGENT_OPTIONS])]
