"""Actions: one change each, frozen, printable, with its inverse. No behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from vifplug.model.printable import in_words as in_words
from vifplug.resources import passage
from vifplug.resources.link import BRIDGE_VLAN, Link
from vifplug.resources.observed import Station
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import DEAD_VLAN, OvsPort, Vlans, shown

Plane = Literal["links", "ports", "filters"]
Change = tuple[str, Any, Any]
"""Attribute, before, after."""


@dataclass(frozen=True, slots=True)
class Action:
    """One change to one thing."""

    verb: ClassVar[str] = ""
    plane: ClassVar[Plane] = "links"

    @property
    def name(self) -> str:
        """The action's name in a plan's JSON."""
        return self.verb

    @property
    def subject(self) -> str:
        """The device or port it changes."""
        raise NotImplementedError

    def inverse(self) -> Action | None:
        """The action that undoes this one; None if nothing needs to be undone."""
        raise NotImplementedError

    def as_json(self) -> dict[str, str]:
        """``{"action", "subject", "text"}``."""
        return {"action": self.name, "subject": self.subject, "text": str(self)}


@dataclass(frozen=True, slots=True)
class CreateLink(Action):
    """Create a link, down and without IPv6 settings; of a pair both ends, and put them on their masters."""

    link: Link
    other: Link | None = None
    """The other end of a pair."""

    @property
    def name(self) -> str:
        return f"create-{self.link.kind}"

    @property
    def links(self) -> tuple[Link, ...]:
        """All links that it creates."""
        return (self.link,) if self.other is None else (self.link, self.other)

    @property
    def subject(self) -> str:
        return self.link.name

    def __str__(self) -> str:
        return self.link.creation_in_words(self.other)

    def inverse(self) -> Action:
        return DeleteLinks(self.links)


@dataclass(frozen=True, slots=True)
class RenameLink(Action):
    """Give a link of ours its recorded name back, after another program renamed it."""

    verb: ClassVar[str] = "rename-link"
    link: Link
    """With the ifindex that identifies it; its name is the new one."""
    old: str

    @property
    def subject(self) -> str:
        return self.link.name

    def __str__(self) -> str:
        return f"rename {self.link.kind} {self.old} to {self.link.name}"

    def inverse(self) -> Action:
        return RenameLink(replace(self.link, name=self.old), self.link.name)


@dataclass(frozen=True, slots=True)
class SetLink(Action):
    """Correct attributes of a link, in place."""

    verb: ClassVar[str] = "set-link"
    link: Link
    """As desired."""
    changes: tuple[Change, ...]
    adopt: bool = False
    """Another program recreated the link under a recorded name, and it carries no mark."""

    @property
    def subject(self) -> str:
        return self.link.name

    def __str__(self) -> str:
        words = ", ".join(f"{attribute} {in_words(after)}" for attribute, _before, after in self.changes)
        return f"set {self.link.name}: {words}"

    def inverse(self) -> Action | None:
        back = tuple(
            (attribute, after, before)
            for attribute, before, after in self.changes
            if _returns(attribute, before, after)
        )
        return replace(self, changes=back, adopt=False) if back else None


@dataclass(frozen=True, slots=True)
class ConfigureLink(Action):
    """Set attributes of another program's link. The link is as desired, with its former values."""

    verb: ClassVar[str] = "configure-link"
    link: Link
    changes: tuple[Change, ...]
    puts_back: bool = False
    """Apply each change only if the link still has the value that it is changed from."""

    @property
    def subject(self) -> str:
        return self.link.name

    def __str__(self) -> str:
        words = ", ".join(f"{attribute} {in_words(after)}" for attribute, _before, after in self.changes)
        return f"{'put back' if self.puts_back else 'configure'} {self.link.kind} {self.link.name}: {words}"

    def inverse(self) -> Action | None:
        return None if self.puts_back else replace(self, changes=_swapped(self.changes), puts_back=True)


@dataclass(frozen=True, slots=True)
class JoinGuest(Action):
    """Put the VMM's tap back on the bridge it was on."""

    verb: ClassVar[str] = "join-guest"
    bridge: Link
    ifindex: int
    vif_id: str

    @property
    def subject(self) -> str:
        return self.bridge.guest

    def __str__(self) -> str:
        vlan = f" in vlan {self.bridge.guest_vlan}" if self.bridge.guest_vlan is not None else ""
        return f"put {self.bridge.guest} back on bridge {self.bridge.name}{vlan}"

    def inverse(self) -> None:
        # A bridge that this plan creates takes the tap with it; on an existing bridge the tap is where it belongs.
        return None


@dataclass(frozen=True, slots=True)
class ForgetStation(Action):
    """Delete an entry of a Linux bridge's forwarding table that keeps frames from the guest."""

    verb: ClassVar[str] = "forget-station"
    link: Link
    """The bridge if it is ours, else the tap that the entry is on."""
    station: Station

    @property
    def subject(self) -> str:
        return self.station.bridge

    def __str__(self) -> str:
        entry = self.station
        return f"delete {entry.kind} entry {entry.address} on {entry.port} from bridge {entry.bridge}"

    def inverse(self) -> None:
        # Another program made the entry, and it stopped a guest's frames.
        return None


@dataclass(frozen=True, slots=True)
class DeleteLinks(Action):
    """Delete links of ours, as one group; an absent link counts as deleted."""

    verb: ClassVar[str] = "delete-links"
    links: tuple[Link, ...]

    @property
    def subject(self) -> str:
        return self.links[0].name

    def __str__(self) -> str:
        return f"delete {', '.join(f'{link.kind} {_present(link)}' for link in self.links)}"

    def inverse(self) -> Action | None:
        # A plan deletes only broken or unneeded links; there is no sound state to go back to.
        return None


@dataclass(frozen=True, slots=True)
class PortAction(Action):
    """A change to an OVS port."""

    plane: ClassVar[Plane] = "ports"
    port: OvsPort

    @property
    def subject(self) -> str:
        return self.port.name


@dataclass(frozen=True, slots=True)
class AddPort(PortAction):
    """Add a port to an OVS bridge, with its ids, isolation and QoS in the same transaction."""

    verb: ClassVar[str] = "add-port"
    again: bool = False
    """The port existed before: it gets the VLANs that were last observed on it, or is dead until it is wired again."""

    @property
    def restored(self) -> str:
        """What the port gets back of another program's settings, as text; "" if nothing."""
        return _vlans(self.port) if self.again else ""

    def __str__(self) -> str:
        port = self.port
        words = [f"add port {port.name} to OVS bridge {port.bridge}"]
        if port.vlan is not None:
            words.append(f"vlan {port.vlan}")
        elif port.isolate:
            words.append(f"isolated (tag {DEAD_VLAN})")
        elif self.restored:
            words.append(f"with {self.restored}")
        if port.qos_type:
            words.append(f"qos {port.qos_type}")
        if port.settings:
            words.append(f"with {_columns(port.settings)}")
        return " ".join(words)

    def inverse(self) -> Action:
        return DeletePort(self.port, as_added=True)


@dataclass(frozen=True, slots=True)
class SetPort(PortAction):
    """Correct ids of a port, in place; other programs' keys stay. The port is as desired."""

    verb: ClassVar[str] = "set-port"
    iface_changes: tuple[Change, ...] = ()
    port_changes: tuple[Change, ...] = ()
    emptied: tuple[str, ...] = ()
    """Columns that are reset to what the port's creation leaves in them."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Columns that are set to what the request asks for."""
    former: Mapping[str, Any] = field(default_factory=dict)
    """The port's former values of columns that were as recorded, None for an empty one; the inverse restores them.
    Another program's values are not restored: the helper accepts none for these columns."""
    again: bool = False
    """Another program recreated its row: it gets its VLANs as ``AddPort`` gives them, unless it has some by then."""
    vlans: tuple[Vlans, Vlans] | None = None
    """VLANs of vifplug's: those that the inverse sets, and those that the port gets, whatever it has."""

    @property
    def restored(self) -> str:
        """What the port gets back of another program's settings, as text; "" if nothing."""
        return _vlans(self.port) if self.again else ""

    def __str__(self) -> str:
        changes = [(key, after) for key, _before, after in (*self.port_changes, *self.iface_changes)]
        ids = ", ".join(f"{key} {in_words(after)}" for key, after in changes)
        columns = _columns({**self.given, **dict.fromkeys(self.emptied)})
        own = f"vlan {in_words(self.port.vlan)}" if self.vlans is not None else ""
        words = ", ".join(part for part in (ids, columns, own, self.restored) if part)
        return f"set port {self.port.name}: {words}"

    def inverse(self) -> Action:
        iface, own = _swapped(self.iface_changes), _swapped(self.port_changes)
        given = {column: value for column, value in self.former.items() if value is not None}
        emptied = tuple(column for column in self.former if column not in given)
        back = replace(self, iface_changes=iface, port_changes=own, emptied=emptied, given=given, former={})
        return replace(back, again=False, vlans=self.vlans and self.vlans[::-1])


@dataclass(frozen=True, slots=True)
class MovePort(PortAction):
    """Move a port from one OVS bridge to another, with its row."""

    verb: ClassVar[str] = "move-port"
    source: str

    def __str__(self) -> str:
        return f"move port {self.port.name} from OVS bridge {self.source} to {self.port.bridge}"

    def inverse(self) -> Action:
        return MovePort(replace(self.port, bridge=self.source), self.port.bridge)


@dataclass(frozen=True, slots=True)
class ReattachPort(PortAction):
    """Make vswitchd reopen a port's device, which was recreated under the same name."""

    verb: ClassVar[str] = "reattach-port"
    if_closed: bool = False
    """Only if vswitchd has not reopened it by itself: it held no device because none existed, so what it holds is
    new."""

    def __str__(self) -> str:
        unless = " unless ovs-vswitchd has opened its device by then" if self.if_closed else ""
        return f"re-attach port {self.port.name} on OVS bridge {self.port.bridge}{unless}"

    def inverse(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class DeletePort(PortAction):
    """Delete a port of ours; an absent port counts as deleted. The port is as observed, so that it can be recreated."""

    verb: ClassVar[str] = "delete-port"
    as_added: bool = False
    """Delete only the row that ``AddPort`` made, and its QoS: another program may have taken the name before."""

    def __str__(self) -> str:
        return f"delete port {self.port.name} from OVS bridge {self.port.bridge}"

    def inverse(self) -> Action:
        # The port's QoS row stays until the VIF is unplugged, and is reused.
        return AddPort(replace(self.port, isolate=False, qos_type=None))


@dataclass(frozen=True, slots=True)
class DeleteQos(Action):
    """Delete an owner's QoS rows."""

    verb: ClassVar[str] = "delete-qos"
    plane: ClassVar[Plane] = "ports"
    owner: str

    @property
    def subject(self) -> str:
        return self.owner

    def __str__(self) -> str:
        return f"delete QoS of {self.owner}"

    def inverse(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class BridgeAction(Action):
    """A change to an OVS bridge that vifplug makes."""

    plane: ClassVar[Plane] = "ports"
    bridge: OvsBridge

    @property
    def subject(self) -> str:
        return self.bridge.name


@dataclass(frozen=True, slots=True)
class AddBridge(BridgeAction):
    """Create an OVS bridge, with its mark and with the datapath of another bridge."""

    verb: ClassVar[str] = "add-bridge"

    def __str__(self) -> str:
        return f"add OVS bridge {self.bridge.name} datapath {self.bridge.datapath}"

    def inverse(self) -> Action:
        return DeleteBridge(self.bridge)


@dataclass(frozen=True, slots=True)
class SetBridge(BridgeAction):
    """Reset an OVS bridge to what its creation leaves."""

    verb: ClassVar[str] = "set-bridge"
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        words = ", ".join(f"{key} {in_words(after)}" for key, _before, after in self.changes)
        return f"set OVS bridge {self.bridge.name}: {words}"

    def inverse(self) -> None:
        # What another program set on a bridge of ours is not restored.
        return None


@dataclass(frozen=True, slots=True)
class DeleteBridge(BridgeAction):
    """Delete an OVS bridge that vifplug made, unless a port of another program is on it; absent counts as deleted."""

    verb: ClassVar[str] = "delete-bridge"

    def __str__(self) -> str:
        return f"delete OVS bridge {self.bridge.name}"

    def inverse(self) -> Action:
        return AddBridge(self.bridge)


def _present(link: Link) -> str:
    return f"{link.called} (renamed from {link.name})" if link.called else link.name


def _columns(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{column} {in_words(shown(column, value))}" for column, value in values.items())


def _vlans(port: OvsPort) -> str:
    if port.tag == DEAD_VLAN:
        return f"tag {DEAD_VLAN} (dead until it is wired again)"
    given = [("tag", port.tag), ("vlan_mode", port.vlan_mode), ("trunks", ",".join(map(str, port.trunks)))]
    named = ", ".join(f"{key} {value}" for key, value in given if value not in (None, ""))
    return f"{named} as last seen" if named else ""


def _returns(attribute: str, before: Any, after: Any) -> bool:
    """Whether an undo restores the former value: not if there was none, nor another program's bridge for a link that is
    to be on none, nor a value that consists of more than its name."""
    if attribute == "master":  # None means no master; for all other attributes, that the value could not be read
        return after is not None
    if attribute == BRIDGE_VLAN.name and not isinstance(before, int):
        return False  # another program's VLANs
    return before is not None and attribute not in passage.FINAL


def _swapped(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    return tuple((key, after, before) for key, before, after in changes)
