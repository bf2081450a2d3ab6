"""What a doctor knows of a host. Plain values: who gathers them judges nothing, who judges them looks at nothing.

None, or a part that is not there, was not seen; ``unseen`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CAP_NET_ADMIN = 12
SYSTEM = "system"
"""The kernel's datapath; as a bridge's datapath_type it may be written as nothing at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An OVSDB address, as the privileged helper meets it."""

    remote: str
    error: str = ""
    denied: bool = False
    uid: int | None = None
    """Whose socket it is, where that keeps the helper out."""
    unfit: str = ""
    """Why a server that answers there is not used: it takes no writes, say."""
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Open vSwitch, as its database tells."""

    ovs_version: str | None = None
    db_version: str | None = None
    datapath_types: Sequence[str] = ()
    iface_types: Sequence[str] = ()
    bridges: Mapping[str, str] = field(default_factory=dict)
    """Their datapath_type, by name."""
    fake_bridges: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """The bridge and the VLAN of those that are ports to Open vSwitch."""
    dead_ports: Sequence[DeadPort] = ()
    ports: frozenset[str] = frozenset()
    spanning_tree: Sequence[str] = ()
    """Bridges that run STP or RSTP."""
    policed: Mapping[str, int] = field(default_factory=dict)
    """Interfaces with a limit of what a guest may send, in kbit/s."""
    mirrors: Sequence[Mirror] | None = ()
    """None where they could not be read."""
    behind: str = ""
    """How far vswitchd is behind its database, where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """What an OVS bridge copies: frames of ports to another port, or into a VLAN."""

    name: str
    bridge: str
    selects_all: bool = False
    """Every port of its bridge."""
    selected: Sequence[str] = ()
    output: str = ""
    """The port that gets the copies, and nothing else."""
    output_vlan: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadPort:
    """An OVS port that stands on a device which is not there."""

    name: str
    bridge: str
    owner: str = ""
    """Whose mark of vifplug's it bears."""
    iface_id: str = ""
    """By which a control plane knows it."""
    bond: str = ""
    """The port that it is but one interface of."""
    error: str = ""
    """vswitchd's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ovs:
    """Open vSwitch and the ways to it."""

    expected: bool = True
    """False: nothing of it is on this host, and nothing here needs it."""
    remotes: Sequence[Remote] = ()
    switch: Switch | None = None
    error: str = ""
    """Why there is no ``switch`` although somebody takes connections."""
    vswitchd: bool | None = None
    """Whether it answers."""
    vswitchd_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Helper:
    """The privileged helper, as it is or as starting it went."""

    error: str = ""
    unprivileged: bool = False
    """It was not started because this user may not, which is nobody's fault."""
    capabilities: int = 0
    sysctls_read_only: bool = False
    """/proc/sys is mounted so that it cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The records' file."""

    path: str
    error: str = ""
    closed: bool = False
    """It is not for this user to see."""
    unreadable: bool = False
    """The error is met in reading it."""
    locked_by: str = ""
    """Who has kept others from writing it, for longer than a write takes."""
    elsewhere: str = ""
    """Why what it records is not in this network namespace."""
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A firewall's rule, as far as it is understood."""

    when: Sequence[tuple[str, str]] = ()
    """What it asks, all of these: ``in`` or ``out`` and a link's name, or its beginning and ``*``; ``bridged`` and
    ``unbridged``; ``part``, what is true of a part of anybody's frames (a protocol, a state); ``unknown``."""
    then: str = ""
    """accept, drop, jump, goto, return, unknown; "" goes on."""
    to: str = ""
    """The chain that it jumps or goes to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A firewall's chain."""

    family: str
    """inet, ip, ip6 or bridge."""
    table: str
    name: str
    forward: bool = False
    drops: bool = False
    """Its policy."""
    rules: Sequence[Rule] | None = ()
    """None, where they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """What bridged frames have to pass."""

    bridged: frozenset[str] = frozenset()
    """The families whose rules br_netfilter puts bridged frames through: ip, ip6."""
    chains: Sequence[Chain] | None = None
    legacy: Sequence[str] = ()
    error: str = ""
    firewalld: bool = False
    """It runs. As shipped it rejects what it forwards and was not told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """A network manager that runs here, and what of ours it would take for its own."""

    name: str
    prefixes: Sequence[str] = ()
    source: str = ""
    """The file that says so; "" where none says that it is not to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link with a name of the kind that Nova, Neutron and vifplug give."""

    name: str
    master: str | None = None
    ours: bool = False
    """Marked as ours, recorded, or part of what is under way."""
    persistent: bool = False
    carrier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """What a recorded VIF's request asks of OVS."""

    vif_id: str
    bridge: str
    datapath_type: str = ""
    """"" where it says none."""
    name: str = ""
    """The port's."""
    tag: int | None = None
    """Its VLAN, as last seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A recorded VIF that is not as it should be."""

    vif_id: str
    state: str
    what: str
    """"" for one that only was interrupted."""
    damaged: bool = False
    """Its record cannot be read."""


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
class Obstacle:
    """What stops a VIF's frames, or leaks them, on something that is not vifplug's to change."""

    vif_id: str
    subject: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugged:
    """What is recorded, and how it compares with the host."""

    ports: Sequence[Port] = ()
    bridged: int = 0
    """How many VIFs have a Linux bridge in their path."""
    bridges: frozenset[str] = frozenset()
    """Those bridges' names."""
    total: int = 0
    names: frozenset[str] = frozenset()
    """Of all recorded devices and ports."""
    troubles: Sequence[Trouble] = ()
    obstacles: Sequence[Obstacle] = ()
    orphans: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Kind and name of each, by whose mark they carry."""
    absent: Sequence[Absent] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it."""

    integration_bridge: str
    vifplug: str = ""
    """Its version."""
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
    unknown_options: Sequence[str] = ()
    """What of the configuration nothing reads, a sentence each."""
    unseen: str = ""
    """Why the records could not be compared with the host."""
    incomparable: bool = False
    """They could not although nothing that it takes was missing: no other check says why."""
