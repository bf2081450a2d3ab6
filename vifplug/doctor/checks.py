"""Judgements: facts in, findings out. Pure. What Open vSwitch and the host's links have is judged in ``network``, the
firewall in ``filtering``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from vifplug.doctor import firewall as filtering
from vifplug.doctor import mirroring, openvswitch
from vifplug.doctor.facts import CAP_NET_ADMIN, Facts
from vifplug.doctor.findings import ERROR, OK, UNSEEN, WARNING, Diagnosis, Finding
from vifplug.doctor.openvswitch import Draft, found
from vifplug.netlink import udev

_FREE_BYTES_MIN = 16 * 2**20
_KERNEL_MIN = (5, 4)
_RECENT_SECONDS = 600
_RESTARTS_MAX = 3
_NAMED_MAX = 3
_ABSENT_SECONDS = 600
DAEMON = "daemon"


def judge(facts: Facts) -> Diagnosis:
    """Everything there is to say about a host: of each check that it is well, or all it found."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        findings_of_check = list(check(facts))
        findings += [finding(name) for finding in findings_of_check] or [Finding(check=name, status=OK)]
    return Diagnosis(findings=findings)


def restarts(endings: Sequence[tuple[float, str]], now: float) -> list[Finding]:
    """Whether the daemon's processes live.

    :param endings: when which of them ended (Unix time), though nobody told them to.
    """
    recent = [(when, which) for when, which in endings if 0 <= now - when <= _RECENT_SECONDS]
    if not recent:
        return [Finding(check=DAEMON, status=OK)]
    when, which = recent[-1]
    often = f"{len(recent)} times in {_RECENT_SECONDS // 60} minutes" if len(recent) > 1 else "once"
    reason = f"{which} ended {now - when:.0f} s ago ({often}), and both it and its neighbour were started anew"
    status = ERROR if len(recent) >= _RESTARTS_MAX else WARNING
    return [found(status, "vifplugd", reason, "see its log: journalctl -u vifplugd")(DAEMON)]


def _store(facts: Facts) -> Iterator[Draft]:
    store = facts.store
    if store is None:
        yield found(UNSEEN, "state_dir", facts.unseen)
    elif store.closed:
        yield found(UNSEEN, store.path, store.error, "run it as root, or through the daemon")
    elif store.unreadable:
        remedy = (
            "written by a newer vifplug: install that version; otherwise see docs/operations.md, 'A record is "
            "damaged'; nothing can be plugged until then"
        )
        yield found(ERROR, store.path, f"it cannot be read: {store.error}", remedy)
    elif store.error:
        yield found(
            ERROR,
            store.path,
            f"it cannot be written: {store.error}",
            "mount its file system for writing, or give state_dir to [daemon] user; nothing can be plugged until then",
        )
    elif store.locked_by:
        reason = f"it is locked by {store.locked_by}, for longer than a write takes"
        yield found(
            ERROR, store.path, reason, "let that end, or end it; nothing can be plugged or unplugged until then"
        )
    elif store.elsewhere:
        yield found(ERROR, store.path, store.elsewhere, "run vifplug in the namespace where its VIFs are")
    elif store.free_bytes is not None and store.free_bytes < _FREE_BYTES_MIN:
        free = f"{store.free_bytes // 2**20} MiB are free there"
        yield found(ERROR, store.path, free, "make room: a store that cannot grow refuses every plug")


def _helper(facts: Facts) -> Iterator[Draft]:
    helper = facts.helper
    if helper is None:
        yield found(UNSEEN, "helper", facts.unseen)
    elif helper.unprivileged:
        remedy = "run it as root or through the daemon, or let sudo start the helper (the user guide says how)"
        yield found(UNSEEN, "helper", f"this user may not start it: {helper.error}", remedy)
    elif helper.error:
        remedy = "see [vifplug_privileged] in the configuration, and the daemon's log; systemctl restart vifplugd"
        yield found(ERROR, "helper", helper.error, remedy)


def _capabilities(facts: Facts) -> Iterator[Draft]:
    if facts.tun_error:
        remedy = "modprobe tun, and see that udev or the container gives /dev/net/tun mode 0666"
        yield found(ERROR, "/dev/net/tun", f"no tap can be made: {facts.tun_error}", remedy)
    if facts.helper is None or facts.helper.error:
        yield found(UNSEEN, "helper", "there is no privileged helper to ask")
    elif not facts.helper.capabilities >> CAP_NET_ADMIN & 1:
        remedy = "give it that: [vifplug_privileged] capabilities, the unit's CapabilityBoundingSet, the container's"
        yield found(ERROR, "helper", "it has no CAP_NET_ADMIN, and so cannot change links", remedy)
    if facts.helper is not None and facts.helper.sysctls_read_only:
        remedy = (
            "mount it read-write for vifplug: in a unit ReadWritePaths=/proc/sys/net, in a container a mount; until "
            "then links are plugged only where their sysctls are right already"
        )
        yield found(ERROR, "/proc/sys", "it is mounted read-only, and a link's IPv6 cannot be turned off", remedy)


def _configuration(facts: Facts) -> Iterator[Draft]:
    for text in facts.unknown_options:
        remedy = "correct or delete it, then see 'vifplugd --check-config'"
        yield found(WARNING, "vifplug.conf", text, remedy)


def _versions(facts: Facts) -> Iterator[Draft]:
    kernel = openvswitch.version(facts.kernel)
    if kernel and kernel < _KERNEL_MIN:
        yield found(ERROR, "kernel", f"it is {facts.kernel}", "vifplug needs Linux 5.4 or newer")
    yield from openvswitch.ovs_version(facts)


def _takeovers(facts: Facts) -> Iterator[Draft]:
    for taken in facts.takeovers:
        names = ", ".join(f"{prefix}*" for prefix in taken.prefixes)
        if taken.name == "systemd-udevd":
            yield found(
                WARNING,
                taken.source,
                f"systemd-udevd runs, and by this file it gives a new {names} another MAC, which each plug that makes "
                "a tap has to wait for and to put right",
                f"install vifplug's {udev.LINK_FILE} into /etc/systemd/network (docs/operations.md, Install)",
            )
        elif taken.name == "systemd-networkd":
            yield found(
                ERROR,
                taken.source,
                f"systemd-networkd runs, and this file makes {names} its own",
                "narrow its [Match], or put a file before it with [Match] Name=qbr* qvb* qvo* tap* brq* and [Link] "
                "Unmanaged=yes",
            )
        else:
            yield found(
                WARNING,
                taken.name,
                f"{taken.name} runs, and nothing tells it to leave {names} alone",
                "install vifplug's networkmanager/vifplug.conf into /etc/NetworkManager/conf.d (docs/operations.md, "
                "Install), or put [keyfile] unmanaged-devices=interface-name:qbr*;interface-name:qvb*;"
                "interface-name:qvo*;interface-name:tap*;interface-name:brq* into a file of /etc/NetworkManager/conf.d",
            )


def _drift(facts: Facts) -> Iterator[Draft]:
    if facts.plugged is None:
        yield _uncompared(facts)
        return
    for trouble in facts.plugged.troubles:
        if not trouble.what:
            reason = f"it is {trouble.state}, and whoever was at it has ended"
            yield found(WARNING, trouble.vif_id, reason, "any command but doctor settles it, and so does the daemon")
        else:
            repair = f"vifplug repair {trouble.vif_id}, and vifplug show {trouble.vif_id} to see what it says"
            remedy = f"plug it again, or vifplug unplug {trouble.vif_id}" if trouble.damaged else repair
            yield found(ERROR, trouble.vif_id, f"{trouble.state}: {trouble.what}", remedy)


def _guests(facts: Facts) -> Iterator[Draft]:
    if facts.plugged is None:
        yield found(UNSEEN, "guests", facts.unseen)
        return
    old = [vif for vif in facts.plugged.absent if vif.seconds >= _ABSENT_SECONDS]
    remedy = (
        "start the guest; or, where its server was deleted, vifplug unplug the VIF. To compare with the servers that "
        "there are: vifplug gc --keep FILE"
    )
    for vif in old:
        yield found(WARNING, vif.vif_id, f"it has no guest on {vif.device!r} since {vif.since}", remedy)
    if facts.plugged.absent and not old:
        named = [f"VIF {vif.vif_id} has no guest since {vif.since}" for vif in facts.plugged.absent[:_NAMED_MAX]]
        more = len(facts.plugged.absent) - len(named)
        yield found(OK, "", "; ".join([*named, *([f"and {more} more"] if more else [])]), "")


def _uncompared(facts: Facts) -> Draft:
    if not facts.incomparable:
        return found(UNSEEN, "VIFs", facts.unseen)
    reason = f"what is recorded cannot be compared with the host, and no VIF is looked after: {facts.unseen}"
    remedy = "put that right (install the driver again, for one that is gone), or vifplug unplug the VIF it names"
    return found(ERROR, "VIFs", reason, remedy)


def _orphans(facts: Facts) -> Iterator[Draft]:
    if facts.plugged is None:
        yield found(UNSEEN, "orphans", facts.unseen)
        return
    # Of a lost store everything is an orphan, guests' devices among them.
    remedy = (
        "vifplug gc --delete, once `vifplug gc` lists nothing that a guest uses"
        if facts.plugged.total
        else "no VIF is recorded at all: if the store was lost, plug these again, which takes them over as they are; "
        "vifplug gc --delete takes them away from their guests"
    )
    for owner, devices in facts.plugged.orphans.items():
        yield found(ERROR, owner, f"marked as vifplug's, and in no record: {', '.join(devices)}", remedy)


CHECKS: Mapping[str, Callable[[Facts], Iterator[Draft]]] = {
    "store": _store,
    "helper": _helper,
    "capabilities": _capabilities,
    "configuration": _configuration,
    "versions": _versions,
    "ovsdb": openvswitch.ovsdb,
    "vswitchd": openvswitch.vswitchd,
    "integration-bridge": openvswitch.integration_bridge,
    "datapath": openvswitch.datapath,
    "firewall": filtering.firewall,
    "network-managers": _takeovers,
    "vifs": _drift,
    "obstacles": openvswitch.obstacles,
    "mirrors": mirroring.mirrors,
    "orphans": _orphans,
    "guests": _guests,
    "strangers": openvswitch.strangers,
    "stale-ports": openvswitch.stale_ports,
}
"""Every check by its name, in the order they are told: what others stand on comes first."""
