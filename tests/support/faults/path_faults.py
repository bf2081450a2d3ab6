"""Faults that stop a guest's frames, planted by other programs' tools, and what must be named for each."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.vifs import Request
from tests.support.world.world import World

STATION = "station"
"""The host's end on br-int."""
_VSCTL = "ovs-vsctl --no-syslog --timeout=10 --db=unix:{directory}/db.sock"
_OFCTL = "ovs-ofctl"
_MGMT = "unix:{directory}/br-int.mgmt"
_REPAIR = "vifplug repair"


@dataclass(frozen=True, kw_only=True)
class PathFault:
    """A fault on the path of a guest that can otherwise ping a host."""

    name: str
    plant: tuple[str, ...]
    """Shell commands; devices by their prefix in braces."""
    mend: tuple[str, ...] = ()
    """What takes it back; vifplug repairs what is its own."""
    words: tuple[str, ...]
    """Parts of the verdict or of a cause that trace must have."""
    remedy: str
    """A part of that remedy."""
    stops: bool | None = True
    """Whether pings stop: None if that depends on more than the fault."""

    def inflict(self, world: World, request: Request) -> None:
        """Plant it."""
        self._run(world, request, self.plant)

    def lift(self, world: World, request: Request) -> None:
        """Take back what vifplug does not repair."""
        self._run(world, request, self.mend)

    @staticmethod
    def _run(world: World, request: Request, commands: tuple[str, ...]) -> None:
        for command in commands:
            names = {**request.names, "directory": world.directory, "mac": request.address, "id": request.id}
            names["station"] = STATION
            world.run("sh", "-c", command.format(**names))


def _fault(name: str, plant: str, mend: str, words: str, remedy: str, stops: bool | None = True) -> PathFault:
    plants, mends = (tuple(filter(None, part.split("\n"))) for part in (plant, mend))
    return PathFault(name=name, plant=plants, mend=mends, words=tuple(words.split("|")), remedy=remedy, stops=stops)


ON_HYBRID = (
    _fault("port deleted", f"{_VSCTL} del-port br-int {{qvo}}", "", "{qvo}|port", _REPAIR),
    _fault("veth deleted", "ip link del {qvb}", "", "missing", _REPAIR),
    _fault("veth down", "ip link set {qvb} down", "", "{qvb}|up", _REPAIR),
    _fault("wrong master", "ip link set {qvb} nomaster", "", "{qvb}|master", _REPAIR),
    _fault("port state", "bridge link set dev {qvb} state 0", "", "{qvb}|state", _REPAIR),
    _fault(
        "isolated ports",
        "bridge link set dev {qvb} isolated on\nbridge link set dev {tap} isolated on",
        "bridge link set dev {tap} isolated off",
        "isolated",
        _REPAIR,
    ),
    _fault("locked port", "bridge link set dev {qvb} locked on", "", "locked", _REPAIR),
    _fault("static entry", "bridge fdb replace {mac} dev {qvb} master static", "", "fdb {mac}|{qvb}", _REPAIR),
    _fault(
        "interface in a bond",
        f"{_VSCTL} del-port br-int {{qvo}} -- add-bond br-int bond0 {{qvo}} spare -- set Interface spare type=internal",
        f"{_VSCTL} --if-exists del-port br-int bond0",
        "{qvo}",
        "",
        None,
    ),
    _fault("MTU drift", "ip link set {qvb} mtu 900", "", "{qvb}|mtu", _REPAIR, None),
    _fault(
        "secure and no flows",
        f"{_VSCTL} set-fail-mode br-int secure\n{_OFCTL} del-flows {_MGMT}",
        f"{_VSCTL} del-fail-mode br-int\n{_OFCTL} add-flow {_MGMT} priority=0,actions=NORMAL",
        "br-int|no flow is set, fail_mode is secure",
        "del-fail-mode br-int",
    ),
    _fault(
        "drop flow",
        f"{_OFCTL} add-flow {_MGMT} 'priority=99,dl_src={{mac}},actions=drop'",
        f"{_OFCTL} del-flows {_MGMT} 'dl_src={{mac}}'",
        "from the guest|br-int|dl_src={mac}",
        "ovs-ofctl dump-flows br-int",
    ),
    _fault(
        "drop flow to the guest",
        f"{_OFCTL} add-flow {_MGMT} 'priority=99,dl_dst={{mac}},actions=drop'",
        f"{_OFCTL} del-flows {_MGMT} 'dl_dst={{mac}}'",
        "to the guest|dl_dst={mac}",
        "ovs-ofctl dump-flows br-int",
    ),
    _fault(
        "tag 4095",
        f"{_VSCTL} set Port {{qvo}} tag=4095",
        f"{_VSCTL} clear Port {{qvo}} tag",
        "{qvo}|its tag is 4095",
        "clear Port {qvo} tag",
    ),
    _fault(
        "tag 77",
        f"{_VSCTL} set Port {{qvo}} tag=77",
        f"{_VSCTL} clear Port {{qvo}} tag",
        "{qvo}|its tag is 77",
        "remove Port {qvo} tag 77",
    ),
    _fault(
        "trunk",
        f"{_VSCTL} set Port {{qvo}} vlan_mode=trunk trunks=5",
        f"{_VSCTL} clear Port {{qvo}} vlan_mode trunks",
        "{qvo}|trunk",
        "clear Port {qvo}",
    ),
    _fault(
        "policing",
        f"{_VSCTL} set Interface {{qvo}} ingress_policing_rate=1 ingress_policing_burst=1",
        f"{_VSCTL} set Interface {{qvo}} ingress_policing_rate=0 ingress_policing_burst=0",
        "{qvo}|at most 1 kbit/s",
        "ingress_policing_rate=0",
        None,
    ),
    _fault(
        "rule of the family bridge",
        "nft add table bridge filter\n"
        "nft 'add chain bridge filter FORWARD {{ type filter hook forward priority 0; }}'\n"
        "nft add rule bridge filter FORWARD iifname {tap} counter drop",
        "nft flush ruleset",
        "{qbr}|nftables drops every frame|bridge filter FORWARD",
        "nft",
    ),
    _fault(
        "rule of the family netdev",
        "nft add table netdev filter\n"
        "nft 'add chain netdev filter in {{ type filter hook ingress device {tap} priority 0; policy drop; }}'",
        "nft flush ruleset",
        "{tap}|netdev filter in|policy drop",
        "nft",
    ),
    _fault(
        "br_netfilter and a FORWARD policy",
        "sysctl -qw net.bridge.bridge-nf-call-iptables=1\n"
        "nft add table ip filter\n"
        "nft 'add chain ip filter FORWARD {{ type filter hook forward priority 0; policy drop; }}'",
        "nft flush ruleset",
        "ip filter FORWARD|policy drop",
        "bridge-nf-call-iptables=0",
    ),
    _fault("queueing discipline", "tc qdisc add dev {qvb} root bfifo limit 1", "", "{qvb}|qdisc", _REPAIR),
    _fault("ingress discipline", "tc qdisc add dev {qvb} ingress", "", "{qvb}|ingress_filter", _REPAIR, None),
    _fault(
        "bridge deleted",
        f"{_VSCTL} del-br br-int",
        f"{_VSCTL} add-br br-int -- set Bridge br-int datapath_type=netdev -- add-port br-int {{station}}",
        "br-int|no such OVS bridge",
        "add-br br-int",
    ),
    _fault("interface error", f"{_VSCTL} set Interface {{qvo}} type=nosuch", "", "{qvo}", _REPAIR),
    _fault(
        "mirror",
        f"{_VSCTL} -- --id=@p get Port {{qvo}} -- --id=@m create Mirror name=spy select-all=true output-port=@p"
        " -- set Bridge br-int mirrors=@m",
        # Open vSwitch 3.1 goes on dropping what such a port sends until the port is made again.
        f"{_VSCTL} clear Bridge br-int mirrors -- del-port br-int {{qvo}}",
        "{qvo}|mirror 'spy'",
        "remove Bridge br-int mirrors",
        None,  # flows that the datapath has already go on for a while
    ),
    _fault("no-receive", f"{_OFCTL} mod-port {_MGMT} {{qvo}} no-receive", "", "{qvo}|openflow", _REPAIR),
    _fault(
        "no-flood",
        f"{_OFCTL} mod-port {_MGMT} {{qvo}} no-flood",
        "",
        "{qvo}|no-flood",
        _REPAIR,
        None,
    ),
    _fault(
        "VMM's tap down",
        "ip link set {tap} down",
        "ip link set {tap} up",
        "{tap}|down",
        "ip link set {tap} up",
    ),
    _fault(
        "narrow tap",
        "ip link set {tap} mtu 900",
        "ip link set {tap} mtu 1450",
        "{tap}|its MTU is 900",
        "mtu 1450",
        None,
    ),
    _fault(
        "two interfaces with its iface-id",
        f"{_VSCTL} add-port br-int twin -- set Interface twin type=internal external_ids:iface-id={{id}}",
        f"{_VSCTL} del-port br-int twin",
        "twin|iface-id",
        "iface-id",
        None,
    ),
    _fault(
        "no uplink",
        f"{_VSCTL} del-port br-int {{station}}",
        f"{_VSCTL} add-port br-int {{station}}",
        "br-int|no uplink",
        "add-port br-int",
    ),
    _fault(
        "host does not forward",
        "ip address add 10.9.0.253/24 dev br-int\nsysctl -qw net.ipv4.ip_forward=0",
        "ip address del 10.9.0.253/24 dev br-int",
        "br-int|ip_forward is 0",
        "ip_forward=1",
        None,
    ),
)
