"""The measured works, and the method of each measurement. Pure."""

from __future__ import annotations

from dataclasses import dataclass

OS_VIF, VISITOR, LIBRARY, DAEMON, FLOOR = "os-vif", "os-vif, ours", "library", "daemon", "floor"
"""VISITOR: os-vif in the world that vifplug has filled."""
WHO = (OS_VIF, VISITOR, LIBRARY, DAEMON, FLOOR)
OTHER, OTHER_DAEMON = "library, beside", "daemon, beside"
"""Another commit's vifplug (``--beside``), in a world that it has filled itself."""
BESIDE = {LIBRARY: OTHER, DAEMON: OTHER_DAEMON}
"""The contestant with which each is compared."""
HYBRID, OVS, BRIDGE = "ovs-hybrid", "ovs", "bridge"
KINDS = (HYBRID, OVS, BRIDGE)
BATCHES = (10, 100)
CROWDS = (8, 32)
FEW = 10
"""VIFs on the host where there are "few"."""

MS, PER_SECOND, MB, TIMES, SHARE = "ms", "/s", "MB", "count", "% of a core"


@dataclass(frozen=True)
class Work:
    """A row of the table."""

    title: str
    how: str
    """What the measured region contains."""
    unit: str = MS


PLUG, REPLUG, UNPLUG = "plug", "replug", "unplug"
FRESH, FRESH_CALL = "fresh", "fresh-call"
SERIAL = "serial"
CLI, CLI_LOCAL, CLI_REPLUG, CLI_LIST, CLI_SHOW = "cli", "cli-local", "cli-replug", "cli-list", "cli-show"
BARE, IDLE, RESTORE = "bare", "idle", "restore"
CHECK, MEMORY = "check", "memory"
FIRST_FRAME, RETURN = "first-frame", "return"


def batch(verb: str, size: int) -> str:
    """The work of a batch of that size in one request."""
    return f"{verb}-{size}"


def crowd(callers: int) -> str:
    """The work of that many concurrent callers."""
    return f"crowd-{callers}"


def count(what: str, verb: str) -> str:
    """The work of counting."""
    return f"count {what} of {verb}"


_ONE = (
    "one call in a process that has done it before, by perf_counter around it: os_vif.plug (native OVSDB, its privsep "
    "helper forked as root), LocalHost.plug (the same kind of helper), DaemonHost.plug (HTTP over vifplugd's socket). "
    "Objects are made before. vifplug returns when vswitchd has caught up and all was read back; os-vif does neither."
)
_BATCH = (
    "divided by how many. os-vif knows no batch: its calls one after the other, all of them together; vifplug: one "
    "request. floor: the links by one `ip -batch` (its start included), then all ports in one raw OVSDB transaction "
    "until cur_cfg reached its next_cfg (ports first for unplug, links as one group)."
)
_CROWD = (
    "VIFs a second of so many threads of one process, each plugging one VIF after the other, from the first call to "
    "the last answer."
)
_COUNT = (
    "in one request, after five others: what goes through oslo.privsep's channel, what is sent on netlink sockets by "
    "the process and its helper, and transactions sent to OVSDB that write; the same wrappers on both sides."
)

WORKS: dict[str, Work] = {
    PLUG: Work("plug one", _ONE),
    REPLUG: Work("replug one that is right", _ONE),
    UNPLUG: Work("unplug one", _ONE),
    FIRST_FRAME: Work(
        "first frame of a plug",
        "from the call until a unicast frame sent into the VIF (by the guest's tap, or the Linux bridge's end of the "
        "veth pair) comes out of another port of br-int; a process of its own sends one every 0.1 ms.",
    ),
    RETURN: Work("the same plug's return", "perf_counter around the call, while the frames are sent."),
    FRESH: Work(
        "first plug, whole process",
        "a fresh Python from its start until its plug has returned: imports and the helper's start are in it, its way "
        "out is not.",
    ),
    FRESH_CALL: Work("first plug of a process, the call alone", "perf_counter around the first call, imports done."),
    **{
        batch(verb, size): Work(f"{verb} {size} in a batch, each", _BATCH)
        for size in BATCHES
        for verb in (PLUG, UNPLUG)
    },
    SERIAL: Work("1 caller, throughput", _CROWD, PER_SECOND),
    **{crowd(callers): Work(f"{callers} callers at once, throughput", _CROWD, PER_SECOND) for callers in CROWDS},
    CLI: Work("`vifplug plug FILE` through the daemon", "the command, from its start to its end."),
    CLI_REPLUG: Work("the same of a right VIF", "the command, from its start to its end."),
    CLI_LIST: Work("`vifplug list`", "the command, from its start to its end."),
    CLI_SHOW: Work("`vifplug show ID`", "the command, from its start to its end."),
    BARE: Work("a Python that does nothing", "`python -c pass`, from its start to its end."),
    CLI_LOCAL: Work("`vifplug --local plug FILE`", "the command, from its start to its end."),
    CHECK: Work(
        "check all VIFs there",
        "one check of all; os-vif has none: its median replug times their number is what it is compared with.",
    ),
    IDLE: Work("daemon without requests", "processor time of its processes during 10 s.", SHARE),
    RESTORE: Work(
        "restore after OVSDB lost br-int",
        "from `ovs-vsctl del-br` until a check is clean. floor: until vswitchd alone has closed the ports.",
    ),
    MEMORY: Work(
        "memory (PSS)",
        "every process of it, after all that stands above: daemon's parent, worker and helper; the library's or "
        "os-vif's process and its helper.",
        MB,
    ),
}


def work(name: str) -> Work:
    """The description of a work."""
    if name.startswith("count "):
        what, _of, verb = name.removeprefix("count ").rpartition(" of ")
        return Work(f"{what} of one {verb}", _COUNT, TIMES)
    return WORKS[name]
