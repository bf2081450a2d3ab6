"""Gathers facts: from the privileged side, from the store, and from what any user can read. It does not evaluate them.

An error of one part is a fact too and must not affect the others, so all errors are caught.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vifplug import naming, version
from vifplug.config.options import Settings
from vifplug.doctor import checks, network_managers, nftables, records, state_dir
from vifplug.doctor.facts import (
    SYSTEM,
    DeadPort,
    Facts,
    Firewall,
    Helper,
    Link,
    Mirror,
    Ovs,
    Plugged,
    Remote,
    Store,
    Switch,
)
from vifplug.doctor.findings import Diagnosis
from vifplug.doctor.host_info import HostInfo, OvsInfo
from vifplug.doctor.probe import Examined, Probe
from vifplug.doctor.switch import state
from vifplug.drivers.registry import drivers
from vifplug.engine.context import Context
from vifplug.engine.host import Host, Scope
from vifplug.errors import VifplugError
from vifplug.resources.link import Link as Observed

LOG = logging.getLogger(__name__)

ROOT = Path("/")
_PROGRAM = "ovs-vswitchd"
_COUNTED_MAX = 16
"""Bridges whose flows are counted."""


def diagnose(settings: Settings, context: Context, probe: Probe, root: Path = ROOT) -> Diagnosis:
    """Diagnose a host with the helper and the store of a running command or daemon.

    :param root: the directory of /proc, /sys, /etc and /run.
    """
    host = Examined(host=context.host, probe=probe)
    return checks.diagnose(gather(settings, host, context, state_dir.look(settings.state_dir), root=root))


def gather(
    settings: Settings, host: Examined | Helper, context: Context | None, store: Store, *, root: Path = ROOT
) -> Facts:
    """All facts that can be read.

    :param host: or, if no helper could be started, the error of its start.
    :param context: None if the store cannot be used.
    """
    helper = host if isinstance(host, Helper) else _helper(host.probe)
    seen = None if isinstance(host, Helper) or helper.error else host
    ovs = None if seen is None else _ovs(seen.probe, context, root)
    plugged, unseen, incomparable = _plugged(context, seen, ovs)
    links = None
    if seen is not None:
        try:
            links = _links(seen.host, context)
        except Exception as error:
            unseen = unseen or str(error)
    return Facts(
        integration_bridge=settings.integration_bridge,
        vifplug=version.installed(),
        kernel=os.uname().release,
        tun_error=network_managers.tun_error(root),
        connection=settings.connection,
        helper=helper,
        store=store,
        ovs=ovs,
        firewall=None if seen is None else _firewall(seen.probe, root),
        takeovers=network_managers.takeovers(root),
        links=links,
        plugged=plugged,
        **_frames(seen, ovs, plugged),
        unknown_options=settings.unknown,
        unseen=unseen,
        incomparable=incomparable,
    )


def _frames(host: Examined | None, ovs: Ovs | None, plugged: Plugged | None) -> dict[str, Any]:
    """What decides about frames beside the records: rows of Open vSwitch, settings and addresses of the host."""
    if host is None or plugged is None:
        return {}
    bridges = sorted({port.bridge for port in plugged.ports})
    every = sorted({*bridges, *plugged.bridges})
    facts: dict[str, Any] = {}
    try:
        facts["settings"] = host.probe.settings(every)
        held = host.probe.own_addresses()
        facts["routers"] = frozenset(name for name in every if held.get(name))
        if ovs is not None and ovs.switch is not None and ovs.vswitchd is not False:
            facts["switching"] = state.decoded(host.probe.switching([], bridges[:_COUNTED_MAX]))
    except Exception as error:  # the checks of OVSDB and of the helper report it
        LOG.debug("what decides about frames was not read: %s", error)
    return facts


def _helper(probe: Probe) -> Helper:
    try:
        answer = probe.helper()
        read_only = bool(answer.get("sysctls_read_only"))
        return Helper(capabilities=answer["capabilities"], sysctls_read_only=read_only)
    except Exception as error:
        return Helper(error=str(error))


def _ovs(probe: Probe, context: Context | None, root: Path) -> Ovs:
    try:
        remotes = tuple(Remote(**answer) for answer in probe.reach())
    except Exception as error:
        return Ovs(error=str(error))
    if all(remote.error for remote in remotes):
        return Ovs(expected=_is_expected(probe, remotes, context, root), remotes=remotes)
    if all(remote.error or remote.unfit for remote in remotes):
        return Ovs(remotes=remotes)  # what follows would wait for a server that takes writes
    try:
        switch, alive = dict(probe.switch()), probe.vswitchd()
        switch["ovs_version"] = switch["ovs_version"] or alive["version"]
        address = switch.pop("address", "")
        remotes = tuple(replace(remote, used=remote.remote == address) for remote in remotes)
    except Exception as error:
        return Ovs(remotes=remotes, error=str(error))
    return Ovs(remotes=remotes, switch=_switch(switch), vswitchd=alive["answers"], vswitchd_error=alive["error"])


def _is_expected(probe: Probe, remotes: tuple[Remote, ...], context: Context | None, root: Path) -> bool:
    """Whether it is needed: it is installed, its directory exists, or a VIF needs it."""
    directories = [os.path.dirname(remote.remote[5:]) for remote in remotes if remote.remote.startswith("unix:")]
    has_directory = any(os.path.isdir(directory) for directory in directories)
    is_installed = network_managers.has_program(root, _PROGRAM)
    return probe.has_ovs() or has_directory or is_installed or records.needs_ovs(context)


def _switch(answer: Mapping[str, Any]) -> Switch:
    dead = tuple(DeadPort(**port) for port in answer["dead_ports"])
    mirrors = answer.get("mirrors", ())
    mirrors = None if mirrors is None else tuple(Mirror(**mirror) for mirror in mirrors)
    return Switch(**{**answer, "dead_ports": dead, "ports": frozenset(answer["ports"]), "mirrors": mirrors})


def _firewall(probe: Probe, root: Path) -> Firewall:
    seen: dict[str, Any] = {
        "bridged": network_managers.bridged_families(root),
        "firewalld": network_managers.runs_firewalld(root),
    }
    try:
        answer = probe.forwarding()
        chains = None if answer["error"] else nftables.chains(answer["chains"], probe.firewall)
    except Exception as error:
        return Firewall(**seen, error=str(error))
    return Firewall(**seen, chains=chains, legacy=answer["legacy"], error=answer["error"])


def _plugged(context: Context | None, host: Examined | None, ovs: Ovs | None) -> tuple[Plugged | None, str, bool]:
    """The records compared with the host; or why that is not possible, and whether that is an error of its own."""
    if host is None:
        return None, "there is no privileged helper to ask", False
    if context is None:
        return None, "the store cannot be used", False
    if ovs is not None and ovs.expected and ovs.switch is None:
        return None, "OVSDB is not answering", False
    try:
        return records.compared(context), "", False
    except Exception as error:
        # A retryable error only means that the host is not available at this moment.
        return None, str(error), not (isinstance(error, VifplugError) and error.retryable)


def _links(host: Host, context: Context | None) -> list[Link]:
    """Links with names as Nova, Neutron and vifplug give them.

    A new link exists for a moment before it is marked. Its intent is written before the first link is created, and a
    record stays until the last is deleted: so records and intents are read both before and after the links."""
    before = _named(context)
    observed = host.observe(Scope(everything=True, ovs=False))
    known = before | _named(context)
    return [_link(link, known) for link in observed.links.values() if link.name[:3] in naming.ROLES]


def _named(context: Context | None) -> frozenset[str]:
    try:
        return records.names(context) if context else frozenset()
    except Exception as error:  # the store's own check reports it
        LOG.debug("the records cannot be read: %s", error)
        return frozenset()


def _link(link: Observed, known: frozenset[str]) -> Link:
    return Link(
        name=link.name,
        master=link.master,
        is_owned=bool(link.owner) or link.name in known,
        persistent=bool(link.persistent),
        carrier=bool(link.carrier),
    )


def host_info(settings: Settings, probe: Probe | None) -> HostInfo:
    """What this host can plug; without a probe, as far as the configuration shows."""
    answer: Mapping[str, Any] = {}
    if probe is not None and probe.has_ovs():
        try:
            answer = probe.about()
            if not answer["ovs_version"]:  # Debian's and Red Hat's scripts write it there; others may not
                answer = {**answer, "ovs_version": probe.vswitchd()["version"]}
        except Exception as error:
            LOG.warning("could not query Open vSwitch: %s", error)
            answer = {}
    bridges = {name: datapath or SYSTEM for name, datapath in answer.get("bridges", {}).items()}
    ovs = OvsInfo(
        connected=bool(answer),
        connection=settings.connection,
        address=answer.get("address"),
        ovs_version=answer.get("ovs_version"),
        db_version=answer.get("db_version"),
        datapath_types=tuple(answer.get("datapath_types", ())),
        iface_types=tuple(answer.get("iface_types", ())),
    )
    return HostInfo(
        version=version.installed(),
        kernel=os.uname().release,
        vif_types=tuple(sorted(drivers())),
        mtu=settings.mtu,
        integration_bridge=settings.integration_bridge,
        integration_bridge_datapath=bridges.get(settings.integration_bridge),
        bridges=bridges,
        physical_networks=dict(settings.physical_networks),
        vxlan_local_ip=settings.vxlan_local_ip or None,
        vxlan_group=settings.vxlan_group or None,
        filters=settings.filter_enabled,
        ovs=ovs,
    )
