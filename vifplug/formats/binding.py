"""What a port binding says, in Neutron's words, which Nova hands on; and what of a network is asked for beside it."""

from __future__ import annotations

from vifplug.formats.reader import Entry

_TYPES = ("ovs", "bridge")


def vif_type(port: Entry, key: str, details: Entry) -> str:
    """The vif_type of ours for a bound port.

    :param key: where the port says its vif_type.
    :raises InputError: for a port that is not bound, or bound to something no driver plugs.
    """
    vif_type = port.data.get(key)
    if vif_type == "unbound":
        raise port.refusal(key, f"{_name(port)} is bound to no host; bind it to this host first")
    if vif_type == "binding_failed":
        raise port.refusal(
            key,
            f"Neutron could not bind {_name(port)} to its host; see neutron-server's log for why "
            "(often no agent is alive on that host), mend that, and bind the port again",
        )
    if vif_type not in _TYPES:
        raise port.refusal(key, f"{_name(port)} is of a kind vifplug does not plug; it must be ovs or bridge")
    return "ovs-hybrid" if vif_type == "ovs" and details.flag("ovs_hybrid_plug") else str(vif_type)


def check_vnic(port: Entry, key: str) -> None:
    """Refuse a port that asks for hardware of its own; absent is Neutron's default, normal."""
    if port.data.get(key) not in (None, "normal"):
        raise port.refusal(key, f"{_name(port)} asks for a device vifplug does not plug; it must be normal")


def check_uplink(network: Entry, verb: str) -> None:
    """Refuse a Linux bridge that is to get a NIC or a VLAN device; os-vif's plugin, while there was one, put it there.

    :param verb: of the keys: Nova says ``should_create_bridge``, os-vif ``should_provide_bridge``.
    """
    asked = f"should_{verb}_bridge"
    if not network.flag(asked):
        return
    for key in (f"should_{verb}_vlan", "bridge_interface"):
        if network.data.get(key):
            raise network.refusal(
                key,
                "vifplug puts neither a NIC nor a VLAN device on a bridge; make the bridge beforehand, and leave "
                f"{asked} out",
            )


def create_tap(details: Entry) -> bool:
    """Whether the tap is made for the VMM: exactly what is said, and absent is no."""
    return bool(details.flag("ovs_create_tap"))


def _name(port: Entry) -> str:
    return f"port {port.subject}" if port.subject else "the port"
