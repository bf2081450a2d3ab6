"""The plugin's options, in the configuration of the process that calls os-vif: nova.conf's [os_vif_vifplug]."""

from __future__ import annotations

from dataclasses import dataclass, fields

from oslo_config import cfg

GROUP = "os_vif_vifplug"
"""os-vif derives this group's name from the plugin's name."""
AUTO, DAEMON, LOCAL = "auto", "daemon", "local"
ERROR, WARN = "error", "warn"
RETRY_TIMEOUT_SECONDS = 30
"""Below Nova's own timeouts: 60 s for a remote call (rpc_response_timeout), 300 s for vif_plugging_timeout."""

OPTIONS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "take_ovs",
        default=False,
        help="Whether vifplug plugs VIFs for os-vif's plugin named ovs, which all of Nova's VIFs use. Unsupported VIFs "
        "are passed to os-vif's own plugin.",
    ),
    cfg.StrOpt(
        "via",
        default=AUTO,
        choices=[AUTO, DAEMON, LOCAL],
        help="daemon: use vifplugd. local: use a privileged helper of this process. auto: vifplugd if its socket "
        "answers, else local.",
    ),
    cfg.StrOpt(
        "config_file",
        help="vifplug's configuration, which has the daemon's socket; by default the environment's "
        "VIFPLUG_CONFIG_FILE, else /etc/vifplug/vifplug.conf if it exists.",
    ),
    cfg.IntOpt(
        "retry_timeout",
        default=RETRY_TIMEOUT_SECONDS,
        min=0,
        max=3600,
        help="Seconds for which a plug or an unplug is retried while its error is retryable (vifplugd is away or was "
        "killed, Open vSwitch does not answer), or the OVS bridge is missing; 0 tries once. Keep it below Nova's "
        "rpc_response_timeout.",
    ),
    cfg.StrOpt(
        "missing_bridge",
        default=ERROR,
        choices=[ERROR, WARN],
        help="Result of plugging a recorded VIF while its OVS bridge is missing. error: it fails "
        "after retry_timeout, and a starting nova-compute exits. warn: it succeeds at once with a warning, and "
        "vifplugd repairs the VIF once the bridge exists.",
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
    """The present options.

    They are read for each call, not when os-vif loads its plugins, because some processes do that before they read
    their configuration files.
    """
    cfg.CONF.register_opts(OPTIONS, group=GROUP)
    group = cfg.CONF[GROUP]
    return Choice(**{field.name: group[field.name] for field in fields(Choice)})


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options by group, for oslo-config-generator."""
    return [(GROUP, OPTIONS)]
