"""Gathers the facts of a trace: the path as ``diagram`` has it, counters over an interval, and what each hop holds.

An error of one part is a fact too and must not hide the others. Questions to ovs-vswitchd end with the first that it
does not answer, so that a trace of a hanging switch takes seconds.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vifplug.doctor import network_managers, nftables, records
from vifplug.doctor.facts import Chain
from vifplug.doctor.switch import state
from vifplug.drivers.registry import guest_link
from vifplug.engine.commands import inspect
from vifplug.engine.context import Context
from vifplug.errors import OvsUnavailable, VifplugError
from vifplug.model.reports import DRIFTED, Hop, PathReport
from vifplug.resources import kinds
from vifplug.resources.nftables import filter as filters
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort
from vifplug.store.records import Record
from vifplug.trace import firewall, frames, ofproto
from vifplug.trace.facts import Discipline, Facts, Filter, Guest, Peer
from vifplug.trace.probe import Probe
from vifplug.trace.values import Neighbour, Station

LOG = logging.getLogger(__name__)

ROOT = Path("/")
_OVS_KINDS = (OvsPort.kind, OvsBridge.kind)
_FLOWS_MAX = 200


class Gatherer:
    """The gathering of one VIF's facts.

    :param seconds: the interval of the counters.
    """

    def __init__(self, context: Context, probe: Probe, record: Record, seconds: float, root: Path = ROOT) -> None:
        self._context, self._probe, self._record = context, probe, record
        self._seconds, self._root = seconds, root
        self._unseen: list[str] = []

    def facts(self, during: Callable[[], object] = lambda: None) -> Facts:
        """All facts that can be read.

        :param during: called within the interval: what sends frames.
        :raises HostError: the links cannot be read.
        """
        needs_ovs = bool(kinds.ports_in(self._record.resources))
        ovsdb_error = self._ovsdb_error() if needs_ovs else ""
        path, observed, ovsdb_error = self._path(ovsdb_error)
        names = self._names(path, observed)
        guest = self._guest(observed)
        dropped = self._dropped_by_filter() if guest.is_filtered else 0
        began, before = time.monotonic(), self._counters(names)
        during()
        facts = self._of_kernel(Facts(path=path, guest=guest, links=observed.links), names, observed)
        facts = replace(facts, before=before, needs_ovs=needs_ovs, ovsdb_error=ovsdb_error, peers=self._peers())
        if needs_ovs:
            facts = self._of_switch(facts, observed)
        time.sleep(max(self._seconds - (time.monotonic() - began), 0))
        after = self._counters(names)
        seconds = round(time.monotonic() - began, 1)
        filtered = self._dropped_by_filter() - dropped if guest.is_filtered else 0
        return replace(
            facts, after=after, seconds=seconds, filtered=max(filtered, 0), unseen=tuple(dict.fromkeys(self._unseen))
        )

    def _try(self, name: str, ask: Callable[[], Any], default: Any) -> Any:
        """What a question answers; a default if it cannot be answered, which is noted."""
        try:
            return ask()
        except (VifplugError, OSError) as error:
            LOG.debug("%s was not read: %s", name, error)
            self._unseen.append(f"{name} ({str(error).splitlines()[0]})")
            return default

    # -- the path -------------------------------------------------------------------------------------------

    def _ovsdb_error(self) -> str:
        """Why OVSDB cannot be used: asked first, because an observation waits for it much longer."""
        try:
            reached = self._probe.reach()
        except VifplugError as error:
            return str(error)
        if any(not remote["error"] and not remote.get("unfit") for remote in reached):
            return ""
        return "; ".join(f"{remote['remote']}: {remote['error'] or remote.get('unfit')}" for remote in reached)

    def _path(self, ovsdb_error: str) -> tuple[PathReport, Observed, str]:
        """The path; without OVSDB, as far as the links show it; and why OVSDB cannot be used."""
        if not ovsdb_error:
            try:
                return *inspect.path_of(self._context, self._record), ""
            except OvsUnavailable as error:
                ovsdb_error = str(error)
        path, observed = inspect.path_of(self._context, self._record, ovs=False)
        hops = tuple(_unseen_hop(hop, ovsdb_error) for hop in path.hops)
        return replace(path, hops=hops), observed, ovsdb_error

    def _names(self, path: PathReport, observed: Observed) -> list[str]:
        """The devices of the path, and the bridges that its devices are on."""
        names = [hop.name for hop in path.hops if hop.name in observed.links]
        masters = [observed.links[name].master for name in names]
        return list(dict.fromkeys([*names, *filter(None, masters), *_bridges(path)]))

    def _guest(self, observed: Observed) -> Guest:
        vif = self._record.vif
        device = guest_link(vif)
        allowed = [str(each.ip) for each in vif.allowed_addresses or () if each.ip is not None]
        return Guest(
            device=device,
            is_ours=device in {link.name for link in kinds.links_in(self._record.resources)},
            address=vif.address,
            network=vif.network.id,
            mtu=vif.network.mtu,
            vlan=vif.vlan if isinstance(vif.vlan, int) else None,
            addresses=tuple(filter(_is_ipv4, allowed)),
            is_filtered=any(isinstance(item, filters.Filter) for item in self._record.resources),
            absent_since=self._record.guest_absent_since or None,
        )

    def _peers(self) -> tuple[Peer, ...]:
        contents = self._context.store.contents()
        return tuple(
            Peer(
                id=record.id,
                address=record.vif.address,
                network=record.vif.network.id,
                port=next((port.name for port in kinds.ports_in(record.resources)), ""),
            )
            for record in contents.records.values()
        )

    # -- the kernel -----------------------------------------------------------------------------------------

    def _counters(self, names: list[str]) -> Mapping[str, Mapping[str, int]]:
        counted: Mapping[str, Mapping[str, int]] = self._try("counters", lambda: self._probe.counters(names), {})
        return counted

    def _of_kernel(self, facts: Facts, names: list[str], observed: Observed) -> Facts:
        bridges = [name for name in names if name in observed.links and observed.links[name].passage.is_bridge]
        empty: dict[str, Any] = {}
        tables = self._try("tc and neighbours", lambda: self._probe.tables(names, bridges, facts.guest.address), empty)
        disciplines, tc_filters = tables.get("disciplines", {}), tables.get("filters", {})
        obstacles = records.obstacles_of(self._record, observed)
        return replace(
            facts,
            obstacles=tuple(obstacles),
            drifted_since=self._drifted_since(facts.path),
            stations=tuple(Station(**entry) for entry in tables.get("stations", ())),
            neighbours=tuple(Neighbour(**entry) for entry in tables.get("neighbours", ())),
            disciplines={name: [Discipline(**each) for each in of_link] for name, of_link in disciplines.items()},
            filters={name: [Filter(**each) for each in of_link] for name, of_link in tc_filters.items()},
            addresses=self._try("addresses", self._probe.own_addresses, {}),
            settings=self._try("settings", lambda: self._probe.settings(_bridges(facts.path)), {}),
            chains=self._chains(),
            bridged=network_managers.bridged_families(self._root),
        )

    def _dropped_by_filter(self) -> int:
        """How many frames of guests vifplug's own filter has dropped so far."""
        chains = self._chains(lambda chain: chain.table == filters.TABLE)
        rules = (rule for chain in chains for rule in chain.rules or () if chain.table == filters.TABLE)
        return sum(rule.packets or 0 for rule in rules if rule.then == "drop")

    def _chains(self, concerns: Callable[[Chain], bool] = firewall.concerns) -> tuple[Chain, ...]:
        answer = self._try("the firewall", self._probe.forwarding, {"error": "", "chains": []})
        if answer["error"]:
            self._unseen.append(f"the firewall ({answer['error']})")
            return ()
        read = lambda: nftables.chains(answer["chains"], self._probe.firewall, concerns)  # noqa: E731
        chains: tuple[Chain, ...] = self._try("the firewall", read, ())
        return chains

    def _drifted_since(self, path: PathReport) -> str | None:
        """When the VIF's present drift was recorded; only a daemon records that."""
        has_drift = any(hop.drift for hop in path.hops)
        return self._record.updated_at if has_drift and self._record.state == DRIFTED else None

    # -- Open vSwitch ---------------------------------------------------------------------------------------

    def _of_switch(self, facts: Facts, observed: Observed) -> Facts:
        port = self._port(facts.path)
        answered = self._try("ovs-vswitchd", self._probe.vswitchd, {"answers": False, "error": "it was not asked"})
        alive = answered["answers"] is not False
        bridges = [hop.name for hop in facts.path.hops if hop.kind == OvsBridge.kind]
        rows: Mapping[str, Any] | None = None
        if not facts.ovsdb_error:
            ask = lambda: self._probe.switching([port], bridges if alive else [])  # noqa: E731
            rows = self._try("the rows of Open vSwitch", ask, None)
        switching = None if rows is None else state.decoded(rows)
        facts = replace(facts, port=port, switching=switching, vswitchd_error="" if alive else str(answered["error"]))
        if not alive or switching is None:
            self._unseen += ["OpenFlow flows", "datapath flows"]
            return facts
        mirror, behind = self._of_doctor(port)
        return self._flows(replace(facts, mirrored_to=mirror, vswitchd_error=behind))

    def _of_doctor(self, port: str) -> tuple[str, str]:
        """The mirror whose output the port is; and how far ovs-vswitchd lags behind its database."""
        facts = self._try("mirrors", self._probe.switch, {})
        mirrors = [mirror["name"] for mirror in facts.get("mirrors") or () if mirror["output"] == port]
        return "".join(mirrors[:1]), str(facts.get("behind", ""))

    def _port(self, path: PathReport) -> str:
        """The port by which the guest's frames enter Open vSwitch: the first of the path."""
        return next((hop.name for hop in path.hops if hop.kind == OvsPort.kind), "")

    def _flows(self, facts: Facts) -> Facts:
        there = facts.on_switch
        if there is None:
            return facts
        bridge = there[0].name
        numbers = {
            str(interface.ofport): interface.name
            for switch, _port, interface in facts.switching.interfaces()  # type: ignore[union-attr]
            if switch.name == bridge
        }
        empty = {"text": "", "error": ""}
        learnt = self._try("the bridge's forwarding table", lambda: self._probe.learnt_stations(bridge), empty)
        if learnt["error"]:
            self._unseen.append(f"OpenFlow flows, datapath flows ({learnt['error']})")
            return facts
        stations = ofproto.stations(learnt["text"], bridge, numbers)
        facts = replace(facts, stations=(*facts.stations, *stations))
        facts = replace(facts, frames=tuple(self._traced(facts)))
        dumped = self._try("datapath flows", lambda: self._probe.datapath_flows(bridge), empty)
        if dumped["error"]:
            self._unseen.append(f"datapath flows ({dumped['error']})")
        flows = ofproto.flows_of(dumped["text"], facts.guest.address, facts.port)
        return replace(facts, flows=tuple(flows[:_FLOWS_MAX]))

    def _traced(self, facts: Facts) -> Iterator[Any]:
        for question in frames.questions(facts):
            failed = {"text": "", "error": "it was not asked"}
            ask = lambda question=question: self._probe.trace_frame(question.bridge, question.frame)  # noqa: E731
            yield frames.answered(question, dict(self._try("OpenFlow flows", ask, failed)), facts)


def _bridges(path: PathReport) -> list[str]:
    return [hop.name for hop in path.hops if hop.kind in ("bridge", OvsBridge.kind)]


def _unseen_hop(hop: Hop, error: str) -> Hop:
    if hop.kind not in _OVS_KINDS:
        return hop
    return replace(hop, state="unknown", note=f"not looked at: {error}", drift=(), joined=True)


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).version == 4 and "/" not in text
    except ValueError:
        return False
