"""The configuration: oslo.config options in a ConfigOpts of our own, read once and passed on as a value."""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

from vifplug import naming, whereabouts
from vifplug.errors import ConfigError
from vifplug.limits import MTU_MAX, MTU_MIN

QOS_TYPES = ("linux-noop", "linux-htb", "linux-hfsc", "linux-sfq", "linux-codel", "linux-fq_codel")
PRIVSEP_GROUP = "vifplug_privileged"
WIRED_BY = ("auto", "ovn", "neutron-agent", "neutron-events", "plugged")
_LOOPBACK = "127.0.0.1"
_THREADS_MIN = 16

_DEFAULT_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt("state_dir", default="/var/lib/vifplug", help="Where records and intents are kept, over reboots."),
    cfg.StrOpt("run_dir", default="/run/vifplug", help="Where what ends with the boot is kept."),
    cfg.IntOpt("mtu", default=1500, min=MTU_MIN, max=MTU_MAX, help="MTU in bytes of a VIF whose request says none."),
]
_OVS_OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "connection",
        default=["unix:/run/openvswitch/db.sock"],
        help="OVSDB addresses, tried in turn: unix:PATH, tcp:IP:PORT or ssl:IP:PORT.",
    ),
    cfg.StrOpt("integration_bridge", default="br-int", help="The OVS bridge of a VIF whose request names none."),
    cfg.BoolOpt(
        "isolate",
        default=False,
        help="Create OVS ports dead (VLAN 4095) until Neutron's agent wires them. For ML2/OVS; not for OVN, "
        "which does not clear it.",
    ),
    cfg.StrOpt(
        "qos_type",
        default="linux-noop",
        choices=[*QOS_TYPES, ""],
        help="QoS of a new port on a kernel datapath, against the kernel's default qdisc (LP 2017868). Empty: none.",
    ),
    cfg.FloatOpt("timeout", default=10.0, min=0.1, max=300.0, help="Seconds, for every OVSDB wait."),
]
_DAEMON_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt("socket", default=whereabouts.DEFAULT_SOCKET, help="Where the daemon listens."),
    cfg.StrOpt(
        "user",
        default="vifplug",
        help="Who the daemon becomes, and whom state_dir and its files belong to, when that user exists.",
    ),
    cfg.StrOpt(
        "socket_group", default="vifplug", help="Members of this group, when it exists, may connect to the socket."
    ),
    cfg.FloatOpt(
        "repair_interval",
        default=60.0,
        min=0.1,
        max=86400.0,
        help="Seconds between comparisons of everything, when nothing calls for one earlier.",
    ),
    cfg.FloatOpt(
        "orphan_grace",
        default=60.0,
        min=0.0,
        max=86400.0,
        help="Seconds an orphan is left alone before the daemon deletes it.",
    ),
    cfg.IntOpt(
        "contended_after",
        default=5,
        min=1,
        max=1000,
        help="Repairs of the same thing, each undone by somebody else, after which a VIF is contended and left to "
        "repairs that come ever more rarely.",
    ),
    *(
        cfg.ListOpt(f"{level}_{kind}", default=default, help=f"{kind.capitalize()}, by name or number, {what}.")
        for level, what, users in (
            ("admin", "that may do everything", ["root"]),
            (
                "operator",
                "that may plug VIFs, and unplug and repair those they plugged; "
                "where no operator is named, the members of socket_group",
                [],
            ),
            ("reader", "that may look at everything, besides the members of socket_group", []),
        )
        for kind, default in (("users", users), ("groups", []))
    ),
]
_EVENTS_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "wired_by",
        default="auto",
        choices=WIRED_BY,
        help="Whose word makes a VIF wired: OVN's ovn-installed; the tag and other_config of Neutron's OVS agent; "
        "the network-vif-plugged events that Neutron sends to 'listen'; or nobody's, plugged is wired then. auto: "
        "OVN where Open_vSwitch has an ovn-remote, the agent where it runs br-int or isolate is on, else the events "
        "where there is a 'listen', else nobody's.",
    ),
    cfg.StrOpt(
        "notify_url",
        default="",
        help="Where to tell which VIFs are wired, in the form of Nova's external events, for instance "
        "http://127.0.0.1:8774/v2.1/os-server-external-events. Empty: nowhere.",
    ),
    cfg.StrOpt("notify_token", default="", secret=True, help="Sent to notify_url as X-Auth-Token. Empty: none."),
    cfg.FloatOpt(
        "notify_interval",
        default=2.0,
        min=0.1,
        max=3600.0,
        help="Seconds between two messages to notify_url; what comes meanwhile goes together.",
    ),
    cfg.StrOpt(
        "listen",
        default="",
        help="Where to listen for Nova's external events over TCP, ADDRESS:PORT or PORT (then on 127.0.0.1 alone), so "
        "that Neutron tells this host what it tells Nova. Empty: not at all.",
    ),
    cfg.StrOpt(
        "listen_token", default="", secret=True, help="What a sender to 'listen' has to give as X-Auth-Token; required."
    ),
]
_PRIVSEP_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt("user", help="User the privileged helper runs as; by default the one it was started as."),
    cfg.StrOpt("group", help="Group the privileged helper runs as; by default the one it was started as."),
    cfg.StrOpt(
        "helper_command",
        help="Command that starts the helper when vifplug does not run as root; by default "
        "'sudo vifplug-privsep-helper'.",
    ),
    cfg.ListOpt("capabilities", default=["CAP_NET_ADMIN"], help="Linux capabilities the helper keeps."),
    cfg.IntOpt("thread_pool_size", default=_THREADS_MIN, min=_THREADS_MIN, help="Calls the helper serves at once."),
]
_GROUPS: Mapping[str, list[cfg.Opt]] = {
    "DEFAULT": _DEFAULT_OPTIONS,
    "ovs": _OVS_OPTIONS,
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
    qos_type: str = "linux-noop"
    timeout: float = 10.0
    """Seconds."""
    socket: str = whereabouts.DEFAULT_SOCKET
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
    wired_by: str = "auto"
    notify_url: str = ""
    notify_token: str = ""
    notify_interval: float = 2.0
    """Seconds."""
    listen: tuple[str, int] | None = None
    """An IP address and a TCP port."""
    listen_token: str = ""
    privileged: Mapping[str, Any] = field(default_factory=dict)
    """The [vifplug_privileged] options, for privsep."""


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options by group, for oslo-config-generator."""
    return list(_GROUPS.items())


def load(config_file: str | None = None) -> Settings:
    """Read the configuration.

    :param config_file: a path; by default the one in VIFPLUG_CONFIG_FILE, else /etc/vifplug/vifplug.conf if it exists.
    :raises ConfigError: for a file that cannot be read, or a value that is out of bounds.
    """
    path = whereabouts.config_file(config_file)
    conf = cfg.ConfigOpts()
    for group, options in _GROUPS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    try:
        conf(args=[], project="vifplug", default_config_files=[path] if path else [], default_config_dirs=[])
        return _settings(conf, path)
    except cfg.ConfigFilesNotFoundError as error:
        raise ConfigError(f"cannot read configuration file {path!r}: it does not exist", str(path)) from error
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise ConfigError(f"cannot read configuration file {path!r}: permission denied", str(path)) from error
    except (cfg.Error, ValueError, OSError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"configuration file {path!r} is wrong: {said}", str(path)) from error


def _value(group: Any, option: cfg.Opt) -> Any:
    value = getattr(group, option.dest)
    return tuple(value) if isinstance(option, cfg.ListOpt) else value


def _settings(conf: cfg.ConfigOpts, path: str | None) -> Settings:
    bridge = conf.ovs.integration_bridge
    if not naming.is_link_name(bridge):
        raise ValueError(f"[ovs] integration_bridge {bridge!r} is no device name of at most 15 characters")
    if not conf.ovs.connection:
        raise ValueError("[ovs] connection is empty; it must hold an address such as unix:/run/openvswitch/db.sock")
    for address in conf.ovs.connection:
        if address.partition(":")[0] not in ("unix", "tcp", "ssl"):
            raise ValueError(f"[ovs] connection {address!r} must start with unix:, tcp: or ssl:")
    group = conf[PRIVSEP_GROUP]
    return Settings(
        config_file=path,
        state_dir=conf.state_dir,
        run_dir=conf.run_dir,
        mtu=conf.mtu,
        connection=tuple(conf.ovs.connection),
        integration_bridge=bridge,
        isolate=conf.ovs.isolate,
        qos_type=conf.ovs.qos_type,
        timeout=conf.ovs.timeout,
        **{option.dest: _value(conf.daemon, option) for option in _DAEMON_OPTIONS},
        **{option.dest: _value(conf.events, option) for option in _EVENTS_OPTIONS} | _events(conf.events),
        privileged={option.dest: getattr(group, option.dest) for option in _PRIVSEP_OPTIONS},
    )


def _events(group: Any) -> dict[str, Any]:
    """What of [events] has a form of its own.

    :raises ValueError: naming the option, its value and what would be right.
    """
    if group.notify_url and not _is_http(group.notify_url):
        raise ValueError(f"[events] notify_url {group.notify_url!r} is no URL such as http://HOST:PORT/PATH")
    for name in ("notify_token", "listen_token"):
        if not all("!" <= character <= "~" for character in getattr(group, name)):
            raise ValueError(f"[events] {name} holds what no HTTP header can; it must be of visible ASCII characters")
    if not group.listen:
        return {"listen": None}
    if not group.listen_token:
        raise ValueError("[events] listen needs a listen_token, which every sender has to give")
    host, _, port = group.listen.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]") or _LOOPBACK)
        if not 0 < int(port) < 65536:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"[events] listen {group.listen!r} is no IP address and port such as {_LOOPBACK}:8775, and no port alone"
        ) from error
    return {"listen": (str(address), int(port))}


def _is_http(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:  # for a port that is none
        return False
