"""The facts that the doctor gathers about a host. Plain values, between ``gather`` and ``checks``.

None, or a missing part, could not be read; ``unseen`` has the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vifplug.doctor.switch.state import Switching

CAP_NET_ADMIN = 12
SYSTEM = "system"
"""The kernel's datapath; a bridge's datapath_type may also be empty for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An OVSDB address, as the privileged helper sees it."""

    remote: str
    error: str = ""
    denied: bool = False
    uid: int | None = None
    """The owner of the socket, if it denies access to the helper."""
    unfit: str = ""
    """Why an answering server is not used, for example because it accepts no writes."""
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Open vSwitch, as read from its database."""

    ovs_version: str | None = None
    db_version: str | None = None
    datapath_types: Sequence[str] = ()
    iface_types: Sequence[str] = ()
    bridges: Mapping[str, str] = field(default_factory=dict)
    """Their datapath_type, by name."""
    fake_bridges: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Parent bridge and VLAN by fake bridge, which is a port to Open vSwitch."""
    dead_ports: Sequence[DeadPort] = ()
    ports: frozenset[str] = frozenset()
    spanning_tree: Sequence[str] = ()
    """Bridges that run STP or RSTP."""
    policed: Mapping[str, int] = field(default_factory=dict)
    """Interfaces with a limit for the guest's sending, in kbit/s."""
    mirrors: Sequence[Mirror] | None = ()
    """None if they could not be read."""
    behind: str = ""
    """How far vswitchd lags behind its database, if it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A mirror of an OVS bridge: it copies frames of ports to another port, or into a VLAN."""

    name: str
    bridge: str
    selects_all: bool = False
    """Whether it copies every port of its bridge."""
    selected: Sequence[str] = ()
    output: str = ""
    """The port that gets the copies, and no other frames."""
    output_vlan: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadPort:
    """An OVS port without its device."""

    name: str
    bridge: str
    owner: str = ""
    """The VIF id of its vifplug mark."""
    iface_id: str = ""
    """The id by which a control plane knows it."""
    bond: str = ""
    """The bond of which it is an interface."""
    error: str = ""
    """vswitchd's error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ovs:
    """Open vSwitch and its addresses."""

    expected: bool = True
    """False: it is not on this host, and nothing here needs it."""
    remotes: Sequence[Remote] = ()
    switch: Switch | None = None
    error: str = ""
    """Why there is no ``switch`` although a server takes connections."""
    vswitchd: bool | None = None
    """Whether it answers."""
    vswitchd_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Helper:
    """The privileged helper, or the error of its start."""

    error: str = ""
    unprivileged: bool = False
    """It was not started because this user may not, which is not an error."""
    capabilities: int = 0
    sysctls_read_only: bool = False
    """/proc/sys is mounted read-only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The store's file."""

    path: str
    error: str = ""
    closed: bool = False
    """This user may not read it."""
    unreadable: bool = False
    """The error is about reading, not writing."""
    locked_by: str = ""
    """The processes that have kept it locked for longer than a write takes."""
    other_namespace: str = ""
    """Why its VIFs are not in this network namespace."""
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A firewall rule, as far as it is understood."""

    when: Sequence[tuple[str, str]] = ()
    """Its conditions, all of which must hold: ``in`` or ``out`` and a link's name, or its beginning and ``*``;
    ``bridged`` and ``unbridged``; ``source`` and ``destination`` and a MAC; ``protocol`` and an EtherType in hex;
    ``part``, true for a part of the frames (a protocol over IP, a state); ``unknown``."""
    then: str = ""
    """accept, drop, jump, goto, return, unknown; "" continues with the next rule."""
    to: str = ""
    """The target chain of jump and goto."""
    packets: int | None = field(default=None, compare=False)
    """Frames that its counter has counted; None without a counter. It is no part of what the rule is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A firewall's chain."""

    family: str
    """inet, ip, ip6, bridge or netdev."""
    table: str
    name: str
    forward: bool = False
    hook: str = ""
    """prerouting, input, forward, output, postrouting, ingress or egress; "" for a chain that is only jumped to."""
    devices: Sequence[str] = ()
    """Of a chain at ingress or egress of devices."""
    drops: bool = False
    """Whether its policy is drop."""
    rules: Sequence[Rule] | None = ()
    """None if they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """The firewall that bridged frames pass."""

    bridged: frozenset[str] = frozenset()
    """The families whose rules br_netfilter applies to bridged frames: ip, ip6."""
    chains: Sequence[Chain] | None = None
    legacy: Sequence[str] = ()
    error: str = ""
    firewalld: bool = False
    """Whether firewalld runs. As shipped it rejects forwarded frames that it is not configured to accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """A network manager that runs here, and the devices of ours that it would manage."""

    name: str
    prefixes: Sequence[str] = ()
    source: str = ""
    """The file that makes it do so; "" if no file excludes our devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link with a name as Nova, Neutron and vifplug give them."""

    name: str
    master: str | None = None
    is_owned: bool = False
    """Marked as ours, recorded, or named by an intent."""
    persistent: bool = False
    carrier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A recorded VIF's OVS port, as its request describes it."""

    vif_id: str
    bridge: str
    datapath_type: str = ""
    """"" if the request has none."""
    name: str = ""
    """The port's name."""
    type: str = ""
    """Interface.type; "" for a device of the kernel."""
    tag: int | None = None
    """Its VLAN, as last seen."""
    network: str | None = None
    vlan: int | None = None
    """The VLAN that the VIF's request names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VifProblem:
    """A recorded VIF that drifted, failed or was interrupted."""

    vif_id: str
    state: str
    text: str
    """"" for an interrupted one."""
    damaged: bool = False
    """Its record cannot be read."""
    since: str = ""
    """When a daemon recorded the drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A recorded VIF with nothing at the guest's end."""

    vif_id: str
    device: str
    """The guest's end."""
    since: str
    seconds: float
    """How long ago that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A recorded VIF's MAC on its network."""

    vif_id: str
    address: str
    network: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A recorded VIF that its control plane has not wired."""

    vif_id: str
    since: str
    seconds: float
    waits_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A setting that stops a VIF's frames, or leaks them, on a thing that vifplug must not change."""

    vif_id: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugged:
    """The recorded VIFs, and how they compare with the host."""

    ports: Sequence[Port] = ()
    bridged: int = 0
    """How many VIFs have a Linux bridge in their path."""
    bridges: frozenset[str] = frozenset()
    """Those bridges' names."""
    total: int = 0
    names: frozenset[str] = frozenset()
    """The names of all recorded devices and ports."""
    problems: Sequence[VifProblem] = ()
    obstacles: Sequence[Obstacle] = ()
    orphans: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Kind and name of each, by the owner in its mark."""
    absent: Sequence[Absent] = ()
    identities: Sequence[Identity] = ()
    waiting: Sequence[Waiting] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All facts about a host."""

    integration_bridge: str
    vifplug: str = ""
    """vifplug's version."""
    kernel: str = ""
    tun_error: str = ""
    connection: Sequence[str] = ()
    helper: Helper | None = None
    store: Store | None = None
    ovs: Ovs | None = None
    firewall: Firewall | None = None
    takeovers: Sequence[Takeover] = ()
    links: Sequence[Link] | None = None
    plugged: Plugged | None = None
    switching: Switching | None = None
    """The rows of Open vSwitch that decide about frames; None if they were not read."""
    settings: Mapping[str, int] = field(default_factory=dict)
    """Settings below /proc/sys/net."""
    routers: frozenset[str] = frozenset()
    """Bridges of VIFs on which the host itself has an address."""
    unknown_options: Sequence[str] = ()
    """Unknown sections and options of the configuration, a sentence each."""
    unseen: str = ""
    """Why the records could not be compared with the host."""
    incomparable: bool = False
    """The comparison failed although nothing that it needs was missing: no other check reports the reason."""
