"""The checks: from facts to findings. Pure. ``openvswitch`` has those of Open vSwitch and of the host's links,
``firewall`` those of the firewall."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from vifplug.doctor import firewall, mirroring, openvswitch
from vifplug.doctor.answer import alike
from vifplug.doctor.facts import CAP_NET_ADMIN, Facts
from vifplug.doctor.findings import ERROR, OK, UNSEEN, WARNING, Diagnosis, Finding
from vifplug.doctor.openvswitch import Draft, draft
from vifplug.doctor.switch import checks as switching
from vifplug.netlink import udev

_FREE_BYTES_MIN = 16 * 2**20
_KERNEL_MIN = (5, 4)
_RECENT_SECONDS = 600
_RESTARTS_MAX = 3
_NAMED_MAX = 3
_ABSENT_SECONDS = 600
DAEMON = "daemon"


def diagnose(facts: Facts) -> Diagnosis:
    """All findings about a host; at least one per check."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        findings_of_check = list(check(facts))
        findings += [finding(name) for finding in findings_of_check] or [Finding(check=name, status=OK)]
    return Diagnosis(findings=alike.together(findings))


def restarts(endings: Sequence[tuple[float, str]], now: float) -> list[Finding]:
    """Whether the daemon's processes keep running.

    :param endings: times (Unix) and names of processes that ended unexpectedly.
    """
    recent = [(ended_at, process) for ended_at, process in endings if 0 <= now - ended_at <= _RECENT_SECONDS]
    if not recent:
        return [Finding(check=DAEMON, status=OK)]
    ended_at, process = recent[-1]
    often = f"{len(recent)} times in {_RECENT_SECONDS // 60} minutes" if len(recent) > 1 else "once"
    reason = f"{process} ended {now - ended_at:.0f} s ago ({often}); worker and helper were restarted"
    status = ERROR if len(recent) >= _RESTARTS_MAX else WARNING
    return [draft(status, "vifplugd", reason, "see its log: journalctl -u vifplugd")(DAEMON)]


def _store(facts: Facts) -> Iterator[Draft]:
    store = facts.store
    if store is None:
        yield draft(UNSEEN, "state_dir", facts.unseen)
    elif store.closed:
        yield draft(UNSEEN, store.path, store.error, "run it as root, or through the daemon")
    elif store.unreadable:
        remedy = (
            "written by a newer vifplug: install that version; otherwise see docs/how-to/troubleshooting.md, 'A record "
            "is damaged'; nothing can be plugged until then"
        )
        yield draft(ERROR, store.path, f"it cannot be read: {store.error}", remedy)
    elif store.error:
        yield draft(
            ERROR,
            store.path,
            f"it cannot be written: {store.error}",
            "mount its file system read-write, or make [daemon] user the owner of state_dir; nothing can be plugged "
            "until then",
        )
    elif store.locked_by:
        reason = f"it is locked by {store.locked_by}, for longer than a write takes"
        yield draft(
            ERROR, store.path, reason, "wait for its end, or end it; nothing can be plugged or unplugged until then"
        )
    elif store.other_namespace:
        yield draft(ERROR, store.path, store.other_namespace, "run vifplug in the namespace where its VIFs are")
    elif store.free_bytes is not None and store.free_bytes < _FREE_BYTES_MIN:
        free = f"{store.free_bytes // 2**20} MiB are free there"
        yield draft(ERROR, store.path, free, "free space: a full store refuses new VIFs")


def _helper(facts: Facts) -> Iterator[Draft]:
    helper = facts.helper
    if helper is None:
        yield draft(UNSEEN, "helper", facts.unseen)
    elif helper.unprivileged:
        remedy = "run it as root or through the daemon, or let sudo start the helper (docs/how-to/other-user.md)"
        yield draft(UNSEEN, "helper", f"this user may not start it: {helper.error}", remedy)
    elif helper.error:
        remedy = "see [vifplug_privileged] in the configuration, and the daemon's log; systemctl restart vifplugd"
        yield draft(ERROR, "helper", helper.error, remedy)


def _capabilities(facts: Facts) -> Iterator[Draft]:
    if facts.tun_error:
        remedy = "modprobe tun, and check that udev or the container gives /dev/net/tun mode 0666"
        yield draft(ERROR, "/dev/net/tun", f"no tap can be created: {facts.tun_error}", remedy)
    if facts.helper is None or facts.helper.error:
        yield draft(UNSEEN, "helper", "there is no privileged helper to ask")
    elif not facts.helper.capabilities >> CAP_NET_ADMIN & 1:
        remedy = "add it: [vifplug_privileged] capabilities, the unit's CapabilityBoundingSet, or the container's"
        yield draft(ERROR, "helper", "it has no CAP_NET_ADMIN, so it cannot change links", remedy)
    if facts.helper is not None and facts.helper.sysctls_read_only:
        remedy = (
            "mount it read-write for vifplug: in a unit ReadWritePaths=/proc/sys/net, in a container a mount; until "
            "then links are plugged only if their sysctls are already right"
        )
        yield draft(ERROR, "/proc/sys", "it is mounted read-only, so a link's IPv6 cannot be turned off", remedy)


def _configuration(facts: Facts) -> Iterator[Draft]:
    for text in facts.unknown_options:
        remedy = "correct or delete it, then see 'vifplugd --check-config'"
        yield draft(WARNING, "vifplug.conf", text, remedy)


def _versions(facts: Facts) -> Iterator[Draft]:
    kernel = openvswitch.version(facts.kernel)
    if kernel and kernel < _KERNEL_MIN:
        yield draft(ERROR, "kernel", f"it is {facts.kernel}", "vifplug needs Linux 5.4 or newer")
    yield from openvswitch.ovs_version(facts)


def _takeovers(facts: Facts) -> Iterator[Draft]:
    for taken in facts.takeovers:
        names = ", ".join(f"{prefix}*" for prefix in taken.prefixes)
        if taken.name == "systemd-udevd":
            yield draft(
                WARNING,
                taken.source,
                f"systemd-udevd runs, and this file makes it change the MAC of a new {names}; each plug that creates a "
                "tap has to wait for that and to set the MAC again",
                f"install vifplug's {udev.LINK_FILE} into /etc/systemd/network (docs/how-to/install.md)",
            )
        elif taken.name == "systemd-networkd":
            yield draft(
                ERROR,
                taken.source,
                f"systemd-networkd runs, and this file makes it manage {names}",
                "narrow its [Match], or put a file before it with [Match] Name=qbr* qvb* qvo* tap* brq* and [Link] "
                "Unmanaged=yes",
            )
        else:
            yield draft(
                WARNING,
                taken.name,
                f"{taken.name} runs, and is not configured to leave {names} alone",
                "install vifplug's networkmanager/vifplug.conf into /etc/NetworkManager/conf.d "
                "(docs/how-to/install.md), or put [keyfile] unmanaged-devices=interface-name:qbr*;interface-name:qvb*;"
                "interface-name:qvo*;interface-name:tap*;interface-name:brq* into a file of /etc/NetworkManager/conf.d",
            )


def _drift(facts: Facts) -> Iterator[Draft]:
    if facts.plugged is None:
        yield _uncompared(facts)
        return
    bridgeless = openvswitch.bridgeless(facts)
    for problem in facts.plugged.problems:
        if problem.vif_id in bridgeless:
            continue  # the missing bridge is the finding
        if not problem.text:
            reason = f"{problem.state}, and the process that worked on it has ended"
            yield draft(WARNING, problem.vif_id, reason, "the daemon, or any command but doctor, settles it")
        else:
            repair = f"vifplug repair {problem.vif_id}, then vifplug show {problem.vif_id} for the error"
            remedy = f"plug it again, or vifplug unplug {problem.vif_id}" if problem.damaged else repair
            reason = f"{problem.state}: {problem.text}"
            yield draft(ERROR, problem.vif_id, reason, remedy, since=problem.since)


def _guests(facts: Facts) -> Iterator[Draft]:
    if facts.plugged is None:
        yield draft(UNSEEN, "guests", facts.unseen)
        return
    old = [vif for vif in facts.plugged.absent if vif.seconds >= _ABSENT_SECONDS]
    remedy = (
        "start the guest; or, if its server was deleted, vifplug unplug the VIF. To compare with the existing servers: "
        "vifplug gc --keep FILE"
    )
    for vif in old:
        reason = f"it has no guest on {vif.device!r} since {vif.since}"
        yield draft(WARNING, vif.vif_id, reason, remedy, since=vif.since)
    if facts.plugged.absent and not old:
        named = [f"VIF {vif.vif_id} has no guest since {vif.since}" for vif in facts.plugged.absent[:_NAMED_MAX]]
        more = len(facts.plugged.absent) - len(named)
        yield draft(OK, "", "; ".join([*named, *([f"and {more} more"] if more else [])]), "")


def _uncompared(facts: Facts) -> Draft:
    if not facts.incomparable:
        return draft(UNSEEN, "VIFs", facts.unseen)
    reason = f"the records cannot be compared with the host, and no VIF is repaired: {facts.unseen}"
    remedy = "correct that (for example install a missing driver again), or vifplug unplug the named VIF"
    return draft(ERROR, "VIFs", reason, remedy)


def _orphans(facts: Facts) -> Iterator[Draft]:
    if facts.plugged is None:
        yield draft(UNSEEN, "orphans", facts.unseen)
        return
    # If the store was lost, everything is an orphan, even guests' devices.
    remedy = (
        "vifplug gc --delete, once `vifplug gc` lists nothing that a guest uses"
        if facts.plugged.total
        else "no VIF is recorded at all: if the store was lost, plug these again, which adopts them as they are; "
        "vifplug gc --delete deletes them under their guests"
    )
    for owner, devices in facts.plugged.orphans.items():
        yield draft(ERROR, owner, f"orphans, marked as vifplug's and in no record: {', '.join(devices)}", remedy)


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
    "firewall": firewall.firewall,
    "network-managers": _takeovers,
    "vifs": _drift,
    "obstacles": openvswitch.obstacles,
    "mirrors": mirroring.mirrors,
    "flows": switching.flows,
    "vlans": switching.vlans,
    "addresses": switching.addresses,
    "uplinks": switching.uplinks,
    "limits": switching.limits,
    "waiting": switching.waiting,
    "orphans": _orphans,
    "guests": _guests,
    "strangers": openvswitch.foreign_resources,
    "stale-ports": openvswitch.stale_ports,
}
"""Every check by its name, in the order of the output: checks on which others depend come first."""
