"""What the operator says of it, in the configuration of the process that calls os-vif: nova.conf's [os_vif_vifplug]."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

GROUP = "os_vif_vifplug"
"""os-vif names the group of a plugin's options itself, by the plugin's name."""
AUTO, DAEMON, LOCAL = "auto", "daemon", "local"

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
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The options as a value."""

    take_ovs: bool = False
    via: str = AUTO
    config_file: str | None = None


def current() -> Choice:
    """What is configured now.

    It is read for each call and not when os-vif loads its plugins: some processes do that before they read their files.
    """
    cfg.CONF.register_opts(OPTIONS, group=GROUP)
    group = cfg.CONF[GROUP]
    return Choice(take_ovs=group.take_ovs, via=group.via, config_file=group.config_file)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options by group, for oslo-config-generator."""
    return [(GROUP, OPTIONS)]
