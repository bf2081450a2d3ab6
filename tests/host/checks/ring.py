"""What every batch uses: a line for each check, foreign tools to look with, VIFs to plug.

What vifplug has made is looked at with ``ip``, ``ovs-vsctl``, ``ovsdb-client`` and packets, never with vifplug.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

SOCKET = "/run/vifplug/vifplug.sock"
NETWORK = "5d9f0a44-7f2b-4c36-9d2e-aa53a1f0c001"
NETWORK_BRIDGE = f"brq{NETWORK}"[:14]
KINDS = ("ovs-hybrid", "ovs", "bridge")
MTU = 1450
COMMAND_SECONDS = 300.0
WAIT_SECONDS = 180.0

Row = dict[str, Any]
_checks = [0]


@contextlib.contextmanager
def check(name: str) -> Iterator[None]:
    """One check: a line says whether its block ended without an exception; the batch goes on either way."""
    _checks[0] += 1
    try:
        yield
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split()) or f"line {where.lineno}: {where.line}"
        print(f"FAILED {name}: {type(error).__name__}: {text[:600]}", flush=True)
    else:
        print(f"ok {name}", flush=True)


def end() -> None:
    """The batch ran to its end."""
    print(f"end {_checks[0]}", flush=True)


def note(text: str) -> None:
    """A line that is no check."""
    print(f"   {text}", flush=True)


def run(*argv: str, check: bool = True, input: str | None = None) -> str:
    """A program's output; AssertionError with its words when it fails."""
    done = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(argv)}: {done.stderr}{done.stdout}"
    return done.stdout


def shell(script: str, *, check: bool = True) -> str:
    """Several commands for one spawn of a shell."""
    return run("sh", "-ec", script, check=check)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Return once it holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


def links() -> dict[str, Row]:
    """Every link by name, as ``ip`` has it."""
    return {link["ifname"]: link for link in json.loads(run("ip", "-d", "-j", "link")) if link}


def rows(table: str) -> list[Row]:
    """A table of OVSDB's, by its own client."""
    return tables(table)[0]


def tables(*names: str) -> list[list[Row]]:
    """Several of them for one spawn."""
    query = json.dumps(["Open_vSwitch", *({"op": "select", "table": name, "where": []} for name in names)])
    answers = json.loads(run("ovsdb-client", "transact", query))
    return [[{column: _plain(value) for column, value in row.items()} for row in each["rows"]] for each in answers]


def _plain(value: Any) -> Any:
    match value:
        case ["uuid", str() as uuid]:
            return uuid
        case ["set", list() as items]:
            return [_plain(item) for item in items]
        case ["map", list() as pairs]:
            return dict(pairs)
        case _:
            return value


def row(table: str, name: str) -> Row:
    """A row that is there."""
    found = [each for each in rows(table) if each["name"] == name]
    assert found, f"no {table} {name}"
    return found[0]


def vif(kind: str, number: int, **more: Any) -> Row:
    """A VIF in vifplug's own format; those of type ``bridge`` share a network."""
    return {
        "id": f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa",
        "vif_type": kind,
        "address": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
        "network": {"mtu": MTU, **({"id": NETWORK} if kind == "bridge" else {})},
        "create_tap": kind != "ovs-hybrid",
        **more,
    }


def device(prefix: str, of: Row) -> str:
    """Nova's rule: prefix and id, cut to 14 characters."""
    return f"{prefix}{of['id']}"[:14]


def tap_address(of: Row) -> str:
    """libvirt's rule."""
    return "fe" + str(of["address"])[2:]


def port_of(of: Row) -> str | None:
    """The VIF's OVS port."""
    return {"ovs-hybrid": device("qvo", of), "ovs": device("tap", of)}.get(of["vif_type"])


def expected_links(of: Row) -> set[str]:
    """The links a VIF has on the host."""
    match of["vif_type"]:
        case "ovs-hybrid":
            return {device(prefix, of) for prefix in ("qbr", "qvb", "qvo")}
        case "bridge":
            return {device("tap", of), NETWORK_BRIDGE}
        case _:
            return {device("tap", of)} if of["create_tap"] else set()


def must_be_whole(vifs: list[Row]) -> None:
    """Every link, and every port with a number and without an error, in the kernel's datapath."""
    there = links().keys()
    interfaces = {each["name"]: each for each in rows("Interface")}
    for each in vifs:
        missing = expected_links(each) - there
        assert not missing, f"no links {sorted(missing)}"
        port = port_of(each)
        if port is not None:
            assert port in interfaces, f"no port {port}"
            number, error = interfaces[port]["ofport"], interfaces[port]["error"]
            assert isinstance(number, int) and number > 0 and not error, f"{port}: ofport {number}, error {error}"


def is_whole(vifs: list[Row]) -> bool:
    """Whether ``must_be_whole`` finds nothing."""
    with contextlib.suppress(AssertionError):
        must_be_whole(vifs)
        return True
    return False
