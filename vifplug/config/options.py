"""The configuration: oslo.config options in vifplug's own ConfigOpts, read once into a value."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oslo_config import cfg

from vifplug import naming
from vifplug.config import locate, validate
from vifplug.config import unknown as unknown_options
from vifplug.errors import ConfigError
from vifplug.model.limits import MTU_MAX, MTU_MIN
from vifplug.resources.ovs_port import QOS_TYPES

PRIVSEP_GROUP = "vifplug_privileged"
WIRED_BY = ("auto", "ovn", "neutron-agent", "neutron-events", "plugged")
_THREADS_MIN = 16

_DEFAULT_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "state_dir", default="/var/lib/vifplug", help="Directory of the store, kept over reboots; an absolute path."
    ),
    cfg.StrOpt("run_dir", default="/run/vifplug", help="Directory of files that do not survive a boot."),
    cfg.IntOpt(
        "mtu",
        default=1500,
        min=MTU_MIN,
        max=MTU_MAX,
        help="MTU in bytes of a VIF whose request has none; less 50 or 70 for an uplink's VXLAN headers.",
    ),
]
_OVS_OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "connection",
        default=["unix:/run/openvswitch/db.sock"],
        help="OVSDB addresses, unix:PATH or tcp:IP:PORT: the first that answers and accepts writes is used, in the "
        "given order. ssl: is refused: there are no options for its certificates.",
    ),
    cfg.StrOpt("integration_bridge", default="br-int", help="The OVS bridge of a VIF whose request has none."),
    cfg.BoolOpt(
        "isolate",
        default=False,
        help="Create OVS ports dead (VLAN 4095) until Neutron's agent wires them. For ML2/OVS; not for OVN, "
        "which does not clear that VLAN.",
    ),
    cfg.BoolOpt(
        "per_port_bridge",
        default=False,
        help="Give each new ovs VIF an OVS bridge of its own, joined to the integration bridge by a patch, so that OVN "
        "wires the port before a guest arrives by live migration. Plugged VIFs stay as they are.",
    ),
    cfg.StrOpt(
        "qos_type",
        default="linux-noop",
        choices=[*QOS_TYPES, ""],
        help="QoS of a new port on a kernel datapath, against the kernel's default qdisc (LP 2017868). Empty: none.",
    ),
    cfg.FloatOpt("timeout", default=10.0, min=0.1, max=300.0, help="Seconds for every wait for OVSDB or vswitchd."),
    cfg.StrOpt(
        "vhostuser_socket_dir",
        default="/var/lib/vhost_sockets",
        help="Directory of the sockets of vhost-user ports, as Neutron's vhostuser_socket_dir; a socket elsewhere is "
        "refused. The privileged helper takes the value at its start.",
    ),
]
_BRIDGE_OPTIONS: list[cfg.Opt] = [
    cfg.DictOpt(
        "physical_networks",
        default={},
        help="Physical networks and the host's devices on them, NETWORK:DEVICE. VIFs may use these devices; "
        "vifplug creates VLAN devices on no others, and puts no others on a network's bridge.",
    ),
    cfg.ListOpt(
        "addressed_devices",
        default=[],
        help="Devices of physical_networks that may be put on a network's bridge although they have addresses or "
        "routes, which then no longer work: vifplug moves none. Any other such device is refused.",
    ),
    cfg.ListOpt(
        "adopted_bridges",
        default=[],
        help="Linux bridges of another program, by name or pattern, whose taps VIFs with join_tap take over: they are "
        "filtered, and set up and down. brq* for a host that Neutron's Linux bridge agent has set up. The bridges are "
        "used unchanged, and never deleted. Empty: none.",
    ),
    cfg.StrOpt(
        "vxlan_local_ip",
        default="",
        help="The host's address for VXLAN; VXLAN devices are made on the device that has it. Empty: an uplink names "
        "its physical network or its own address.",
    ),
    cfg.StrOpt(
        "vxlan_group",
        default="",
        help="Multicast group of VXLAN uplinks that name neither group nor peers: an address, or a range such as "
        "239.1.1.0/24, of which each VXLAN has one by its number. Empty: none.",
    ),
]
_FILTER_OPTIONS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Let guests send only from their own addresses: of VIFs with allowed_addresses, and of Neutron's ports "
        "with port_security_enabled whose port_filter is false. A VIF that cannot be filtered is refused. Plugged "
        "VIFs follow with their next plug or repair.",
    ),
]
_PCI_OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "devices",
        default=[],
        help="PCI devices that VIFs may use, by address or pattern (0000:3b:10.2, 0000:3b:*): virtual functions, or "
        "physical functions with all their virtual functions. vifplug configures only these.",
    ),
]
_DAEMON_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt("socket", default=locate.DEFAULT_SOCKET, help="The daemon's Unix socket."),
    cfg.StrOpt(
        "user",
        default="vifplug",
        help="User of the daemon's worker and owner of state_dir and its files, if that user exists.",
    ),
    cfg.StrOpt("socket_group", default="vifplug", help="Group whose members may connect to the socket, if it exists."),
    cfg.FloatOpt(
        "repair_interval",
        default=60.0,
        min=0.1,
        max=86400.0,
        help="Seconds between periodic comparisons of all VIFs.",
    ),
    cfg.FloatOpt(
        "orphan_grace",
        default=60.0,
        min=0.0,
        max=86400.0,
        help="Seconds before the daemon deletes an orphan.",
    ),
    cfg.IntOpt(
        "contended_after",
        default=5,
        min=1,
        max=1000,
        help="Number of repairs of the same attribute, each undone by another program, after which a VIF is contended "
        "and repaired with growing delays.",
    ),
    *(
        cfg.ListOpt(f"{level}_{kind}", default=default, help=f"{kind.capitalize()}, by name or number, {allowed}.")
        for level, allowed, users in (
            ("admin", "that may do everything", ["root"]),
            (
                "operator",
                "that may plug VIFs, and unplug and repair those they plugged; "
                "if no operator is configured, the members of socket_group",
                [],
            ),
            ("reader", "that may read everything, besides the members of socket_group", []),
        )
        for kind, default in (("users", users), ("groups", []))
    ),
    cfg.ListOpt(
        "operator_bridges",
        default=[],
        help="Bridges of the host, Open vSwitch's or Linux's, by name or pattern (br-provider*), that operators may "
        "use for VIFs, besides the integration bridge, trunks' bridges (tbr-*) and network bridges that vifplug made. "
        "Administrators may use every bridge.",
    ),
]
_EVENTS_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "wired_by",
        default="auto",
        choices=WIRED_BY,
        help="Which source decides that a VIF is wired. ovn: OVN's ovn-installed. neutron-agent: tag and other_config "
        "of Neutron's OVS agent. neutron-events: the network-vif-plugged events that Neutron sends to 'listen'. "
        "plugged: every plugged VIF is wired. auto: ovn if Open_vSwitch has an ovn-remote, neutron-agent if the agent "
        "runs br-int or isolate is on, else neutron-events if 'listen' is set, else plugged.",
    ),
    cfg.StrOpt(
        "notify_url",
        default="",
        help="URL to which Nova's external events are sent when VIFs are wired, for instance "
        "http://127.0.0.1:8774/v2.1/os-server-external-events. Empty: none are sent.",
    ),
    cfg.StrOpt("notify_token", default="", secret=True, help="Sent to notify_url as X-Auth-Token. Empty: none."),
    cfg.FloatOpt(
        "notify_interval",
        default=2.0,
        min=0.1,
        max=3600.0,
        help="Seconds between two messages to notify_url; events in between are sent together.",
    ),
    cfg.StrOpt(
        "listen",
        default="",
        help="TCP address to receive Nova's external events from Neutron, ADDRESS:PORT, or PORT for 127.0.0.1 only. "
        "Empty: do not listen.",
    ),
    cfg.StrOpt(
        "listen_token", default="", secret=True, help="X-Auth-Token that senders to 'listen' must send; required there."
    ),
]
_PRIVSEP_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt("user", help="User of the privileged helper; by default the user that starts it."),
    cfg.StrOpt("group", help="Group of the privileged helper; by default the group that starts it."),
    cfg.StrOpt(
        "helper_command",
        help="Command that starts the helper when vifplug does not run as root; by default "
        "'sudo vifplug-privsep-helper'.",
    ),
    cfg.ListOpt("capabilities", default=["CAP_NET_ADMIN"], help="Linux capabilities that the helper keeps, by name."),
    cfg.IntOpt(
        "thread_pool_size",
        default=_THREADS_MIN,
        min=_THREADS_MIN,
        help="Maximum of concurrent calls that the helper serves.",
    ),
]
_GROUPS: Mapping[str, list[cfg.Opt]] = {
    "DEFAULT": _DEFAULT_OPTIONS,
    "ovs": _OVS_OPTIONS,
    "bridge": _BRIDGE_OPTIONS,
    "filter": _FILTER_OPTIONS,
    "pci": _PCI_OPTIONS,
    "daemon": _DAEMON_OPTIONS,
    "events": _EVENTS_OPTIONS,
    PRIVSEP_GROUP: _PRIVSEP_OPTIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration as a value."""

    config_file: str | None = None
    """The file it was read from, if any."""
    state_dir: str = "/var/lib/vifplug"
    run_dir: str = "/run/vifplug"
    mtu: int = 1500
    connection: tuple[str, ...] = ("unix:/run/openvswitch/db.sock",)
    integration_bridge: str = "br-int"
    isolate: bool = False
    per_port_bridge: bool = False
    qos_type: str = "linux-noop"
    timeout: float = 10.0
    """Seconds."""
    vhostuser_socket_dir: str = "/var/lib/vhost_sockets"
    socket: str = locate.DEFAULT_SOCKET
    user: str = "vifplug"
    socket_group: str = "vifplug"
    repair_interval: float = 60.0
    """Seconds."""
    orphan_grace: float = 60.0
    """Seconds."""
    contended_after: int = 5
    admin_users: tuple[str, ...] = ("root",)
    admin_groups: tuple[str, ...] = ()
    operator_users: tuple[str, ...] = ()
    operator_groups: tuple[str, ...] = ()
    reader_users: tuple[str, ...] = ()
    reader_groups: tuple[str, ...] = ()
    operator_bridges: tuple[str, ...] = ()
    physical_networks: Mapping[str, str] = field(default_factory=dict)
    """Devices by physical network."""
    addressed_devices: tuple[str, ...] = ()
    vxlan_local_ip: str = ""
    vxlan_group: str = ""
    """An address, or a network of addresses."""
    filter_enabled: bool = False
    configurable: tuple[str, ...] = ()
    """Other programs' devices that VIFs may use, names or globs: those of the physical networks, PCI addresses, and the
    address for VXLAN. The helper takes no others."""
    wired_by: str = "auto"
    notify_url: str = ""
    notify_token: str = ""
    notify_interval: float = 2.0
    """Seconds."""
    listen: tuple[str, int] | None = None
    """An IP address and a TCP port."""
    listen_token: str = ""
    unknown: tuple[str, ...] = ()
    """Unknown sections and options of the file, a sentence each."""
    privileged: Mapping[str, Any] = field(default_factory=dict)
    """The [vifplug_privileged] options, for privsep."""


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options by group, for oslo-config-generator."""
    return list(_GROUPS.items())


_QUOTED_LINE = re.compile(r": ['\"].*$")
"""At the end of oslo.config's error for a line that it cannot parse."""
_USER_OF_URL = re.compile(r"://[^/@\s']*@")


def _reason(error: Exception) -> str:
    """An error of the configuration on one line, without values that may be secret: a line that cannot be parsed may
    be that of a token, and a URL may have a password."""
    if isinstance(error, cfg.NoSuchOptError):
        # Every option is registered, so the name is from a value; oslo.config quotes it.
        return "a value has a '$' before a word that is no option's name; write '$$' for the character itself"
    reason = " ".join(str(error).split())
    if isinstance(error, cfg.ConfigFileParseError):
        reason = _QUOTED_LINE.sub("", reason)
    return _USER_OF_URL.sub("://***@", reason)


def load(config_file: str | None = None) -> Settings:
    """Read the configuration.

    :param config_file: a path; by default VIFPLUG_CONFIG_FILE, else /etc/vifplug/vifplug.conf if it exists.
    :raises ConfigError: for a file that cannot be read, or a value that is out of bounds.
    """
    path = locate.config_file(config_file)
    conf = cfg.ConfigOpts()
    for group, options in _GROUPS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    try:
        conf(args=[], project="vifplug", default_config_files=[path] if path else [], default_config_dirs=[])
        settings = _settings(conf, path)
    except cfg.ConfigFilesNotFoundError as error:
        raise ConfigError(f"cannot read configuration file {path!r}: it does not exist", str(path)) from error
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise ConfigError(f"cannot read configuration file {path!r}: permission denied", str(path)) from error
    except (cfg.Error, ValueError, OSError) as error:
        raise ConfigError(f"configuration file {path!r} is wrong: {_reason(error)}", str(path)) from error
    unknown = unknown_options.find(path, _GROUPS, PRIVSEP_GROUP) if path else ()
    return replace(settings, unknown=unknown)


def _value(group: Any, option: cfg.Opt) -> Any:
    value = getattr(group, option.dest)
    return tuple(value) if isinstance(option, cfg.ListOpt) else value


def _settings(conf: cfg.ConfigOpts, path: str | None) -> Settings:
    validate.check_absolute("[DEFAULT] state_dir", conf.state_dir)
    validate.check_ovs(conf.ovs.integration_bridge, conf.ovs.connection)
    validate.check_socket_directory("[ovs] vhostuser_socket_dir", conf.ovs.vhostuser_socket_dir)
    networks = validate.physical_networks(conf.bridge.physical_networks)
    local_ip = validate.local_ip("[bridge] vxlan_local_ip", conf.bridge.vxlan_local_ip)
    group = conf[PRIVSEP_GROUP]
    validate.check_helper(group.capabilities, group.helper_command)
    return Settings(
        config_file=path,
        state_dir=conf.state_dir,
        run_dir=conf.run_dir,
        mtu=conf.mtu,
        connection=tuple(conf.ovs.connection),
        integration_bridge=conf.ovs.integration_bridge,
        isolate=conf.ovs.isolate,
        per_port_bridge=conf.ovs.per_port_bridge,
        qos_type=conf.ovs.qos_type,
        timeout=conf.ovs.timeout,
        vhostuser_socket_dir=conf.ovs.vhostuser_socket_dir.rstrip("/"),
        physical_networks=networks,
        filter_enabled=conf.filter.enabled,
        addressed_devices=validate.addressed_devices(conf.bridge.addressed_devices, networks),
        vxlan_local_ip=local_ip,
        vxlan_group=validate.multicast_groups("[bridge] vxlan_group", conf.bridge.vxlan_group),
        configurable=(
            *map(glob.escape, networks.values()),
            *validate.pci_devices(conf.pci.devices),
            *([naming.listed_address(local_ip)] if local_ip else []),
            *map(naming.listed_bridge, conf.bridge.adopted_bridges),
        ),
        **{option.dest: _value(conf.daemon, option) for option in _DAEMON_OPTIONS},
        **{option.dest: _value(conf.events, option) for option in _EVENTS_OPTIONS} | validate.events(conf.events),
        privileged={option.dest: getattr(group, option.dest) for option in _PRIVSEP_OPTIONS},
    )
