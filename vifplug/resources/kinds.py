"""The kinds by name and by role; and resources as JSON. A new kind is a line here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from vifplug.errors import UnknownKind
from vifplug.resources.bridge import Bridge
from vifplug.resources.contract import Resource, Role
from vifplug.resources.link import Device, Link
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import DelegatedPort, OvsPort
from vifplug.resources.tap import GuestTap, Tap
from vifplug.resources.uplink.nic import Nic
from vifplug.resources.uplink.vxlan import Vxlan
from vifplug.resources.veth import Veth
from vifplug.resources.vf import Representor, Vf
from vifplug.resources.vlan import Vlan

_OWN: tuple[type[Resource], ...] = (
    *(Bridge, Veth, Tap, OvsPort, DelegatedPort, OvsBridge, Device, Vlan, Vf, Representor),
    *(Nic, Vxlan, Filter, GuestTap),
)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """A role, and the kind of link that plays it."""

    role: Role
    kind: type[Link]


_KINDS: dict[str, type[Any]] = {Link.kind: Link}
_PARTS: dict[str, Part] = {}
_OF_THE_KERNEL: dict[str, list[type[Link]]] = {}
_forgetting: list[Callable[[], None]] = []
"""Each clears the results of a function derived from the kinds."""
_loaders: list[Callable[[], object]] = []
"""Each imports modules of other packages, which may register kinds."""


def derived(make: Callable[P, T]) -> Callable[P, T]:
    """Cache a function of the kinds and of its hashable arguments until another kind is registered.

    The tables that other modules derive from the kinds are such functions, so that a kind can be registered at any
    time.
    """
    kept = functools.cache(make)
    _forgetting.append(kept.cache_clear)
    return cast("Callable[P, T]", kept)


def register(kind: type[Resource]) -> None:
    """Register a kind. A process that changes its resources must have it registered, including the helper.

    :raises ValueError: another kind has the name or a role.
    """
    if _KINDS.setdefault(kind.kind, kind) is not kind:
        raise ValueError(f"there is a kind {kind.kind!r} already")
    try:
        if issubclass(kind, Link):
            _register_link(kind)
    finally:
        # Last: another thread may compute such a result at any moment, and would keep one without the kind.
        for forget in _forgetting:
            forget()


def _register_link(kind: type[Link]) -> None:
    for role in kind.roles:
        if _PARTS.setdefault(role.name, Part(role, kind)).kind is not kind:
            raise ValueError(f"role {role.name!r} is played by another kind")
    if kind.wire_kind:
        _OF_THE_KERNEL.setdefault(kind.wire_kind, []).append(kind)


for _kind in _OWN:
    register(_kind)


def load_with(load: Callable[[], object]) -> None:
    """Import modules that may register kinds only when a record has an unknown kind.

    :param load: called each time.
    """
    _loaders.append(load)


def of(kind: str) -> type[Any]:
    """The kind of a name.

    :raises UnknownKind: there is none.
    """
    try:
        return _KINDS[kind]
    except (KeyError, TypeError):
        known = ", ".join(sorted(_KINDS))
        raise UnknownKind(f"unknown kind of resource {kind!r:.40}; known kinds: {known}") from None


def link_of(kind: str) -> type[Link]:
    """The kind of an observed link: ``Link`` for those that vifplug does not make."""
    kind_class = _KINDS.get(kind, Link)
    return kind_class if issubclass(kind_class, Link) else Link


def link_kinds() -> tuple[type[Link], ...]:
    """Kinds of links, including that of links which vifplug does not make."""
    return tuple(kind for kind in _KINDS.values() if issubclass(kind, Link))


@derived
def kinds_of_parts() -> tuple[type[Link], ...]:
    """Kinds whose resources are parts of another link."""
    return tuple(kind for kind in link_kinds() if kind.entries is not None)


def functions_in(resources: Iterable[Resource]) -> dict[str, str]:
    """The PCI functions among resources, each with the kind by which it is looked at."""
    return {link.name: link.kind for link in links_in(resources) if link.is_function}


def of_the_kernel(wire_kind: str) -> Iterable[type[Link]]:
    """Kinds that the kernel's name of a kind (IFLA_INFO_KIND) may stand for."""
    return _OF_THE_KERNEL.get(wire_kind, ())


def roles() -> Mapping[str, Part]:
    """Every part of a path, by its name."""
    return _PARTS


def kind_of_role(role: str) -> str:
    """The name of the kind that plays a part.

    :raises KeyError: the part does not exist.
    """
    return _PARTS[role].kind.kind


def has_members(kind: str) -> bool:
    """Whether vifplug supports members of links of a kind, by vifplug's name or the kernel's."""
    return link_of(kind).has_members


def port_roles() -> tuple[str, ...]:
    """Parts that may be the device of an OVS port."""
    return tuple(name for name, part in _PARTS.items() if part.role.is_port)


def require_known(resources: Iterable[Any]) -> None:
    """Check that everything is of a registered kind, so that nothing is silently skipped.

    :raises UnknownKind: for the first that is not.
    """
    for item in resources:
        if _KINDS.get(getattr(item, "kind", "")) is not type(item):
            raise UnknownKind(f"{type(item).__name__} {getattr(item, 'name', item)!r:.40} has an unknown kind")


def links_in(resources: Iterable[Resource]) -> list[Link]:
    """The links among resources."""
    return [item for item in resources if isinstance(item, Link)]


def ports_in(resources: Iterable[Resource]) -> list[OvsPort]:
    """The OVS ports among resources, vifplug's and those that the VMM makes."""
    return [item for item in resources if isinstance(item, OvsPort)]


def ovs_bridges_in(resources: Iterable[Resource]) -> list[OvsBridge]:
    """The OVS bridges among resources: those that vifplug makes."""
    return [item for item in resources if isinstance(item, OvsBridge)]


def filters_in(resources: Iterable[Resource]) -> list[Filter]:
    """The filters among resources."""
    return [item for item in resources if isinstance(item, Filter)]


def shared_in(resources: Iterable[Resource]) -> list[Resource]:
    """Resources that VIFs of a network or a trunk share."""
    return [item for item in resources if item.shared]


def to_dict(resource: Resource) -> dict[str, Any]:
    """A resource as JSON for the store: its kind, and every field with a value.

    :raises UnknownKind: it is of no registered kind.
    """
    require_known((resource,))
    kind: Any = type(resource)
    data: dict[str, Any] = {"kind": resource.kind}
    for name in _fields(kind):
        value = getattr(resource, name)
        if value not in (None, "", {}, ()):
            data[name] = value
    return data


@functools.cache
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(kind))


def from_dict(data: Mapping[str, Any]) -> Any:
    """The resource that ``to_dict`` wrote. For an unknown kind, drivers of other packages are loaded first.

    :raises UnknownKind: the kind is not registered.
    :raises KeyError, TypeError: for anything else.
    """
    values = dict(data)
    kind = values.pop("kind")
    try:
        cls = of(kind)
    except UnknownKind:
        for load in _loaders:
            load()
        cls = of(kind)
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
