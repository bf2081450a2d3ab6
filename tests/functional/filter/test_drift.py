"""After each drift of a filter ``check`` names it, and repair, plug and the daemon put it right."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.functional.daemon.test_daemon_contention import put
from tests.functional.filter.test_frames import ends, passed
from tests.functional.filter.test_lifecycle import filtered, ruleset
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.spoofing import Frames
from tests.support.vifs import BRIDGE, HYBRID, Request, library
from tests.support.world.daemons import PATIENCE, wait_until
from tests.support.world.world import World

SECOND = BRIDGE.but(id="2bc1ec8f-4b2e-4a6a-a1da-6286f400507c", address="fa:16:3e:f6:04:91")
REPAIR_SECONDS = 2.0
ENABLED = {"filter": {"enabled": "true"}}

DRIFTS = {
    "ruleset flushed": ("flush ruleset", "table {family} vifplug is missing"),
    "table deleted": ("delete table {family} vifplug", "table {family} vifplug is missing"),
    "table dormant": ("add table {family} vifplug {{ flags dormant; }}", "has flags: it may be dormant"),
    "rules flushed": ("flush chain {family} vifplug guest", "chain guest of table {family} vifplug has 0 rules"),
    "rule added": (
        "insert rule {family} vifplug guest accept",
        "chain guest of table {family} vifplug has 23 rules instead of 22",
    ),
    "rules of targets flushed": ("flush chain {family} vifplug targets", "chain targets of table {family} vifplug"),
    "device's set flushed": ("flush set {family} vifplug guests", "lacks {tap} in set guests"),
    "MACs flushed": ("flush set {family} vifplug macs", "lacks {tap} . {mac} in set macs"),
    "address taken": ("delete element {family} vifplug ipv4 {{ {tap} . {mac} . 10.9.0.1 }}", "lacks {tap} . {mac}"),
    "address added": (
        "add element {family} vifplug ipv4 {{ {tap} . {mac} . 192.0.2.9 }}",
        "has also {tap} . {mac} . 1",
    ),
    "prefix added": (
        "add element {family} vifplug ipv6_prefixes {{ {tap} . {mac} . 2001:db8:1::/48 }}",
        "has also {tap} . {mac} . 2001:db8:1::-2001:db8:1:ffff:ffff:ffff:ffff:ffff in set ipv6_prefixes",
    ),
    "device's set of another type": (
        "delete table {family} vifplug; add table {family} vifplug; "
        "add set {family} vifplug guests {{ type ipv4_addr; }}",
        "set guests of table {family} vifplug is another one",
    ),
    "MAC added": ("add element {family} vifplug macs {{ {tap} . 02:00:00:00:00:09 }}", "has also {tap} . 02:00"),
}
OF_DEVICE = {
    "own chain flushed": ("flush chain netdev vifplug {chain}", "chain {chain} of table netdev vifplug has 0 rules"),
    "own chain deleted": ("delete chain netdev vifplug {chain}", "chain {chain} of table netdev vifplug is missing"),
    "own chain of another policy": (
        "add chain netdev vifplug {chain} {{ policy drop; }}",
        "chain {chain} of table netdev vifplug has another hook or policy",
    ),
}
OF_BRIDGE = {
    "base chain flushed": ("flush chain bridge vifplug frames", "chain frames of table bridge vifplug has 0 rules"),
    "base chain deleted": (
        "flush chain bridge vifplug frames; delete chain bridge vifplug frames",
        "chain frames of table bridge vifplug is missing",
    ),
    "base chain at another hook": (
        "flush chain bridge vifplug frames; delete chain bridge vifplug frames; "
        "add chain bridge vifplug frames {{ type filter hook postrouting priority 0; }}",
        "chain frames of table bridge vifplug has another hook or policy",
    ),
}
NETDEV, AT_BRIDGE = filtered(BRIDGE), filtered(HYBRID)
CASES = [
    pytest.param(request, family, *texts, id=f"{family}: {name}")
    for request, family, drifts in (
        (NETDEV, "netdev", {**DRIFTS, **OF_DEVICE}),
        (AT_BRIDGE, "bridge", {**DRIFTS, **OF_BRIDGE}),
    )
    for name, texts in drifts.items()
]


@pytest.fixture(autouse=True)
def _enabled(world: World) -> None:
    world.write_config(filter={"enabled": "true"})


def _filled(text: str, request: Request, family: str) -> str:
    names = {"tap": request.tap, "mac": request.address, "chain": f"vif-{request.id}"}
    return text.format(family=family, **names)


@pytest.mark.parametrize(("request_", "family", "command", "words"), CASES)
def test_drift_is_named_and_put_right(world: World, request_: Request, family: str, command: str, words: str) -> None:
    with library(world) as host:
        host.plug([request_.vif])
        before = _text(world)
        mends: list[Callable[[], object]] = [host.repair, lambda: host.plug([request_.vif])]
        for mend in mends:
            _inflict(world, _filled(command, request_, family))
            (checked,) = host.check([request_.id]).vifs
            (item,) = checked.drift
            assert (item.subject, item.attribute) == (request_.tap, "filter")
            if mend is mends[1] and "has also" in words:
                continue  # a plug does not read the elements of other programs
            assert _filled(words, request_, family) in str(item.observed)
            mend()
            assert host.check().clean
            assert _text(world) == before
        host.repair()
        assert _text(world) == before


def _inflict(world: World, commands: str) -> None:
    """Commands of nft, separated by semicolons outside of braces."""
    depth, command = 0, ""
    for character in f"{commands};":
        depth += (character == "{") - (character == "}")
        if character != ";" or depth:
            command += character
        else:
            world.run("nft", command.strip())
            command = ""


def _text(world: World) -> list[str]:
    """What nft lists, without counters."""
    lines = world.run("nft", "-s", "list", "ruleset").stdout.splitlines()
    return sorted(line.strip() for line in lines)


def test_daemon_repairs_within_two_seconds_and_no_spoofed_frame_lasts(world: World) -> None:
    with Vifplugd(world, ENABLED, repair_interval=3600) as daemon:
        for each in (NETDEV, AT_BRIDGE):
            put(daemon, each.document)
        with ends(world, NETDEV, NETDEV.brq, lambda _tap: None) as guest:
            before = _text(world)
            for request, family, command in (
                (NETDEV, "netdev", "flush ruleset"),
                (NETDEV, "netdev", DRIFTS["table deleted"][0]),
                (AT_BRIDGE, "bridge", DRIFTS["rules flushed"][0]),
                (AT_BRIDGE, "bridge", DRIFTS["rule added"][0]),
                (NETDEV, "netdev", DRIFTS["address taken"][0]),
                (NETDEV, "netdev", DRIFTS["address added"][0]),
                (NETDEV, "netdev", OF_DEVICE["own chain deleted"][0]),
            ):
                began = time.monotonic()
                world.run("nft", _filled(command, request, family))
                wait_until(lambda: _text(world) == before, f"the repair after {command}", REPAIR_SECONDS * PATIENCE)
                print(command, f"{time.monotonic() - began:.2f} s")
            assert passed(world, guest, Frames(guest.address).spoofed) == set()


def test_what_other_programs_do_in_nftables_costs_no_comparison(world: World) -> None:
    with Vifplugd(world, ENABLED, repair_interval=3600) as daemon:
        put(daemon, NETDEV.document)
        compared: Callable[[], float] = lambda: daemon.metric("vifplug_compared_vifs_total")  # noqa: E731
        time.sleep(2)
        before = compared()
        for number in range(20):
            world.run("nft", "add", "table", "ip", f"theirs{number}")
            world.run("nft", "add", "chain", "bridge", "theirs", "c") if number % 2 else world.run(
                "nft", "add", "table", "bridge", "theirs"
            )
        time.sleep(1.5)
        assert compared() == before


def test_stopped_and_started_daemon_leaves_filters(world: World) -> None:
    with Vifplugd(world, ENABLED) as daemon:
        put(daemon, NETDEV.document)
        before = ruleset(world)
    assert ruleset(world) == before
    world.run("nft", "flush", "ruleset")
    with Vifplugd(world, ENABLED, repair_interval=3600):
        wait_until(lambda: "netdev vifplug" in ruleset(world), "the repair", 5 * PATIENCE)


@pytest.mark.parametrize(
    "commands",
    [
        ("ip link set {tap} name web0",),
        ("ip link delete {tap}",),
        ("ip link delete {tap}", "ip tuntap add {tap} mode tap vnet_hdr", "ip link set {tap} up"),
        ("ip link set {tap} down", "ip link set {tap} nomaster"),
        ("ip link delete {brq}",),
    ],
)
def test_drift_of_the_filtered_device_is_put_right_with_its_filter(world: World, commands: tuple[str, ...]) -> None:
    with library(world) as host:
        host.plug([NETDEV.vif])
        before = _text(world)
        for command in commands:
            world.run(*command.format(**NETDEV.names).split())
        assert not host.check().clean
        host.repair()
        assert host.check().clean
        assert _text(world) == before
        with ends(world, NETDEV, NETDEV.brq, lambda _tap: None) as guest:
            wait_until(lambda: "a gratuitous ARP" in passed(world, guest, Frames(guest.address).own), "a frame")
            assert passed(world, guest, Frames(guest.address).spoofed) == set()
