"""A host in memory: carries out the planner's actions without a kernel and without Open vSwitch."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vifplug import naming
from vifplug.engine.host import Asked, Scope, Settle
from vifplug.engine.plan import actions, configured, renames
from vifplug.engine.plan.actions import Action
from vifplug.engine.plan.nftables import filters
from vifplug.errors import Conflict, LinkError, OvsUnavailable, TimedOut, VifplugError
from vifplug.resources import passage
from vifplug.resources.link import Link
from vifplug.resources.nftables.filter import DEVICE, Filter
from vifplug.resources.observed import Observed, Qos, Station
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OF_VLANS, OvsPort, shown
from vifplug.trace.values import Counted

NO_DEVICE = "could not open network device"
"""vswitchd's error for a port without a netdev."""
_SOCKET = "vhost-server-path"

_NO_FLOWS = "a fake host has no flows"
_UPLINK = {"name": "uplink", "interfaces": [{"name": "uplink", "type": "patch", "ofport": 1}]}
"""What leads to other hosts."""


class MemoryHost:
    """Links and ports in dictionaries. ``fail_at`` makes the action of that number fail, counted over all stages."""

    def __init__(self, *, datapath: str = "netdev", bridges: Sequence[str] = ("br-int",)) -> None:
        self.links: dict[str, Link] = {}
        self.ports: dict[str, OvsPort] = {}
        self.qos: dict[str, Qos] = {}
        self.held: dict[str, str] = {}
        self.filters: dict[tuple[str, str], Filter] = {}
        """By owner and place."""
        self.absent: dict[str, str] = {}
        """Missing parts of links, and why."""
        self.stations: list[Station] = []
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.routes: dict[str, tuple[str, ...]] = {}
        self.bridges = {name: OvsBridge(name=name, datapath_type=datapath) for name in bridges}
        self.fail_at: int | None = None
        self.fail_with: VifplugError | None = None
        """The error of that action, instead of a LinkError."""
        self.is_ovs_stopped = False
        self.stuck = False
        self.foreign_ports = 0
        """The number of other programs' ports, about which nothing else is known."""
        self.listened_on: frozenset[int] | None = None
        self.applied: list[Action] = []
        self.stages = 0
        self._numbers = itertools.count(1)

    session = 1

    def ensure_running(self) -> None:
        return

    @property
    def probe(self) -> MemoryHost:
        """The doctor's probe: this object."""
        return self

    def helper(self) -> Mapping[str, Any]:
        return {"pid": 1, "uid": 0, "capabilities": 1 << 12}

    def reach(self) -> Sequence[Mapping[str, Any]]:
        return [{"remote": "unix:/fake", "error": "", "denied": False, "uid": None}]

    def vswitchd(self) -> Mapping[str, Any]:
        return {"answers": True, "version": "3.1.0", "error": ""}

    def forwarding(self) -> Mapping[str, Any]:
        return {"chains": [], "error": "", "legacy": []}

    def firewall(self, kind: str, family: int, table: str, name: str) -> Sequence[bytes] | None:
        return None

    def about(self) -> Mapping[str, Any]:
        return {**self._about(), "address": "unix:/run/openvswitch/db.sock"}

    def switch(self) -> Mapping[str, Any]:
        return {**self._about(), "dead_ports": [], "ports": list(self.ports), "behind": ""}

    def switching(self, names: Sequence[str] = (), counted: Sequence[str] = ()) -> Mapping[str, Any]:
        return {"bridges": [self._switching_of(name) for name in self.bridges], "cur_cfg": 1, "next_cfg": 1}

    def _switching_of(self, bridge: str) -> dict[str, Any]:
        ports = [port for port in self.ports.values() if port.bridge == bridge]
        return {
            **{"name": bridge, "datapath_type": self.bridges[bridge].datapath_type, "fail_mode": "", "controllers": []},
            **{"spanning_tree": False, "flow_count": 1, "ports": [_UPLINK, *map(_row, ports)]},
        }

    def counters(self, names: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """A guest on a fake host has sent and received a frame, and none since."""
        return {name: Counted(received=1, sent=1).as_json() for name in names if name in self.links}

    def tables(self, names: Sequence[str], bridges: Sequence[str], address: str) -> Mapping[str, Any]:
        return {"stations": [], "neighbours": [], "disciplines": {}, "filters": {}}

    def own_addresses(self) -> Mapping[str, Sequence[str]]:
        return {}

    def settings(self, names: Sequence[str]) -> Mapping[str, int]:
        return {}

    def trace_frame(self, bridge: str, frame: Mapping[str, Any]) -> Mapping[str, str]:
        return {"text": "", "error": _NO_FLOWS}

    def datapath_flows(self, bridge: str) -> Mapping[str, str]:
        return {"text": "", "error": _NO_FLOWS}

    def learnt_stations(self, bridge: str) -> Mapping[str, str]:
        return {"text": "", "error": _NO_FLOWS}

    def send_frames(self, tap: Mapping[str, Any], count: int) -> Mapping[str, Any]:
        raise Conflict(f"no frame was sent: {_NO_FLOWS}", str(tap["name"]))

    def has_ovs(self) -> bool:
        return True

    def _about(self) -> dict[str, Any]:
        return {
            "ovs_version": "3.1.0",
            "db_version": "8.3.1",
            "datapath_types": ["netdev", "system"],
            "iface_types": ["internal", "system", "tap"],
            "bridges": {name: bridge.datapath_type for name, bridge in self.bridges.items()},
        }

    def asking(self, scope: Scope) -> contextlib.AbstractContextManager[Asked | None]:
        return contextlib.nullcontext(Asked(scope, functools.partial(self.observe, scope)))

    def observe(self, scope: Scope) -> Observed:
        if scope.ovs and (scope.everything or scope.ports or scope.iface_ids):
            self._require_ovs()
        # A real host finds a function only by the kind that it is read as.
        assert set(filter(naming.is_pci_address, scope.links)) <= scope.function_kinds.keys(), scope
        members: dict[str, list[str]] = {}
        for link in self.links.values():
            if link.master:
                members.setdefault(link.master, []).append(link.name)
        carriers: dict[str, tuple[str, ...]] = {}
        for port in self.ports.values():
            iface_id = port.iface_ids.get("iface-id", "")
            carriers[iface_id] = (*carriers.get(iface_id, ()), port.name)
        observed = Observed(
            links=dict(self.links),
            members={bridge: tuple(sorted(names)) for bridge, names in members.items()},
            bridges={name: replace(bridge, members=self._members(name)) for name, bridge in self.bridges.items()},
            ports=dict(self.ports),
            iface_ids=carriers,
            qos=tuple(self.qos.values()),
            listened_on=self.listened_on,
            held=dict(self.held),
            absent={**self._missing_functions(scope), **self.absent},
            physical={name: of for name in scope.functions if (of := self._physical(name))},
            stations=tuple(self.stations) if scope.thorough else (),
            addresses=dict(self.addresses) if scope.uplinks else {},
            routes={name: self.routes[name] for name in scope.uplinks & self.routes.keys()},
            filters={name: self._fault(item) for name, item in scope.filters.items()},
            filtered=frozenset((item.owner, item.name, item.place) for item in self.filters.values())
            if scope.everything
            else frozenset(),
            port_count=self.foreign_ports + len(self.ports),
        )
        return renames.undone(observed, scope)

    def apply(self, stages: Sequence[Sequence[Action]], settle: Settle | None = None) -> Observed:
        for stage in stages:
            self._apply_stage(stage)
        if settle is not None and self.stuck:
            raise TimedOut("ovs-vswitchd did not carry out the change within 0 s", "ovs-vswitchd")
        if settle is None or settle.scope is None:
            return Observed()
        return self.observe(settle.scope)

    def _apply_stage(self, stage: Sequence[Action]) -> None:
        self.stages += 1
        for action in stage:
            if self.fail_at is not None and len(self.applied) == self.fail_at:
                self.fail_at = None
                failure = self.fail_with or LinkError(f"could not {action}: made to fail")
                raise failure.at_step(str(action), action.subject)
            if action.plane == "ports":
                self._require_ovs()
            self._apply_filter(action) if action.plane == "filters" else self._apply(action)
            self.applied.append(action)

    def _require_ovs(self) -> None:
        if self.is_ovs_stopped:
            raise OvsUnavailable("OVSDB does not answer; check that openvswitch-switch runs, then retry")

    def _apply(self, action: Action) -> None:
        match action:
            case actions.CreateLink():
                for link in action.links:
                    self.add(link)
            case actions.RenameLink(link=link, old=old):
                self.rename(old, link.name)
            case actions.SetLink(link=link, changes=changes):
                self._set(link.name, {attribute: after for attribute, _before, after in changes}, link.owner)
            case actions.ConfigureLink(link=link, changes=changes, puts_back=puts_back):
                there = self.links[link.name]
                valid = [change for change in changes if not puts_back or getattr(there, change[0]) == change[1]]
                self.links[link.name] = replace(there, **{attribute: after for attribute, _before, after in valid})
            case configured.FreeDevice(link=link):
                self._set(link.netdev or "", {"master": None}, "")
            case actions.JoinGuest(bridge=bridge):
                self._set(bridge.guest, {"master": bridge.name, "bridge_vlan": bridge.guest_vlan}, "")
            case actions.ForgetStation(station=entry):
                self.stations = [station for station in self.stations if station != entry]
            case actions.DeleteLinks(links=links):
                for link in links:
                    self.remove(link.called or link.name)
            case actions.AddBridge(bridge=bridge):
                self.bridges[bridge.name] = replace(bridge, like="", born_to=bridge.owner)
            case actions.SetBridge(bridge=bridge):
                self.bridges[bridge.name] = replace(bridge, like="", born_to=bridge.owner)
            case actions.DeleteBridge(bridge=bridge):
                self.bridges.pop(bridge.name, None)
                self.ports = {name: port for name, port in self.ports.items() if port.bridge != bridge.name}
            case actions.AddPort(port=port):
                self._add_port(port)
            case actions.SetPort(
                port=port, iface_changes=iface, port_changes=own, emptied=emptied, given=given, again=again, vlans=vlans
            ):
                current = self.ports[port.name]
                external = {**current.external_ids, **{key: after for key, _before, after in own}}
                ids = {**current.iface_ids, **{key: after for key, _before, after in iface}}
                ids = {key: value for key, value in ids.items() if value is not None}
                owner = external.get("vifplug-vif", "")
                settings = {key: value for key, value in current.settings.items() if key not in emptied}
                settings |= {key: shown(key, value) for key, value in given.items()}
                changed = replace(current, iface_ids=ids, external_ids=external, owner=owner, settings=settings)
                if set(emptied) & set(OF_VLANS):
                    changed = replace(changed, tag=None, vlan_mode=None, trunks=())
                if again:
                    changed = changed.with_vlans(port.vlans)
                if vlans is not None:
                    changed = changed.with_vlans(vlans[1])
                self.ports[port.name] = changed
            case actions.MovePort(port=port):
                self.ports[port.name] = replace(self.ports[port.name], bridge=port.bridge)
            case actions.ReattachPort(port=port):
                self.ports[port.name] = replace(self.ports[port.name], ofport=next(self._numbers), error=None)
            case actions.DeletePort(port=port, as_added=as_added):
                gone = self.ports.pop(port.name, None)
                if gone is not None and gone.qos and as_added:
                    self.qos.pop(gone.qos, None)
            case actions.DeleteQos(owner=owner):
                self.qos = {uuid: row for uuid, row in self.qos.items() if row.owner != owner}

    def _fault(self, wanted: Filter) -> str:
        """What a real host says of a filter."""
        there = self.filters.get((wanted.owner, wanted.place))
        if wanted.place == DEVICE and wanted.name not in self.links:
            there = None
        if there is None:
            return "is missing"
        return "" if replace(there, switch=wanted.switch) == wanted else "has other addresses"

    def _apply_filter(self, action: Action) -> None:
        match action:
            case filters.PutFilter(filter=wanted):
                if wanted.place == DEVICE and wanted.name not in self.links:
                    raise LinkError(f"could not filter {wanted.name!r}: no such device", wanted.name)
                self.filters[wanted.owner, wanted.place] = wanted
            case filters.DeleteFilter(filter=unwanted):
                self.filters.pop((unwanted.owner, unwanted.place), None)

    def _physical(self, name: str) -> str:
        return next((of for of in self.links[name].listed_as if of != name), "") if name in self.links else ""

    def _missing_functions(self, scope: Scope) -> dict[str, str]:
        missing = (name for name in scope.links if naming.is_pci_address(name) and name not in self.links)
        return {name: f"there is no PCI device {name}" for name in missing}

    def add(self, link: Link) -> None:
        """Make a link; an OVS port that waits for its device gets it."""
        assert link.name not in self.links
        self.links[link.name] = replace(link, ifindex=next(self._numbers), up=False)
        waiting = self.ports.get(link.name)
        if waiting is not None and waiting.error:
            self.ports[link.name] = replace(waiting, ofport=next(self._numbers), error=None)

    def _set(self, name: str, values: dict[str, Any], owner: str) -> None:
        if values.get("alias"):
            values["owner"] = owner
        impeded = {key: value for key, value in self.links[name].impeded.items() if key not in values}
        fields = {key: value for key, value in values.items() if key not in passage.RIGHT}
        if "master" in values:
            fields = {"bridge_vlan": None, **fields}  # it is a port's, and goes with the port
        if passage.VLAN_FILTERING in values:
            fields[passage.VLAN_FILTERING] = values[passage.VLAN_FILTERING]
        self.links[name] = replace(self.links[name], impeded=impeded, **fields)

    def rename(self, old: str, new: str) -> None:
        """Give a link another name."""
        assert new not in self.links
        self.links[new] = replace(self.links.pop(old), name=new)
        for other in list(self.links.values()):
            if other.master == old:
                self.links[other.name] = replace(other, master=new)
            if other.peer == old:
                self.links[other.name] = other.replaced(peer=new)

    def remove(self, name: str) -> None:
        """Delete a link, and its veth peer. An OVS port on it keeps its ofport."""
        link = self.links.pop(name, None)
        peer = getattr(link, "peer", None)
        if peer:
            self.links.pop(peer, None)
        for other in [link for link in self.links.values() if link.master == name]:
            self.links[other.name] = replace(other, master=None, bridge_vlan=None)
        for other in [link for link in self.links.values() if link.netdev == name]:
            reason = f"there is no representor of PCI device {other.name}"
            gone = {"netdev": None, "mtu": None, "disable_ipv6": None, "up": None, "why_absent": reason}
            self.links[other.name] = other.replaced(**gone)

    def add_vmms_port(self, port: OvsPort) -> None:
        """Make a port as a VMM does, without vifplug's mark."""
        number = next(self._numbers)
        self.ports[port.name] = OvsPort(
            name=port.name, bridge=port.bridge, iface_ids=port.iface_ids, uuid=f"port-{number}", ofport=number
        )

    def _members(self, bridge: str) -> tuple[str, ...]:
        """Ports of a bridge that vifplug may have made, except patch ports."""
        if not naming.may_be_made(bridge):
            return ()
        return tuple(sorted(port.name for port in self.ports.values() if port.bridge == bridge and not port.is_patch))

    def _require_own_socket(self, port: OvsPort) -> None:
        """Like the privileged helper, refuse a vhost-user socket that another port has."""
        options = port.settings.get("options")
        path = options.get(_SOCKET) if isinstance(options, Mapping) else None
        for other in self.ports.values():
            if path and other.name != port.name and other.settings.get("options") == shown("options", options):
                raise Conflict(
                    f"the vhost-user socket {path!r} is that of OVS interface {other.name!r}; give each VIF its own",
                    other.name,
                )

    def _add_port(self, port: OvsPort) -> None:
        self._require_own_socket(port)
        qos = f"qos-{next(self._numbers)}" if port.qos_type else None
        if qos and port.qos_type:
            self.qos[qos] = Qos(uuid=qos, type=port.qos_type, owner=port.owner)
        there = port.name in self.links or not port.has_device
        self.ports[port.name] = replace(
            port,
            uuid=f"port-{next(self._numbers)}",
            ofport=next(self._numbers) if there else -1,
            error=None if there else NO_DEVICE,
            external_ids={**port.external_ids, "vifplug-vif": port.owner},
            qos=qos,
            settings={key: shown(key, value) for key, value in port.settings.items()},
        )


def _row(port: OvsPort) -> dict[str, Any]:
    """An OVS port as the privileged side describes it to a trace."""
    interface = {"name": port.name, "ofport": port.ofport, "error": port.error or "", "keys": dict(port.iface_ids)}
    return {
        **{"name": port.name, "tag": port.tag, "trunks": list(port.trunks), "vlan_mode": port.vlan_mode or ""},
        **{"owner": port.owner, "interfaces": [interface]},
    }
