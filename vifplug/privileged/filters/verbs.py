"""Filter operations: a list of them in, carried out in one transaction; what differs from some filters; the owners.

The caller names a VIF, its device, MACs and addresses; the rules are made here, and no other table is touched. A filter
is for a device that is the VIF's own, or that only a tap of its guest can be: the caller may be compromised.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import Conflict, FilterError, LinkError, VifplugError
from vifplug.netlink import links
from vifplug.netlink import nftables as nft
from vifplug.netlink.message import attribute
from vifplug.netlink.nftables import Element, Part, Set
from vifplug.privileged import arguments, ownership
from vifplug.privileged.filters import known, rules, tables
from vifplug.privileged.filters.rules import GUESTS, Wanted
from vifplug.privileged.links import configure
from vifplug.privileged.ovsdb import verbs as ovsdb
from vifplug.resources import ownership as rule
from vifplug.resources.nftables import filter as filters
from vifplug.resources.nftables.filter import TABLE

Operation = Mapping[str, Any]

_PAIRS_MAX = 4096
_PATH = (naming.ROLE_BRIDGE, naming.ROLE_BRIDGE_END, naming.ROLE_PORT_END)
"""The other devices of a VIF, by which one that another program plugged is known."""
_FEW = 16
"""Filters of which each element that is read is compared with each one's device."""
_TRIES = 10
_CHANGED_MEANWHILE = (errno.ERESTART, errno.ENOENT, errno.EEXIST, errno.EINTR)
"""Another program changed the ruleset between the look at it and the transaction."""


def change(operations: Sequence[Operation]) -> None:
    """Carry out operations in one transaction: all of them, or none.

    :raises VifplugError: with the number of the operation as ``step``, if it is due to one.
    """
    puts: list[Wanted] = []
    going: list[tuple[int, str]] = []
    for number, operation in enumerate(operations):
        try:
            match operation["op"]:
                case "put":
                    wanted = wanted_of(operation)
                    _require_own_device(wanted)
                    puts.append(wanted)
                case "delete":
                    going.append((_family(operation["place"]), _vif_id(operation["owner"])))
                case other:
                    raise arguments.refuse("the filter operation", other)
        except VifplugError as error:
            raise error.at_step(str(number)) from error
    try:
        with tables.lock:
            _commit(puts, going)
    except OSError as error:
        text = error.strerror or str(error)
        subject = puts[0].device if puts else ""
        raise FilterError(f"could not change {tables.title(_families(puts)[0])}: {text}", subject) from error


def _families(puts: Sequence[Wanted]) -> list[int]:
    return [family for family in rules.FAMILIES if any(wanted.family == family for wanted in puts)] or [nft.BRIDGE]


def _commit(puts: Sequence[Wanted], going: Sequence[tuple[int, str]]) -> None:
    for attempt in range(_TRIES):
        try:
            generation = _woken({wanted.family for wanted in puts})
            parts, right = _transaction(puts, going, generation, is_repeated=attempt > 0)
            tables.channel.commit(parts, generation)
        except OSError as error:
            if attempt == _TRIES - 1 or error.errno not in _CHANGED_MEANWHILE:
                raise
            continue
        if parts:
            known.changed(generation, right, puts, going)
        return


def _transaction(
    puts: Sequence[Wanted], going: Sequence[tuple[int, str]], generation: int, *, is_repeated: bool
) -> tuple[list[Part], list[int]]:
    """The messages, and the families whose tables are right by then.

    :param is_repeated: whether the kernel refused those of another try.
    """
    parts: list[Part] = []
    right: list[int] = []
    for family in rules.FAMILIES:
        of_family = [wanted for wanted in puts if wanted.family == family]
        leaving = [vif_id for of, vif_id in going if of == family]
        if not of_family and not leaving:
            right += [family] if known.is_table(family, generation) else []
            continue
        own = list(_parts(family, of_family, leaving, generation, is_repeated=is_repeated))
        is_gone = any(kind == nft.DELETE_TABLE for kind, *_rest in own)
        right += [family] if of_family or not (is_gone or tables.fault(family, generation)) else []
        parts += own
    return parts, right


def _woken(families: Collection[int]) -> int:
    """End the dormancy of tables, which the kernel does not do in a transaction that adds a chain.

    :returns: the present generation.
    """
    generation = tables.channel.generation()
    asleep = [family for family in families if tables.fault(family, generation) == tables.dormant(family)]
    if not asleep:
        return generation
    tables.channel.commit([rules.table(family) for family in asleep])
    return tables.channel.generation()


def _parts(
    family: int, puts: Sequence[Wanted], going: Sequence[str], generation: int, *, is_repeated: bool
) -> Iterator[Part]:
    """The messages that make the filters of one family as they should be, and delete those of VIFs."""
    fault = tables.fault(family, generation)
    is_missing = fault == tables.missing(family)
    if going and not is_missing:
        yield from _unmade(family, going, puts)
    if not puts:
        return
    if is_missing:
        yield from rules.built(family)
    elif fault:
        yield from _rebuilt(family)
    # A set of another kind has no such keys: the kernel would refuse the question (EINVAL).
    can_ask = not fault or (not is_missing and tables.sets_there(family).get(GUESTS, False))
    for wanted in puts:
        is_new = is_missing or wanted.owner in going
        elements = wanted.elements()
        is_known = can_ask and not is_new and any(tables.elements_there(family, {GUESTS: elements[GUESTS]})[GUESTS])
        if is_known:
            stale, elements = _differences(elements, _of_device(wanted, is_right=not fault))
            yield from rules.without_elements(family, stale)
        yield from rules.with_elements(family, elements)
        if wanted.chain:
            # Its device may be another one, and the kernel changes no hook in place.
            may_exist = is_known or (is_repeated and not is_new)
            yield from rules.unbound(wanted.chain) if may_exist and tables.chain(wanted.chain) is not None else ()
            yield from rules.bound(wanted.chain, wanted.device)


def _of_device(wanted: Wanted, *, is_right: bool) -> dict[Set, list[Element]]:
    """All elements about a device, of any program.

    :param is_right: whether all sets are known to be right; one of another kind is made again, without elements.
    """
    device = rules.device_in_key(wanted.device)
    there = tables.all_elements(wanted.family, [device])
    kept = there.keys() if is_right else [own for own, is_set in tables.sets_there(wanted.family).items() if is_set]
    return {
        own: [part for part in parts if part.key.startswith(device)] if own in kept else []
        for own, parts in there.items()
    }


def _differences(
    wanted: Mapping[Set, Sequence[Element]], there: Mapping[Set, Sequence[Element]]
) -> tuple[dict[Set, list[Element]], dict[Set, list[Element]]]:
    """What is there and not wanted; and what is wanted and not there."""
    stale = {own: [part for part in parts if part not in wanted[own]] for own, parts in there.items()}
    missing = {own: [part for part in parts if part not in there[own]] for own, parts in wanted.items()}
    return stale, missing


def _rebuilt(family: int) -> Iterator[Part]:
    """The messages that make a changed table as it should be. Sets keep their elements, unless they are of another
    kind."""
    yield rules.table(family)
    chains = rules.CHAINS[family]
    questions = [(nft.GET_CHAIN, family, nft.chain(TABLE, chain)) for chain in chains]
    there = dict(zip(chains, tables.channel.ask(questions), strict=True))
    for chain, answer in there.items():
        if answer is not None:
            yield nft.deleted(nft.DELETE_RULE, family, nft.rules_of(TABLE, chain))
    for own, is_right in tables.sets_there(family).items():
        if not is_right:
            yield nft.deleted(nft.DELETE_SET, family, nft.of_set(TABLE, own.name))
    for chain, hook in rules.HOOKS.items():
        answer = there.get(chain)
        if answer is not None and not nft.is_hooked(answer, hook):
            yield nft.deleted(nft.DELETE_CHAIN, family, nft.chain(TABLE, chain))
    yield from rules.built(family)


def _unmade(family: int, going: Sequence[str], puts: Sequence[Wanted]) -> Iterator[Part]:
    """The messages that delete VIFs' filters; with the last one the table."""
    marks = {naming.alias(vif_id) for vif_id in going}
    packed = [mark.encode() for mark in marks]
    dumps = {of: tables.dumped(family, of) for of in rules.SETS}
    own = {
        of: [part for part in tables.elements_of(payloads, packed) if part.mark in marks]
        for of, payloads in dumps.items()
    }
    if not puts and sum(map(nft.count_of_elements, dumps[GUESTS])) == len(own[GUESTS]):
        yield nft.deleted(nft.DELETE_TABLE, family, attribute(nft.TABLE_NAME, nft.name(TABLE)))
        return
    yield from rules.without_elements(family, own)
    if family == nft.NETDEV:
        for chain in map(filters.chain_of, going):
            # The kernel has deleted it with its device, unless that is still there.
            if tables.chain(chain) is not None:
                yield from rules.unbound(chain)


# -- arguments -------------------------------------------------------------------------------------------------


def _vif_id(value: Any) -> str:
    owner = arguments.owner(value)
    if owner.startswith(naming.NETWORK_PREFIX):
        raise arguments.refuse("the owner of a filter", value)
    return owner


def _family(place: Any) -> int:
    if place not in filters.PLACES:
        raise arguments.refuse("the place of a filter", place)
    return nft.BRIDGE if place == filters.BRIDGE else nft.NETDEV


def wanted_of(operation: Operation) -> Wanted:
    """A filter, as a caller describes it, checked.

    :raises PermissionDenied: for a value that is out of bounds.
    """
    allowed = operation["allowed"]
    if not isinstance(allowed, list | tuple) or len(allowed) > _PAIRS_MAX:
        raise arguments.refuse("the addresses of a filter", allowed)
    values = (operation["owner"], operation["name"], operation["place"], operation["address"], *allowed)
    if not all(isinstance(value, str) for value in values):
        raise arguments.refuse("the filter", values)
    return _checked(*values[:4], tuple(allowed))


@functools.lru_cache(maxsize=1024)
def _checked(owner: str, device: str, place: str, address: str, allowed: tuple[str, ...]) -> Wanted:
    """Cached, because a filter is read soon after it was made."""
    _family(place)
    for entry in allowed:
        arguments.address(entry.partition(" ")[0])
    try:
        pairs = filters.pairs(arguments.address(address), allowed)
    except ValueError as error:
        raise arguments.refuse("the addresses of a filter", allowed) from error
    return Wanted(
        owner=_vif_id(owner),
        place=place,
        device=arguments.name(device),
        address=address,
        allowed=allowed,
        pairs=pairs,
    )


def _require_own_device(wanted: Wanted) -> None:
    """Refuse to filter a device that is not the VIF's.

    :raises LinkError: it must exist, and does not.
    :raises Conflict: it is another program's.
    """
    if ownership.is_made_for(wanted.device, wanted.owner):
        return
    path = {rule.derived_name(wanted.owner, role): role for role in _PATH if wanted.place == filters.BRIDGE}
    there = links.links(ownership.socket(), [wanted.device, *path])
    link = there.pop(wanted.device, None)
    if link is not None and ownership.is_ours(link, {"owner": wanted.owner, "role": naming.ROLE_TAP}):
        return
    if wanted.place == filters.DEVICE and link is None:
        raise LinkError(f"could not filter {wanted.device!r}: no such device", wanted.device)
    is_own_path = all(
        ownership.is_ours(other, {"owner": wanted.owner, "role": path[name]}) for name, other in there.items()
    )
    if wanted.place == filters.BRIDGE and is_own_path and _is_guests(wanted, link):
        return
    raise Conflict(
        f"refused to filter device {wanted.device!r} for {wanted.owner}: nothing shows that it is that VIF's own, or "
        "its guest's; it was left alone",
        wanted.device,
    )


def _is_guests(wanted: Wanted, link: Mapping[str, Any] | None) -> bool:
    """Whether a device can only be the tap that a VIF's guest has, or will have, on a bridge.

    It has the name that no other VIF's tap gets; and if it exists, another program has not put it on its own bridge,
    unless it was filtered before. The VIF's other devices, as far as they exist, are vifplug's: another program plugged
    it otherwise.

    :raises Conflict: it is another program's OVS port.
    """
    if wanted.device != rule.derived_name(wanted.owner, naming.ROLE_TAP):
        return False
    ovsdb.refuse_foreign_port(wanted.device, wanted.owner)
    if link is None or link["master"] is None:
        return link is None or not ownership.owner_by_mark(link)
    bridge = ownership.read(link["master"])
    if bridge is not None and (ownership.owner_by_mark(bridge) or configure.may_take_over(link["master"])):
        return True
    known_by_name = tables.elements_there(nft.BRIDGE, {GUESTS: wanted.elements()[GUESTS]})[GUESTS]
    return any(element.mark == naming.alias(wanted.owner) for element in known_by_name)


# -- reading ---------------------------------------------------------------------------------------------------


def faults(asked: Sequence[Operation], *, thorough: bool) -> list[str]:
    """What differs from each of some filters, as text; "" if nothing does.

    :param asked: filters, as of the operation ``put``.
    :param thorough: whether to search for addresses that another program has allowed besides.
    """
    wanted = [wanted_of(each) for each in asked]
    try:
        with tables.lock:
            return _faults(wanted, thorough=thorough)
    except OSError as error:
        raise FilterError(f"could not read the filters: {error.strerror or error}") from error


def _faults(wanted: Sequence[Wanted], *, thorough: bool) -> list[str]:
    generation = tables.channel.generation()
    of_family = {each.family: tables.fault(each.family, generation) for each in wanted}
    unknown = [each for each in wanted if not known.is_filter(each, generation, thorough=thorough)]
    few = [rules.device_in_key(each.device) for each in unknown] if len(unknown) <= _FEW else []
    families = {each.family for each in unknown if thorough and not of_family[each.family]}
    all_there = {family: tables.all_elements(family, few) for family in families}
    by_device = {family: tables.by_device(there) for family, there in all_there.items()}
    in_sets = {each: _fault(each, by_device.get(each.family)) for each in unknown if not of_family[each.family]}
    # The kernel deletes a chain with its device, in the same generation.
    faults = [of_family[each.family] or in_sets.get(each) or _chain_fault(each, generation) for each in wanted]
    if unknown and tables.channel.generation() == generation:
        for each, fault in zip(wanted, faults, strict=True):
            if not fault:
                known.filter_is_right(each, generation, thorough=thorough)
    return faults


def _fault(wanted: Wanted, there: Mapping[bytes, Mapping[Set, Sequence[Element]]] | None) -> str:
    elements = wanted.elements()
    seen: Mapping[Set, Sequence[Element]]
    if there is None:
        seen = tables.elements_there(wanted.family, elements)
    else:
        seen = there.get(rules.device_in_key(wanted.device), {own: [] for own in rules.SETS})
    stale, missing = _differences(elements, seen)
    for own, words in ((missing, "lacks"), (stale, "has also")):
        for of, parts in own.items():
            if parts:
                return f"{words} {_in_words(of, parts[0])} in set {of.name} of {tables.title(wanted.family)}"
    return ""


def _chain_fault(wanted: Wanted, generation: int) -> str:
    if not wanted.chain:
        return ""
    answer = tables.chain(wanted.chain)
    words = "is missing"
    if answer is not None:
        hook = rules.hook_of(wanted.device)
        is_known = known.is_filter(wanted, generation, thorough=False)
        expected = () if is_known else rules.OF_DEVICE
        words = tables.chain_fault(wanted.family, wanted.chain, answer, expected, hook)
    return f"chain {wanted.chain} of {tables.title(wanted.family)} {words}" if words else ""


def _in_words(own: Set, element: Element) -> str:
    """An element as nft prints it."""
    device, *values = own.values(element.key)
    words = [device.rstrip(b"\0").decode(errors="replace")]
    for part, value in zip(own.fields[1:], values, strict=True):
        words.append(value.hex(":") if part is nft.MAC else str(ipaddress.ip_address(value)))
    if element.last:
        first, last = (ipaddress.ip_address(own.values(key)[-1]) for key in (element.key, element.last))
        words[-1] = f"{first}-{last}"
    return " . ".join(words)


def owners() -> list[tuple[str, str, str]]:
    """The VIFs that have filters, each with its device and place."""
    filtered: dict[tuple[str, str, str], None] = {}
    try:
        with tables.lock:
            for family in rules.FAMILIES:
                for element in tables.of_guests(family):
                    owner = naming.owner_of(element.mark)
                    filtered |= {(owner, tables.device_of(element), nft.FAMILIES[family]): None} if owner else {}
    except OSError as error:
        raise FilterError(f"could not read the filters: {error.strerror or error}") from error
    return list(filtered)


def read(asked: Sequence[Operation], thorough: bool, everything: bool) -> dict[str, Any]:
    """What differs from filters; and with ``everything``, whose filters there are.

    :param asked: as of ``faults``.
    """
    return {"faults": faults(asked, thorough=thorough), "owners": owners() if everything else []}
