"""What the operator says of it, in the configuration of the process that calls os-vif: nova.conf's [os_vif_vifplug]."""

from __future__ import annotations

from dataclasses import dataclass, fields

from oslo_config import cfg

GROUP = "os_vif_vifplug"
"""os-vif names the group of a plugin's options itself, by the plugin's name."""
AUTO, DAEMON, LOCAL = "auto", "daemon", "local"
ERROR, WARN = "error", "warn"
RETRY_TIMEOUT_SECONDS = 30
"""Below Nova's own time-outs: 60 s of a remote call (rpc_response_timeout), 300 s of vif_plugging_timeout."""

OPTIONS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "take_ovs",
        default=False,
        help="Whether vifplug plugs the VIFs that ask for os-vif's plugin named ovs, as all of Nova's do. What it does "
        "not plug goes on to os-vif's own plugin.",
    ),
    cfg.StrOpt(
        "via",
        default=AUTO,
        choices=[AUTO, DAEMON, LOCAL],
        help="Who does it: vifplugd; or this process, through a privileged helper of its own. auto: vifplugd when its "
        "socket answers, else this process.",
    ),
    cfg.StrOpt(
        "config_file",
        help="vifplug's configuration, which names the daemon's socket; by default the one in the environment's "
        "VIFPLUG_CONFIG_FILE, else /etc/vifplug/vifplug.conf if it exists.",
    ),
    cfg.IntOpt(
        "retry_timeout",
        default=RETRY_TIMEOUT_SECONDS,
        min=0,
        max=3600,
        help="Seconds for which a plug or an unplug is repeated while its error says that a retry is safe (vifplugd is "
        "away or was killed in the middle, Open vSwitch does not answer), or the OVS bridge is missing; 0 is to try "
        "once. Keep it below Nova's rpc_response_timeout.",
    ),
    cfg.StrOpt(
        "missing_bridge",
        default=ERROR,
        choices=[ERROR, WARN],
        help="What a plug of a VIF that is recorded already does while its OVS bridge is missing. error: it fails "
        "after retry_timeout, and a nova-compute that starts ends. warn: it succeeds at once with a warning, and "
        "vifplugd repairs the VIF once the bridge is there.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The options as a value."""

    take_ovs: bool = False
    via: str = AUTO
    config_file: str | None = None
    retry_timeout: int = RETRY_TIMEOUT_SECONDS
    missing_bridge: str = ERROR


def current() -> Choice:
    """What is configured now.

    It is read for each call and not when os-vif loads its plugins: some processes do that before they read their files.
    """
    cfg.CONF.register_opts(OPTIONS, group=GROUP)
    group = cfg.CONF[GROUP]
    return Choice(**{field.name: group[field.name] for field in fields(Choice)})


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options by group, for oslo-config-generator."""
    return [(GROUP, OPTIONS)]
