"""Link operations: a list of them in, carried out in few sends.

A creation, its mark and its master are in one send. Creations of taps and deletions end a run (``batch``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vifplug import naming
from vifplug.errors import Conflict, LinkError, PermissionDenied, VifplugError
from vifplug.netlink import ethtool, links, vlans
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import CREATE, linkinfo, message, no_station, peer
from vifplug.privileged import adoption, arguments, ownership
from vifplug.privileged.links import attributes, configure, datapath, sysctl, tap
from vifplug.privileged.links import delete as delete
from vifplug.privileged.links import errors as link_errors
from vifplug.privileged.links import rename as rename
from vifplug.privileged.links.batch import Run
from vifplug.privileged.ovsdb import verbs as ovsdb
from vifplug.resources import kinds, passage
from vifplug.resources import link as link_kind
from vifplug.resources.contract import Creation, Relation, Role
from vifplug.resources.link import Link
from vifplug.resources.ownership import OVS_MASTER
from vifplug.resources.schema import How, Place

Operation = Mapping[str, Any]

_CREATE = "create-"
_ONE_QUEUE = [("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1)]
"""Of each end of a pair. By default the kernel allocates one per possible processor and uses the first alone
(veth_init_queues). With two processors `ip -batch` makes a pair in 118 us instead of 145 (four times
300)."""


def runs(operations: Sequence[Operation]) -> Iterator[Run]:
    """Carry out link operations in order, until one fails; the caller undoes what was done.

    :returns: runs that the caller must create and finish, each before it takes the next one.
    :raises VifplugError: with the number of the failed operation in its ``step``.
    """
    run = Run()
    number = 0
    try:
        for number, operation in enumerate(operations):
            match operation["op"]:
                case "set":
                    _set(run, number, operation)
                case "configure":
                    _configure(run, number, operation)
                case "rename":
                    yield run
                    rename.rename(operation)
                case "free":
                    yield run
                    _free(operation)
                case "join":
                    _join(run, number, operation)
                case "forget-station":
                    _forget_station(run, number, operation)
                case "delete":
                    yield run
                    delete.delete(operation)
                case other:
                    yield from _create(run, number, operation, _kind_made_by(other))
        yield run
    except (LinkError, PermissionDenied, Conflict) as error:
        raise error.at_step(str(number)) from error
    except VifplugError:
        raise
    except Exception as error:
        raise link_errors.of_library(error, operations[number], number) from error


def _kind_made_by(verb: Any) -> type[Link]:
    """The kind that an operation ``create-KIND`` makes.

    :raises PermissionDenied: for any other operation, and for a kind that cannot be made.
    """
    name = verb.removeprefix(_CREATE) if isinstance(verb, str) and verb.startswith(_CREATE) else ""
    kind = kinds.link_of(name)
    if kind.creation is Creation.NEVER or kind.relation is not Relation.OWNED:
        raise arguments.refuse("the link operation", verb)
    return kind


def _create(run: Run, number: int, operation: Operation, kind: type[Link]) -> Iterator[Run]:
    match kind.creation:
        case Creation.MESSAGE:
            _create_link(run, number, operation, kind)
        case Creation.PAIR:
            _create_pair(run, number, operation, kind)
        case Creation.TAP:
            yield run
            _create_tap(operation, kind)


class _Made(NamedTuple):
    """A link that is to be created."""

    name: str
    owner: str
    role: Role
    has_port: bool
    """Whether its port is there already, on a userspace datapath: ovs-vswitchd may open it at any moment, and set its
    flags. On the kernel's datapath it sets none."""


def _made_by(operation: Operation, kind: type[Link]) -> _Made:
    """A link that is to be created.

    :raises PermissionDenied: the link or its owner cannot have that role.
    """
    name, owner = arguments.name(operation["name"]), arguments.owner(operation["owner"])
    part = arguments.part(operation["role"])
    is_network = owner.startswith(naming.NETWORK_PREFIX)
    if part.kind is not kind or is_network != part.role.of_network:
        raise arguments.refuse("the role of a new link", part.role.name)
    return _Made(name, owner, part.role, ovsdb.refuse_foreign_port(name, owner))


def _birth_address(address: Any, owner: str, role: str) -> str:
    """The MAC that a bridge or veth end is created with, which is its first mark.

    :raises PermissionDenied: for any other.
    """
    if arguments.address(address) != naming.birth_address(owner, role):
        raise arguments.refuse("the MAC address of a new link", address)
    return str(address)


def _create_link(run: Run, number: int, operation: Operation, kind: type[Link]) -> None:
    name, owner, role, _has_port = _made_by(operation, kind)
    address = _birth_address(operation["address"], owner, role.name)
    at_link, in_data = _lower_device(run, operation, kind)
    data = attributes.data_of(kind, operation, in_data)
    *before, mtu = attributes.pinning(kind, arguments.mtu(operation["mtu"]))
    index = run.make(name, owner)
    attrs = [("IFLA_IFNAME", name), ("IFLA_ADDRESS", address), *at_link, data]
    run.early.append((number, message(index, attrs, flags=CREATE)))
    run.early += [(number, message(index, [("IFLA_MTU", other)])) for other in before]
    run.mark(number, name, [*_mark(run, operation, owner, role), ("IFLA_MTU", mtu)])


def _mark(run: Run, operation: Operation, owner: str, role: Role) -> list[tuple[str, Any]]:
    """The alias of a new link, and the bridge that it joins at its creation."""
    master = operation.get("master")
    if not master:
        return [("IFLA_IFALIAS", naming.alias(owner))]
    if not role.joins_bridge:
        raise arguments.refuse(f"for a link of role {role.name!r} the master", master)
    return [("IFLA_IFALIAS", naming.alias(owner)), ("IFLA_MASTER", run.master(master, owner, role.name))]


def _lower_device(
    run: Run, operation: Operation, kind: type[Link]
) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """The attribute that names the lower device of a link that is made on another one: its owner's, or one that the
    configuration lists. Either IFLA_LINK, or an attribute of the kind's own data.

    :raises PermissionDenied: for any other.
    :raises LinkError: it does not exist.
    """
    lower = kind.attributes.by_name.get("lower")
    if lower is None or lower.wire is None:
        return [], []
    name, owner = arguments.link_there(operation[lower.name]), operation["owner"]
    if run.owners.get(name) == owner:
        index = run.made[name]
    else:
        link = ownership.read(name)
        if link is None:
            raise LinkError(f"could not find device {name!r} below {operation['name']!r}: no such device", name)
        if not configure.may_be_lower(name, link, kind) and ownership.owner_by_mark(link) != owner:
            raise PermissionDenied(
                f"refused to make a link on device {name!r}, which the configuration does not list", name
            )
        index = int(link["ifindex"])
    named = [(lower.wire.name, index)]
    return ([], named) if lower.wire.place is Place.DATA else (named, [])


def _create_pair(run: Run, number: int, operation: Operation, kind: type[Link]) -> None:
    ends = []
    made = [_made_by(end, kind) for end in operation["ends"]]
    if len(made) != 2 or made[0].owner != made[1].owner or made[0].role == made[1].role:
        raise arguments.refuse("the ends of a pair", made)
    for (name, owner, role, _has_port), end in zip(made, operation["ends"], strict=True):
        run.make(name, owner)
        run.pairs.add(name)
        ends.append(
            [
                ("IFLA_IFNAME", name),
                ("IFLA_ADDRESS", _birth_address(end["address"], owner, role.name)),
                ("IFLA_MTU", arguments.mtu(end["mtu"])),
                *_ONE_QUEUE,
            ]
        )
    near, far = (run.made[each.name] for each in made)
    # Promiscuous from its creation: a program that opens it before it is up (vswitchd, whose port may exist already)
    # then sets no flags. vswitchd writes flags back as it first read them, and "up" would be lost.
    at_birth = attributes.PROMISCUOUS
    attrs = [*ends[0], linkinfo(kind.wire_kind, [peer(far, ends[1], link_flags=at_birth)])]
    run.creations.append((number, message(near, attrs, flags=CREATE, link_flags=at_birth, change=at_birth)))
    for (name, owner, role, _has_port), end in zip(made, operation["ends"], strict=True):
        run.mark(number, name, _mark(run, end, owner, role))


def _set(run: Run, number: int, operation: Operation) -> None:
    name, values = arguments.name(operation["name"]), operation["values"]
    kind, link = arguments.part(operation["role"]).kind, None
    attributes.refuse_unknown(kind.attributes, (key for key in values if key not in passage.OF_ANY_LINK))
    if name in run.made and run.owners[name] == operation["owner"]:
        index = run.made[name]
    else:
        link = _link_to_set(operation)
        if link is None:
            raise LinkError(f"could not change link {name!r}: no such device", name)
        index = int(link["ifindex"])
    _set_attributes(run, number, operation, index, link)


def _configure(run: Run, number: int, operation: Operation) -> None:
    """Set attributes of another program's link that the configuration lists."""
    link, values = configure.values_of(operation, _guests_tap(operation))
    if "part" in link:
        part = link["part"]
        for attrs in attributes.in_entry(part, values):
            run.early.append((number, message(part.function.ifindex, [attrs])))
    elif values:
        name = link.get("netdev") or operation["name"]
        _set_attributes(run, number, {**operation, "name": name, "values": values}, int(link["ifindex"]), link)


def _guests_tap(operation: Operation) -> dict[str, Any] | None:
    """The tap of a VIF's guest that is to be configured, by the name that only that VIF's gets; on no bridge, or on the
    one that it is for. None if it does not exist, or if the operation is about another device.

    :raises PermissionDenied: it is no tap of that guest.
    """
    if not arguments.part(operation["role"]).kind.is_guests:
        return None
    name, owner = arguments.link_there(operation["name"]), arguments.owner(operation["owner"])
    link = ownership.read(name)
    if link is None:
        return None
    master = operation["values"].get("master")
    joins = master is not None and link["master"] not in (None, master)
    has_name = name == naming.device(naming.ROLE_TAP, owner)
    bridge = ownership.read(link["master"]) if link["master"] is not None else None
    if bridge is not None and not ownership.owner_by_mark(bridge) and not configure.may_take_over(bridge["name"]):
        raise PermissionDenied(
            f"refused to configure device {name!r}: it is on {bridge['name']!r}, another program's bridge, which "
            "[bridge] adopted_bridges does not list",
            name,
        )
    if joins or not has_name or not adoption.is_guests({**link, "master": None}, owner, None):
        raise PermissionDenied(f"refused to configure device {name!r}: it is not the tap of {owner}'s guest", name)
    return link


def _set_attributes(run: Run, number: int, operation: Operation, index: int, link: Mapping[str, Any] | None) -> None:
    """Set all attributes of one link, in the order of ``schema.How``.

    :param link: as read; None for one that this run makes.
    """
    name, values, kind = operation["name"], operation["values"], arguments.part(operation["role"]).kind
    rejoins = attributes.rejoins(values, link)
    if rejoins:
        run.early.append((number, message(index, change=attributes.UP)))
    for attrs in attributes.before_up(run, operation, kind):
        run.early.append((number, message(index, attrs)))
    of_network = arguments.part(operation["role"]).role.of_network
    run.early += [(number, msg) for msg in attributes.vlan_of_port(index, values, of_network=of_network)]
    early, late = attributes.freed(index, values, link)
    for attribute in kind.attributes.set_by(How.FORWARDING):
        if attribute.name in values:
            early += attributes.peers(index, values[attribute.name], attribute, link)
    run.early += [(number, msg) for msg in early]
    run.set_with_mark(number, name, index, attributes.with_mark(values, kind))
    for attribute in kind.attributes.set_by(How.SYSCTL):
        if attribute.name in values:
            amount = int(arguments.value_of(attribute, values[attribute.name]))
            run.middle.append((number, _sysctl(name, attribute.name, amount)))
    for attribute in kind.attributes.set_by(How.ETHTOOL):
        if attribute.name in values:
            run.middle.append((number, _offload(name, arguments.value_of(attribute, values[attribute.name]))))
    if any(attribute.name in values for attribute in kind.attributes.set_by(How.TAP)):
        run.middle.append((number, _tap_owner(name, operation, kind)))
    link_flags, change = attributes.flags({"up": True, **values} if rejoins else values, kind)
    if change:
        run.late.append((number, message(index, link_flags=link_flags, change=change)))
    run.late += [(number, msg) for msg in late]


def _link_to_set(operation: Operation) -> dict[str, Any] | None:
    """The owner's link; or an unmarked one that this operation marks as the owner's (decision 0002).

    :raises Conflict: for any other; it was left alone.
    """
    link = ownership.read(operation["name"])
    if link is None or ownership.is_ours(link, operation):
        return link
    is_to_be_marked = operation.get("adopt") is True and bool(operation["values"].get("alias"))
    if is_to_be_marked and adoption.is_allowed(link, ownership.claim(link, operation)):
        return link
    raise ownership.not_ours(link, arguments.owner(operation["owner"]))


def _free(operation: Operation) -> None:
    """Take a representor out of the kernel's datapath, which has it unknown to ovs-vswitchd.

    :raises PermissionDenied: for a function that the configuration does not list, for a port that is open or another
        owner's, and where another program's has one of its alternative names, by which ovs-vswitchd opens it.
    """
    owner, device = arguments.owner(operation["owner"]), arguments.link_there(operation["netdev"])
    link = configure.listed_representor(operation["name"], device)
    others = [
        name for name in links.alternative_names(ownership.socket(), device) if ovsdb.is_foreign_port(name, owner)
    ]
    if others or not ovsdb.is_lost(device, owner):
        raise PermissionDenied(f"refused to free {device!r}: it is a port of Open vSwitch", device)
    datapath_device = ownership.read(OVS_MASTER)
    if datapath_device is not None and link["master"] == OVS_MASTER:
        datapath.free(device, int(datapath_device["ifindex"]))


def _join(run: Run, number: int, operation: Operation) -> None:
    """Put the VMM's tap, which is on no bridge, on a bridge of its VIF, or of its VIF's network."""
    bridge, guest = arguments.name(operation["name"]), arguments.name(operation["guest"])
    owner, vif_id = arguments.owner(operation["owner"]), arguments.owner(operation["vif_id"])
    if owner != vif_id and not owner.startswith(naming.NETWORK_PREFIX):
        raise PermissionDenied(f"refused to put {guest!r} on bridge {bridge!r}: that is another VIF's", guest)
    index = run.made[bridge] if run.owners.get(bridge) == owner else None
    if index is None:
        there = ownership.link_of(operation)
        if there is None:
            raise LinkError(f"could not put {guest!r} on bridge {bridge!r}: no such device", bridge)
        index = int(there["ifindex"])
    link = ownership.read(guest)
    if link is None or link["ifindex"] != operation["guest_ifindex"] or link["master"] not in (None, bridge):
        return  # deleted, recreated or moved meanwhile, which only the VMM may do
    if not adoption.is_guests({**link, "master": None}, vif_id, operation.get("guest_address")):
        raise PermissionDenied(f"refused to put {guest!r} on bridge {bridge!r}: it is not a guest's tap", guest)
    if link["master"] is None:
        run.early.append((number, message(int(link["ifindex"]), [("IFLA_MASTER", index)])))
    if operation.get("guest_vlan") is not None:
        vlan = int(arguments.value_of(link_kind.BRIDGE_VLAN, operation["guest_vlan"]))
        run.early += [(number, msg) for msg in vlans.access(int(link["ifindex"]), vlan)]


def _forget_station(run: Run, number: int, operation: Operation) -> None:
    """Delete an entry of the forwarding table: of a bridge of the owner's, or on a tap of the owner's."""
    link, port = ownership.link_of(operation), ownership.read(arguments.name(operation["port"]))
    address = arguments.address(operation["station"])
    if link is None or port is None:
        return  # the entry was deleted with its port
    is_bridges = port["ifindex"] == link["ifindex"] and kinds.has_members(link["kind"])
    if not is_bridges and port["ifindex"] != link["ifindex"] and port["master"] != link["name"]:
        raise PermissionDenied(f"refused to change the forwarding table at {port['name']!r}: not {link['name']!r}'s")
    run.late.append((number, no_station(int(port["ifindex"]), address, of_bridge=is_bridges)))


def _sysctl(name: str, key: str, value: int) -> Callable[[], None]:
    return lambda: sysctl.write(name, key, value)


def _offload(name: str, on: bool) -> Callable[[], None]:
    return lambda: ethtool.set_tx_checksum(ownership.socket(), name, on)


def _tap_owner(name: str, operation: Operation, kind: type[Link]) -> Callable[[], None]:
    values = operation["values"]
    uid, gid = _owner_of_tap(values, kind)

    def give() -> None:
        with tap.opened(name, arguments.flag("multiqueue", operation["multiqueue"]), create=False) as descriptor:
            tap.give(descriptor, name, uid, gid)

    return give


def _owner_of_tap(values: Mapping[str, Any], kind: type[Link]) -> tuple[int | None, int | None]:
    """The user and group that may open a tap."""
    uid, gid = (
        None if values.get(key) is None else int(arguments.value_of(kind.attributes[key], values[key]))
        for key in ("uid", "gid")
    )
    return uid, gid


def _create_tap(operation: Operation, kind: type[Link]) -> None:
    name, owner, _role, has_port = _made_by(operation, kind)
    address, mtu = arguments.address(operation["address"]), arguments.mtu(operation["mtu"])
    uid, gid = _owner_of_tap(operation, kind)
    with tap.opened(name, arguments.flag("multiqueue", operation["multiqueue"]), create=True) as descriptor:
        tap.set_address(descriptor, name, address)
        link = ownership.read(name)
        if link is None:
            raise LinkError(f"could not create tap {name!r}: it vanished", name)
        index = int(link["ifindex"])
        # As for a pair: vswitchd writes flags back as it first read them, unless it finds this one set.
        flags = attributes.PROMISCUOUS if has_port else 0
        marking = message(index, [("IFLA_IFALIAS", naming.alias(owner))], link_flags=flags, change=flags)
        try:
            ownership.socket().change([marking, message(index, [("IFLA_MTU", mtu)])])
        except netlink.Refused as error:
            raise LinkError(f"could not create tap {name!r}: {error.text}", name) from error
        sysctl.write(name, "disable_ipv6", 1)
        sysctl.write(name, "accept_ra", 0)
        tap.give(descriptor, name, uid, gid)
        tap.keep(descriptor, name)
        ownership.remember(int(link["ifindex"]), owner)
