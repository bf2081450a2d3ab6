"""Checks of Open vSwitch, and of leftover devices of other programs. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from vifplug import naming
from vifplug.doctor.facts import SYSTEM, DeadPort, Facts, Link, Ovs, Remote, Switch
from vifplug.doctor.findings import ERROR, OK, UNSEEN, WARNING, Finding

Draft = Callable[[str], Finding]
"""A finding without the name of its check."""

_RATE_MIN = 64
"""kbit/s. Below that a guest's ARP and DHCP are delayed or lost."""
_OVS_MIN = (2, 13)
"""Older versions have no fix for CVE-2020-35498: a guest's packet can stop the switch."""
_VERSION = re.compile(r"(\d+)\.(\d+)")
_START = "systemctl start openvswitch-switch (openvswitch on Red Hat's), and see its log"
_RESTART = "systemctl restart openvswitch-switch; guests' frames pass meanwhile if the datapath is the kernel's"
_SILENT = "does not answer"
_GET_DPDK = (
    "run an Open vSwitch with DPDK (Debian's openvswitch-switch-dpdk), and have it initialise DPDK: ovs-vsctl set "
    "Open_vSwitch . other_config:dpdk-init=true"
)
_NO_DEVICE, _NO_PORT = "No such device", "it has no OpenFlow port"


def draft(status: str, subject: str, reason: str, remedy: str = "", since: str = "") -> Draft:
    """A finding, to be completed with the name of its check."""
    return lambda check: Finding(check=check, status=status, subject=subject, reason=reason, remedy=remedy, since=since)


def version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version, or an empty tuple."""
    numbers = _VERSION.match(text)
    return tuple(map(int, numbers.groups())) if numbers else ()


def ovs_version(facts: Facts) -> Iterator[Draft]:
    """Whether Open vSwitch is new enough."""
    text = (facts.ovs and facts.ovs.switch and facts.ovs.switch.ovs_version) or ""
    if version(text) and version(text) < _OVS_MIN:
        remedy = "upgrade to 2.13 or newer; vifplug is tested with 3.1"
        yield draft(ERROR, "Open vSwitch", f"it is {text}, and a guest's packet may stop it (CVE-2020-35498)", remedy)


def ovsdb(facts: Facts) -> Iterator[Draft]:
    """Whether the database can be reached and used."""
    ovs = facts.ovs
    if ovs is None:
        yield draft(UNSEEN, " ".join(facts.connection), "there is no privileged helper to ask")
        return
    if not ovs.expected:
        return
    reached = [remote for remote in ovs.remotes if not remote.error]
    fit = [remote for remote in reached if not remote.unfit]
    for remote in ovs.remotes:
        if remote.error:
            yield _unreached(remote, WARNING if reached else ERROR)
        elif remote.unfit:
            yield _unfit(remote, is_spare=bool(fit))
        elif remote.used and len(ovs.remotes) > 1:
            yield draft(OK, remote.remote, "this OVSDB address is used")
        elif _is_open(remote.remote):
            remedy = "use unix: on the host itself; anyone who reaches this port can reconfigure the switch"
            yield draft(WARNING, remote.remote, "OVSDB is reached over the network, without encryption", remedy)
    if ovs.error:
        how = "it accepts connections and does not answer" if reached else "it cannot be reached"
        yield draft(ERROR, " ".join(facts.connection), f"{how}: {ovs.error}", _START)


def _is_open(remote: str) -> bool:
    kind, _colon, place = remote.partition(":")
    if kind != "tcp":
        return False
    try:
        return not ipaddress.ip_address(place.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return True


def _unfit(remote: Remote, *, is_spare: bool) -> Draft:
    """A standby is fine if another server is used."""
    if is_spare:
        return draft(OK, remote.remote, f"not used: {remote.unfit}")
    if _SILENT in remote.unfit:
        return draft(
            ERROR,
            remote.remote,
            f"nothing can be plugged: {remote.unfit}",
            f"it hangs, or waits for its disk: {_RESTART}",
        )
    remedy = "make it, or another server of [ovs] connection, the active one (ovsdb-server(1), active-backup)"
    return draft(ERROR, remote.remote, f"nothing can be plugged: {remote.unfit}", remedy)


def _unreached(remote: Remote, status: str) -> Draft:
    if not remote.denied:
        return draft(status, remote.remote, f"it does not answer: {remote.error}", _START)
    owner = "" if remote.uid is None else f"; it belongs to uid {remote.uid}"
    remedy = (
        "the helper can open only files of its own user: set [vifplug_privileged] user to the socket's owner, or make "
        "root the owner of the socket again, with mode 0750"
    )
    return draft(status, remote.remote, f"the privileged helper may not use it: {remote.error}{owner}", remedy)


def vswitchd(facts: Facts) -> Iterator[Draft]:
    """Whether ovs-vswitchd applies the database."""
    ovs, switch = _seen(facts)
    if ovs is None or switch is None:
        yield from _unseen(facts, "ovs-vswitchd")
    elif ovs.vswitchd is False:
        yield draft(ERROR, "ovs-vswitchd", f"it does not answer: {ovs.vswitchd_error}", _START)
    elif switch.behind:
        remedy = "see ovs-vswitchd's log; on a busy host check again in a minute"
        yield draft(ERROR, "ovs-vswitchd", switch.behind, remedy)


def integration_bridge(facts: Facts) -> Iterator[Draft]:
    """Whether the ports' bridges exist."""
    ovs, switch = _seen(facts)
    if ovs is None or switch is None:
        yield from _unseen(facts, facts.integration_bridge)
        return
    ports = facts.plugged.ports if facts.plugged else ()
    counts = Counter(port.bridge for port in ports)
    wanted = {facts.integration_bridge: "[ovs] integration_bridge names it"}
    for port in ports:
        more = f" and {counts[port.bridge] - 1} more" if counts[port.bridge] > 1 else ""
        wanted.setdefault(port.bridge, f"VIF {port.vif_id}{more} {'are' if more else 'is'} on it")
    for bridge, wanted_for in wanted.items():
        if bridge in switch.fake_bridges:
            reason = f"{naming.fake_bridge(bridge, *switch.fake_bridges[bridge])}; {wanted_for}"
            yield draft(ERROR, bridge, reason, "correct the configuration, or the VIF's network")
        elif bridge not in switch.bridges:
            others = ", ".join(sorted(switch.bridges)) or "none"
            remedy = f"create it (ovs-vsctl add-br {bridge}; OVN and Neutron's agent do), or correct the configuration"
            if bridge != facts.integration_bridge and naming.may_be_made(bridge):
                remedy = "vifplug makes it: vifplug repair --all"
            yield draft(
                ERROR, bridge, f"there is no such OVS bridge, and {wanted_for}; existing bridges: {others}", remedy
            )


def bridgeless(facts: Facts) -> set[str]:
    """The VIFs whose bridge is missing, if vifplug does not make it."""
    _ovs, switch = _seen(facts)
    if switch is None or facts.plugged is None:
        return set()
    ports = (port for port in facts.plugged.ports if not naming.may_be_made(port.bridge))
    return {port.vif_id for port in ports if port.bridge not in {*switch.bridges, *switch.fake_bridges}}


def datapath(facts: Facts) -> Iterator[Draft]:
    """Whether bridges have the datapath that their ports request, and one that this Open vSwitch supports; and whether
    it supports the types of ports."""
    ovs, switch = _seen(facts)
    if ovs is None or switch is None:
        yield from _unseen(facts, facts.integration_bridge)
        return
    for port in facts.plugged.ports if facts.plugged else ():
        own = switch.bridges.get(port.bridge)
        if own is not None and port.datapath_type and port.datapath_type != (own or SYSTEM):
            reason = f"its datapath_type is {own or SYSTEM!r}, and the port of VIF {port.vif_id} requests "
            remedy = (
                f"ovs-vsctl set Bridge {port.bridge} datapath_type={port.datapath_type} (its guests lose frames "
                "meanwhile), or correct the agent's configuration, by which ports are bound"
            )
            yield draft(ERROR, port.bridge, f"{reason}{port.datapath_type!r}", remedy)
        if port.type and switch.iface_types and port.type not in switch.iface_types:
            reason = f"it is of type {port.type!r}, for VIF {port.vif_id}, which this ovs-vswitchd does not support"
            yield draft(ERROR, port.name, reason, _GET_DPDK)
    own = switch.bridges.get(facts.integration_bridge)
    if own and switch.datapath_types and own not in switch.datapath_types:
        reason = f"its datapath_type is {own!r}, and this ovs-vswitchd supports {', '.join(switch.datapath_types)}"
        yield draft(ERROR, facts.integration_bridge, reason, "set a supported one")


def obstacles(facts: Facts) -> Iterator[Draft]:
    """Settings that stop guests' frames, or may, on things that vifplug must not change; they are only reported."""
    for obstacle in facts.plugged.obstacles if facts.plugged else ():
        remedy = "the program that made it has to correct it; see bridge -d link, bridge fdb, tc qdisc, ip -d link"
        yield draft(WARNING, obstacle.subject, f"it may stop frames of VIF {obstacle.vif_id}: {obstacle.text}", remedy)
    _ovs, switch = _seen(facts)
    if facts.plugged is None or switch is None:
        return
    bridges = {port.bridge for port in facts.plugged.ports}
    for name in sorted(bridges.intersection(switch.spanning_tree)):
        reason = "it runs STP or RSTP, which may block a port; the ports' states were not checked"
        remedy = f"ovs-appctl stp/show {name}; ovs-appctl rstp/show {name}"
        yield draft(WARNING, name, reason, remedy)
    for name, rate in sorted(switch.policed.items()):
        if name in facts.plugged.names:
            reason = f"its guest may send at most {rate} kbit/s (Interface.ingress_policing_rate)"
            if rate < _RATE_MIN:
                yield draft(WARNING, name, reason, f"check whether that is intended: ovs-vsctl list Interface {name}")


def stale_ports(facts: Facts) -> Iterator[Draft]:
    """Ports whose device is gone; but not those that wait for the VMM's tap, and not our orphans."""
    ovs, switch = _seen(facts)
    if ovs is None or switch is None:
        yield from _unseen(facts, "OVS ports")
        return
    recorded = facts.plugged.names if facts.plugged else frozenset()
    drifted = {problem.vif_id for problem in facts.plugged.problems} if facts.plugged else set()
    for port in switch.dead_ports:
        is_recorded = port.name in recorded
        if (is_recorded and port.owner not in drifted) or (port.owner and not is_recorded):
            continue
        yield _recorded(port) if is_recorded else _of_bond(port) if port.bond else _foreign(port)


def _recorded(port: DeadPort) -> Draft:
    return draft(ERROR, port.name, _deviceless(port), f"vifplug repair {port.owner}")


def _deviceless(port: DeadPort) -> str:
    return f"this port of {port.bridge} has no device: {port.error or _NO_PORT}"


def _of_bond(port: DeadPort) -> Draft:
    """The port is the bond: deleting it would delete its other members too, and del-port fails for a member's name."""
    reason = f"this member of the bond {port.bond} of {port.bridge} has no device: {port.error or _NO_PORT}"
    remedy = (
        f"restore the device (ip link show {port.name}); or remove it from the bond: ovs-vsctl -- "
        f"--id=@it get Interface {port.name} -- remove Port {port.bond} interfaces @it"
    )
    return draft(ERROR, port.name, reason, remedy)


def _foreign(port: DeadPort) -> Draft:
    delete = f"ovs-vsctl del-port {port.bridge} {port.name}"
    if not port.iface_id:
        return draft(ERROR, port.name, _deviceless(port), f"if no program is about to create that device: {delete}")
    advice = (
        f"first find its owner: openstack port show {port.iface_id}, and vm-uuid in ovs-vsctl get Interface "
        f"{port.name} external_ids; delete it only when neither guest nor Neutron port exists: {delete}"
    )
    # OVS's error when the tap went with the guest; any other error affects a running guest.
    if port.error and _NO_DEVICE not in port.error:
        return draft(
            ERROR, port.name, _deviceless(port), f"see ovs-vswitchd's log; before anything is deleted, {advice}"
        )
    off = f"{_deviceless(port)}; that is normal for a guest of Nova's that is off"
    return draft(WARNING, port.name, off, advice)


def foreign_resources(facts: Facts) -> Iterator[Draft]:
    """Leftover devices of other programs with names of hybrid VIFs: they are in the way of the next plug."""
    if facts.links is None:
        yield draft(UNSEEN, "links", facts.unseen)
        return
    links = {link.name: link for link in facts.links}
    ports = facts.ovs.switch.ports if facts.ovs and facts.ovs.switch else None
    for identity in dict.fromkeys(map(_identity, links)):
        parts = [links[prefix + identity] for prefix in _PREFIXES if identity and prefix + identity in links]
        if parts and not any(part.is_owned for part in parts) and not _is_connected(identity, links, ports):
            names = ", ".join(part.name for part in parts)
            remedy = " ; ".join(f"ip link del {part.name}" for part in parts)
            reason = "leftover: named like a VIF's device, not made by vifplug, no guest on it"
            yield draft(ERROR, names, reason, f"if it is not needed: {remedy}")


_PREFIXES = (naming.ROLE_BRIDGE, naming.ROLE_BRIDGE_END, naming.ROLE_PORT_END, naming.ROLE_TAP)


def _identity(name: str) -> str:
    """The part of a link's name that is cut from a VIF's id; "" for other names."""
    for prefix in _PREFIXES:
        if name.startswith(prefix) and naming.follows_rule(name):
            return name[len(prefix) :]
    return ""


def _is_connected(identity: str, links: Mapping[str, Link], ports: frozenset[str] | None) -> bool:
    """Whether a guest is on it, or the path is complete, as for a guest that is shut off."""
    bridge, near, far, tap = (prefix + identity for prefix in _PREFIXES)
    if tap in links:
        guest = links[tap]
        return guest.carrier or not guest.persistent or bool(guest.master) or ports is None or tap in ports
    whole = bridge in links and near in links and far in links and links[near].master == bridge
    return whole and (ports is None or far in ports)


def _seen(facts: Facts) -> tuple[Ovs | None, Switch | None]:
    return facts.ovs, facts.ovs.switch if facts.ovs else None


def _unseen(facts: Facts, subject: str) -> Iterator[Draft]:
    """The finding that OVS could not be read; none if OVS is not expected here."""
    if facts.ovs is None or facts.ovs.expected:
        reason = "there is no privileged helper to ask" if facts.ovs is None else "OVSDB is not answering"
        yield draft(UNSEEN, subject, reason)
