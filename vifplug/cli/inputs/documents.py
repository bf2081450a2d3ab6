"""The VIFs that ``plug`` is given: of a document, or described by options. They are read before the host is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vifplug import errors, formats
from vifplug.cli import arguments
from vifplug.cli.inputs import described, files

if TYPE_CHECKING:
    from vifplug.model.vif import Vif

_UNREAD_MAX = 2**20
"""Characters of a document that is sent to the daemon unread. The daemon takes no request of more than 4 MiB, and a
larger document may hold much that no VIF needs."""


def vifs(options: arguments.Options) -> Sequence[Vif]:
    """The VIFs of ``plug``'s document, with the values of the options; ``check`` them before plugging.

    If the daemon can read the document, it is not read here: importing the model takes longer than a plug.

    :raises errors.InputError: there is neither a document nor a description, or both.
    """
    if options.file is None:
        return described.vifs(options)
    described.refuse(options)
    text = files.read(options.file)
    document = files.parse(text, options.file)
    network_text = files.read(options.network) if options.network is not None else ""
    network = files.parse(network_text, options.network or "") if network_text else None
    parameters: dict[str, Any] = {"format": options.format or "auto", "mtu": options.mtu, "network": network}
    instance = {"uuid": options.instance_uuid, "name": options.instance_name} if options.instance_uuid else None
    parameters["instance"] = instance
    changes: dict[str, Any] = {"create_tap": True} if options.create_tap else {}
    changes |= {} if options.vlan is None else {"vlan": options.vlan}
    is_amended = bool(changes) or (options.instance_name is not None and instance is None)
    sent = text + network_text
    is_small = len(sent) <= _UNREAD_MAX and sent.isascii()  # JSON escapes take up to 12 characters for any other
    if document and isinstance(document, list | dict) and not is_amended and is_small:
        return formats.Document(document, **parameters)
    loaded = formats.load_all(document, **parameters)
    if changes:
        loaded = [_amended(vif, changes) for vif in loaded]
    check(loaded)
    if options.instance_name and not instance:
        return [_named(vif, options.instance_name) for vif in loaded]
    return loaded


def _amended(vif: Vif, changes: Mapping[str, Any]) -> Vif:
    """A VIF with the values of options.

    :raises errors.InputError: it cannot have them.
    """
    from vifplug.model import messages  # here, because only a command that reads the VIFs needs it

    amended = vif.model_copy(update=changes)
    messages.recheck(amended, f"VIF {vif.id}")
    return amended


def ids_if_many(vifs: Sequence[Vif]) -> list[str]:
    """The ids of several VIFs; an empty list if the unread document shows that there is only one."""
    if isinstance(vifs, formats.Document) and vifs.is_single:
        return []
    return [vif.id for vif in vifs]


def check(vifs: Sequence[Vif]) -> None:
    """Check that the VIFs can be read and that each has a driver.

    :raises errors.InputError: when they cannot be plugged.
    """
    from vifplug.drivers.registry import driver_for  # here, because only a command that reads the VIFs needs it

    for vif in vifs:
        driver_for(vif.vif_type, vif.id)


def _named(vif: Vif, name: str) -> Vif:
    if vif.instance is None:
        raise errors.InputError(
            f"--instance-name {name!r}: the document has no instance for VIF {vif.id}; give --instance-uuid as well",
            vif.id,
        )
    return vif.model_copy(update={"instance": vif.instance.model_copy(update={"name": name})})
