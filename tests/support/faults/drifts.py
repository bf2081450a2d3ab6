"""Single drifts: commands that damage a plugged VIF, and the expected result of ``check``.

Commands and subjects name devices by their prefix in braces: ``{qvo}``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.vifs import MTU, NETWORK, Request
from tests.support.world.world import DATAPATH_TYPE, World

FOREIGN = "br-two"
_SYSCTL = "/proc/sys/net"


@dataclass(frozen=True)
class Drift:
    """A kind of drift."""

    name: str
    commands: tuple[str, ...]
    expected: frozenset[tuple[str, str]]
    """Subject and attribute, all that ``check`` must report."""
    keeps_row: bool = True
    """Whether the Port row exists all the time, and so must be the same afterwards."""
    keeps_ofport: bool = True
    more: bool = False
    """Whether ``check`` may report more: a recreated device has none of its settings."""
    repair_only: bool = False
    """A plug does not check this."""
    clean_up: str = ""
    """Commands that delete what the drift made besides the VIF."""
    left: str = ""
    """A device that an unplug without a repair leaves: another program's, under the VIF's own name."""
    others_help: tuple[str, ...] = ()
    """What other programs have to do again for devices that vifplug does not change: ``{tap}`` in qbr is libvirt's."""

    def inflict(self, world: World, request: Request) -> None:
        """Do the damage."""
        for command in self.commands:
            _run(world, command, request)

    def lift(self, world: World, request: Request) -> None:
        """Delete what ``inflict`` made besides the VIF."""
        if self.clean_up:
            _run(world, self.clean_up, request)

    def take_left(self, world: World, request: Request) -> None:
        """Delete what an unplug leaves."""
        name = self.left.format(**request.names)
        if any(link["ifname"] == name for link in world.ip("link", "show")):
            world.ip("link", "delete", name)

    def help(self, world: World, request: Request) -> None:
        """Do what other programs have to do."""
        for command in self.others_help:
            _run(world, command, request)

    def named(self, request: Request) -> set[tuple[str, str]]:
        """The expected reports, with the VIF's names filled in."""
        names = {**request.names, "mac": request.address}
        return {(subject.format(**names), attribute.format(**names)) for subject, attribute in self.expected}


def host_end(world: World) -> str:
    """The world's end of the cable of a host on the bridge."""
    (name,) = (link["ifname"] for link in world.ip("link", "show") if link["ifname"].startswith("station"))
    return str(name)


def _run(world: World, command: str, request: Request) -> None:
    """One command line, with names filled in."""
    host = host_end(world) if "{host}" in command else ""
    line = command.format(
        **request.names, mac=request.address, directory=world.directory, mtu=MTU, foreign=FOREIGN, host=host
    )
    program, *words = line.split()
    if program == "ovs-vsctl":
        world.vsctl(*words)
    else:
        world.run("sh", "-c", line)


@dataclass
class _Table:
    """Collects drifts."""

    drifts: list[Drift] = field(default_factory=list)

    def add(self, name: str, commands: str | tuple[str, ...], *expected: tuple[str, str], **more: object) -> None:
        lines = (commands,) if isinstance(commands, str) else commands
        self.drifts.append(Drift(name, lines, frozenset(expected), **more))  # type: ignore[arg-type]


def _links(table: _Table, roles: tuple[str, ...]) -> None:
    """Drifts of any link."""
    for role in roles:
        name = f"{{{role}}}"
        link = f"ip link set dev {name}"
        ipv6, ipv4 = f"{_SYSCTL}/ipv6/conf/{name}", f"{_SYSCTL}/ipv4/conf/{name}"
        table.add(f"{role} down", f"{link} down", (name, "up"))
        table.add(f"{role} with a wrong mtu", f"{link} mtu 1300", (name, "mtu"))
        table.add(f"{role} with ipv6", f"echo 0 > {ipv6}/disable_ipv6", (name, "disable_ipv6"))
        table.add(f"{role} taking router advertisements", f"echo 2 > {ipv6}/accept_ra", (name, "accept_ra"))
        table.add(f"{role} answering arp", f"echo 0 > {ipv4}/arp_ignore", (name, "arp_ignore"))
        table.add(f"{role} with its alias wiped", f"{link} alias ''", (name, "alias"))
        # vswitchd closes a port whose device has another name.
        kept = role != "qvo" and roles != ("tap",)
        table.add(f"{role} renamed", f"{link} name web0", (name, "name"), more=True, keeps_ofport=kept)
        table.add(f"{role} with another mac", f"{link} address 02:00:00:00:00:77", (name, "address"))


def _passages(table: _Table, port_ends: tuple[str, ...], bridge_ends: tuple[str, ...]) -> None:
    """Settings that stop or leak frames on links that look correct."""
    for role in (*port_ends, *bridge_ends):
        name = f"{{{role}}}"
        table.add(f"{role} losing all it sends", f"tc qdisc add dev {name} root blackhole", (name, "qdisc"))
        table.add(f"{role} held back", f"tc qdisc add dev {name} root tbf rate 8bit burst 1 limit 1", (name, "qdisc"))
        table.add(f"{role} dormant", f"ip link set {name} mode dormant", (name, "linkmode"), more=True)
    for role in port_ends:
        name = f"{{{role}}}"
        foreign = "ip link add lb-foreign up type bridge"
        table.add(
            f"{role} on a foreign bridge",
            f"{foreign}; ip link set {name} master lb-foreign",
            (name, "master"),
            clean_up="ip link del lb-foreign",
        )
    for role in bridge_ends:
        name = f"{{{role}}}"
        port = f"bridge link set dev {name}"
        for words in (
            *("learning off", "flood off", "mcast_flood off", "bcast_flood off", "isolated on", "locked on"),
            # No hairpin: a returning frame makes Open vSwitch learn its sender on the wrong port.
            *("guard on", "root_block on", "neigh_suppress on", "vlan_tunnel on"),
        ):
            key = words.split()[0]
            table.add(f"{role} {words}", f"{port} {words}", (name, f"bridge_port:{key}"))
        for state in ("disabled", "listening", "learning"):
            table.add(f"{role} {state}", f"{port} state {state}", (name, "bridge_port:state"))
        kind = f"ip link set {name} type bridge_slave"
        table.add(f"{role} answering arp", f"{kind} proxy_arp on", (name, "bridge_port:proxy_arp"))
        table.add(f"{role} passing link-local frames", f"{kind} group_fwd_mask 8", (name, "bridge_port:group_fwd_mask"))


def _stations(table: _Table, bridge: str, way_out: str) -> None:
    """Entries of a Linux bridge's forwarding table that lead the guest's frames elsewhere."""
    name = f"{{{bridge}}}"
    add = "bridge fdb replace {mac} dev"
    expected = (name, "fdb {mac}")
    for kind in ("static", "permanent"):
        command = f"{add} {{{way_out}}} master {kind}"
        table.add(f"guest's mac {kind} on {way_out}", command, expected, repair_only=True)
    table.add("guest's mac on the bridge", f"{add} {name} self permanent", expected, repair_only=True)
    table.add("guest's mac permanent on its tap", f"{add} {{tap}} master permanent", expected, repair_only=True)
    other = "bridge fdb replace 02:00:00:00:00:55 dev {tap} master static"
    table.add("another mac on the tap", other, (name, "fdb 02:00:00:00:00:55"), repair_only=True)


def _rows(table: _Table, role: str) -> None:
    """Drifts of a port."""
    port = f"{{{role}}}"
    table.add("port deleted", f"ovs-vsctl del-port {port}", (port, "port"), keeps_row=False, keeps_ofport=False)
    table.add(
        "port made again on another bridge",
        f"ovs-vsctl del-port {port} -- --may-exist add-br {{foreign}}"
        f" -- set Bridge {{foreign}} datapath_type={DATAPATH_TYPE} -- add-port {{foreign}} {port}",
        (port, "bridge"),
        keeps_row=False,
        keeps_ofport=False,
        more=True,
    )
    table.add(
        "port moved to another bridge",
        f"ovs-vsctl --may-exist add-br {{foreign}} -- set Bridge {{foreign}} datapath_type={DATAPATH_TYPE}"
        f" -- --id=@port get Port {port} -- remove Bridge br-int ports @port -- add Bridge {{foreign}} ports @port",
        (port, "bridge"),
        keeps_ofport=False,
    )
    for key in ("attached-mac", "iface-id", "vm-uuid", "iface-status"):
        values = {"attached-mac": r"fa\:16\:3e\:00\:00\:99", "iface-status": "inactive"}
        value = values.get(key, NETWORK)
        table.add(
            f"wrong {key}",
            f"ovs-vsctl set Interface {port} external_ids:{key}={value}",
            (port, f"external_ids:{key}"),
        )
    table.add(
        "ids gone",
        f"ovs-vsctl remove Interface {port} external_ids attached-mac -- remove Interface {port} external_ids iface-id",
        (port, "external_ids:attached-mac"),
        (port, "external_ids:iface-id"),
    )
    table.add(
        "mark of the port wiped",
        f"ovs-vsctl remove Port {port} external_ids vifplug-vif",
        (port, "external_ids:vifplug-vif"),
    )
    _row_settings(table, port)


def _row_settings(table: _Table, port: str) -> None:
    """Settings of the rows that vifplug leaves empty."""
    for flag in ("no-receive", "no-forward", "no-flood", "no-packet-in"):
        command = f"ovs-ofctl mod-port {{directory}}/br-int.mgmt {port} {flag}"
        table.add(f"openflow {flag}", command, (port, "openflow"), repair_only=True)
    table.add("mtu requested", f"ovs-vsctl set Interface {port} mtu_request=1300", (port, "mtu_request"), more=True)
    table.add(
        "type internal",
        f"ovs-vsctl set Interface {port} type=internal",
        (port, "type"),
        more=True,
        keeps_ofport=False,
    )
    table.add("options", f"ovs-vsctl set Interface {port} options:peer=elsewhere", (port, "options"))
    table.add(
        "type patch",
        f"ovs-vsctl set Interface {port} type=patch options:peer=elsewhere",
        (port, "options"),
        (port, "type"),
        more=True,
        keeps_ofport=False,
    )
    table.add(
        "protocols on the interface",
        f'ovs-vsctl set Interface {port} mac="02:00:00:00:00:77" lldp:enable=true bfd:enable=true cfm_mpid=7',
        *((port, column) for column in ("mac", "lldp", "bfd", "cfm_mpid")),
        more=True,
    )
    table.add(
        "settings of the port",
        f"ovs-vsctl set Port {port} bond_mode=active-backup lacp=active protected=true",
        *((port, column) for column in ("bond_mode", "lacp", "protected")),
    )
    table.add(
        "bond with a stranger",
        f"ovs-vsctl --id=@it create Interface name=stranger type=internal -- add Port {port} interfaces @it",
        (port, "interfaces"),
        more=True,
        keeps_ofport=False,
    )


def _hybrid() -> list[Drift]:
    table = _Table()
    _rows(table, "qvo")
    _links(table, ("qbr", "qvb", "qvo"))
    _passages(table, ("qvo",), ("qvb",))
    kind = "ip link set {qbr} type bridge"
    _stations(table, "qbr", "qvb")
    table.add("qvb filtered", "tc qdisc add dev {qvb} clsact", ("{qvb}", "ingress_filter"), repair_only=True)
    table.add("qvo filtered", "tc qdisc add dev {qvo} ingress", ("{qvo}", "ingress_filter"), repair_only=True)
    table.add("passing lldp", f"{kind} group_fwd_mask 0x4000", ("{qbr}", "group_fwd_mask"))
    for role in ("qvb", "qvo"):
        name = f"{{{role}}}"
        table.add(f"{role} not promiscuous", f"ip link set {name} promisc off", (name, "promiscuous"))
        table.add(f"{role} leaving checksums", f"ethtool -K {name} tx on", (name, "tx_checksum"))
    kind = "ip link set {qbr} type bridge"
    table.add("stp on", f"{kind} stp_state 1", ("{qbr}", "stp"), ("{qbr}", "forward_delay"))
    table.add("ageing changed", f"{kind} ageing_time 30000", ("{qbr}", "ageing_time"))
    table.add("snooping on", f"{kind} mcast_snooping 1", ("{qbr}", "multicast_snooping"))
    table.add("announcing any address", f"echo 0 > {_SYSCTL}/ipv4/conf/{{qbr}}/arp_announce", ("{qbr}", "arp_announce"))
    table.add("mtu without ipv6", "ip link set {qvo} mtu 1200", ("{qvo}", "mtu"))
    table.add("qvb out of qbr", "ip link set {qvb} nomaster", ("{qvb}", "master"))
    table.add(
        "qbr deleted",
        "ip link delete {qbr}",
        ("{qbr}", "present"),
        ("{qvb}", "master"),
        others_help=("ip link set {tap} master {qbr}",),
    )
    pair = ("{qvb}", "ifindex"), ("{qvo}", "ifindex")
    table.add(
        "veth made again",
        (
            "ip link delete {qvb}",
            "ip link add {qvb} mtu {mtu} numtxqueues 1 numrxqueues 1 "
            "type veth peer {qvo} mtu {mtu} numtxqueues 1 numrxqueues 1",
            "ip link set {qvb} master {qbr} up",
            "ip link set {qvo} up",
        ),
        *pair,
        keeps_ofport=False,
        more=True,
        left="{qvb}",
    )
    table.add(
        "veth gone", "ip link delete {qvo}", ("{qvb}", "present"), ("{qvo}", "present"), keeps_ofport=False, more=True
    )
    return table.drifts


def _ovs() -> list[Drift]:
    table = _Table()
    _rows(table, "tap")
    _links(table, ("tap",))
    _passages(table, ("tap",), ())
    table.add("tap without a queue", "ip link set {tap} txqueuelen 0", ("{tap}", "txqueuelen"))
    return table.drifts


def _bridge() -> list[Drift]:
    table = _Table()
    _links(table, ("tap", "brq"))
    _passages(table, (), ("tap",))
    table.add(
        "guest's mac permanent on its tap",
        "bridge fdb replace {mac} dev {tap} master permanent",
        ("{brq}", "fdb {mac}"),
        repair_only=True,
    )
    table.add(
        "guest's mac on another port",
        "bridge fdb replace {mac} dev {host} master static",
        ("{brq}", "fdb {mac}"),
        repair_only=True,
    )
    table.add("tap filtered", "tc qdisc add dev {tap} clsact", ("{tap}", "ingress_filter"), repair_only=True)
    kind = "ip link set {brq} type bridge"
    table.add("stp on", f"{kind} stp_state 1", ("{brq}", "stp"), ("{brq}", "forward_delay"))
    table.add("snooping on", f"{kind} mcast_snooping 1", ("{brq}", "multicast_snooping"))
    table.add("forwarding late", f"{kind} forward_delay 1500", ("{brq}", "forward_delay"))
    table.add("tap out of brq", "ip link set {tap} nomaster", ("{tap}", "master"))
    table.add(
        "brq deleted",
        "ip link delete {brq}",
        ("{brq}", "present"),
        ("{tap}", "master"),
        others_help=("ip link set {host} master {brq}",),
    )
    return table.drifts


def _lone_tap() -> list[Drift]:
    """Another program decides about its bridge."""
    table = _Table()
    _links(table, ("tap",))
    losing = ("ip link set {tap} txqueuelen 0", "tc qdisc add dev {tap} root blackhole")
    table.add("tap losing all it sends", losing, ("{tap}", "txqueuelen"), ("{tap}", "qdisc"))
    return table.drifts


def _ovs_bridge(table: _Table, bridge: str) -> None:
    """Drifts of an OVS bridge that vifplug made."""
    name = f"{{{bridge}}}"
    wiped = f"ovs-vsctl remove Bridge {name} external_ids vifplug-vif"
    table.add("mark of the bridge wiped", wiped, (name, "external_ids:vifplug-vif"))
    for column, value in (("fail_mode", "secure"), ("stp_enable", "true"), ("rstp_enable", "true")):
        table.add(f"bridge with {column}", f"ovs-vsctl set Bridge {name} {column}={value}", (name, column))
    table.add(
        "bridge of a datapath that there is not",
        f"ovs-vsctl set Bridge {name} datapath_type=dummy",
        (name, "datapath_type"),
        keeps_ofport=False,
        more=True,
    )


def _trunk() -> list[Drift]:
    table = _Table()
    _ovs_bridge(table, "switch")
    table.add(
        "bridge deleted",
        "ovs-vsctl del-br {switch}",
        ("{switch}", "present"),
        ("{tap}", "port"),
        keeps_row=False,
        keeps_ofport=False,
        others_help=("ovs-vsctl add-port {switch} {host} tag=3",),
    )
    bridge_name = "ovs-vsctl remove Interface {tap} external_ids bridge_name"
    table.add("bridge_name wiped", bridge_name, ("{tap}", "external_ids:bridge_name"))
    return table.drifts


def _own_bridge() -> list[Drift]:
    table = _Table()
    _ovs_bridge(table, "pb")
    deleted = {"keeps_row": False, "keeps_ofport": False}
    table.add(
        "bridge deleted",
        "ovs-vsctl del-br {pb}",
        *(("{pb}", "present"), ("{tap}", "port"), ("{pbp}", "port")),
        keeps_ofport=False,
        more=True,
    )
    for end in ("pbp", "ibp"):
        name = f"{{{end}}}"
        table.add(f"{end} deleted", f"ovs-vsctl del-port {name}", (name, "port"), more=True, **deleted)
        elsewhere = f"ovs-vsctl set Interface {name} options:peer=elsewhere"
        table.add(f"{end} leading elsewhere", elsewhere, (name, "options"), more=True, keeps_ofport=False)
        internal = f"ovs-vsctl set Interface {name} type=internal"
        table.add(f"{end} of type internal", internal, (name, "type"), more=True, keeps_ofport=False)
        wiped = f"ovs-vsctl remove Port {name} external_ids vifplug-vif"
        table.add(f"mark of {end} wiped", wiped, (name, "external_ids:vifplug-vif"))
    table.add("tap's port deleted", "ovs-vsctl del-port {tap}", ("{tap}", "port"), more=True, **deleted)
    moved = "ovs-vsctl --id=@p get Port {pbp} -- remove Bridge {pb} ports @p -- add Bridge br-int ports @p"
    table.add("pbp on the integration bridge", moved, ("{pbp}", "bridge"), keeps_ofport=False, more=True)
    for port in ("tap", "pbp"):
        name = f"{{{port}}}"
        dead = f"ovs-vsctl set Port {name} tag=4095 vlan_mode=trunk trunks=4095"
        table.add(f"{port} dead", dead, (name, "tag"), (name, "vlan_mode"), (name, "trunks"))
    ids = "ovs-vsctl remove Interface {ibp} external_ids attached-mac -- remove Interface {ibp} external_ids iface-id"
    table.add("ids gone", ids, ("{ibp}", "external_ids:attached-mac"), ("{ibp}", "external_ids:iface-id"))
    return table.drifts


def _own_vlan() -> list[Drift]:
    """VLANs of a port whose VIF has one of its own."""
    table = _Table()
    for name, words, *columns in (
        ("tag cleared", "clear Port {tap} tag", "tag"),
        ("vlans cleared", "clear Port {tap} tag vlan_mode", "tag", "vlan_mode"),
        ("tag of another vlan", "set Port {tap} tag=4", "tag"),
        ("trunk of all vlans", "set Port {tap} vlan_mode=trunk", "vlan_mode"),
        ("native vlan of a trunk", "set Port {tap} vlan_mode=native-untagged trunks=3,4", "vlan_mode", "trunks"),
        ("dead", "set Port {tap} tag=4095 vlan_mode=trunk trunks=4095", "tag", "vlan_mode", "trunks"),
    ):
        table.add(name, f"ovs-vsctl {words}", *(("{tap}", column) for column in columns))
    again = "ovs-vsctl del-port {tap} -- add-port br-int {tap}"
    made = ("{tap}", "tag"), ("{tap}", "vlan_mode")
    table.add("port made again without it", again, *made, more=True, keeps_row=False, keeps_ofport=False)
    deleted = "ovs-vsctl del-port {tap}"
    table.add("port deleted", deleted, ("{tap}", "port"), keeps_row=False, keeps_ofport=False)
    return table.drifts


HYBRID_DRIFTS = _hybrid()
OVS_DRIFTS = _ovs()
BRIDGE_DRIFTS = _bridge()
LONE_TAP_DRIFTS = _lone_tap()
TRUNK_DRIFTS = _trunk()
OWN_BRIDGE_DRIFTS = _own_bridge()
OWN_VLAN_DRIFTS = _own_vlan()
