"""Questions to ovs-vswitchd at its control socket, which is next to OVSDB's (ovs-vswitchd(8), unixctl).

That socket takes every command of ovs-appctl, also those that change the switch, so a caller never names one: each
verb sends one fixed command that only reads, with arguments that were checked and put together here. ``ofproto/trace``
is sent without ``-generate`` and without a packet, and then has no effect on the switch.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vifplug.privileged import arguments
from vifplug.privileged.helper.context import net
from vifplug.privileged.ovsdb import verbs as ovsdb

_SECONDS = 1.5
"""vswitchd answers within a few ms, unless it is processing its ports, or hangs."""
ANSWER_BYTES_MAX = 4 * 2**20
"""Of one answer: a flow of the datapath has some 250 bytes."""
_CHUNK_BYTES = 1 << 16
_CONTROL = re.compile(r".*vswitchd.*\.ctl")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,254}")
"""Of bridges and ports, as far as they are asked about: no separator of the flow syntax, and no option."""
_LOCAL = "LOCAL"
ARP, DHCP, ICMP = "arp", "dhcp", "icmp"
FRAMES = (ARP, DHCP, ICMP)
"""What a traced frame may be: an ARP request, a DHCP discovery, an ICMP echo request."""
_VLAN_MAX = 4095
_one_answer = threading.BoundedSemaphore(1)
"""Only one of a helper's threads reads an answer at a time: each may have ``ANSWER_BYTES_MAX``."""

Answer = dict[str, str]
"""``text``, and ``error`` if there is none."""


@net.entrypoint
def trace_frame(bridge: str, frame: Mapping[str, Any]) -> Answer:
    """The way of a frame through the flows of a bridge, as vswitchd computes it; no frame is sent.

    :param frame: ``kind`` (of ``FRAMES``), ``in_port`` (a port's name, or LOCAL), ``source`` and ``destination``
        (MACs), ``vlan`` (None for an untagged frame), ``sender`` and ``target`` (IPv4 addresses).
    """
    return _answered("ofproto/trace", _name("the bridge", bridge), _flow(frame), "--names")


@net.entrypoint
def datapath_flows(bridge: str) -> Answer:
    """The flows of a bridge's datapath: what vswitchd has decided about frames that it has seen."""
    return _answered("dpif/dump-flows", "--names", _name("the bridge", bridge))


@net.entrypoint
def learnt_stations(bridge: str) -> Answer:
    """The forwarding table of a bridge: port, VLAN, MAC and age of each entry."""
    return _answered("fdb/show", _name("the bridge", bridge))


def _flow(frame: Mapping[str, Any]) -> str:
    kind = frame["kind"]
    if kind not in FRAMES:
        raise arguments.refuse("the frame", kind)
    port = frame["in_port"] if frame["in_port"] == _LOCAL else _name("the port", frame["in_port"])
    source, destination = arguments.address(frame["source"]), _destination(frame["destination"])
    parts = [f"in_port={port}", f"dl_src={source}", f"dl_dst={destination}"]
    if frame["vlan"] is not None:
        parts.append(f"dl_vlan={arguments.number('the VLAN', frame['vlan'], 0, _VLAN_MAX)}")
    sender, target = (arguments.ip_address("the address", frame[key]) for key in ("sender", "target"))
    if ":" in sender + target:
        raise arguments.refuse("the address", (sender, target))
    if kind == ARP:
        parts += ["arp", "arp_op=1", f"arp_sha={source}", f"arp_spa={sender}", f"arp_tpa={target}"]
    else:
        parts += [f"nw_src={sender}", f"nw_dst={target}", "nw_ttl=64"]
        parts = ["udp", *parts, "udp_src=68", "udp_dst=67"] if kind == DHCP else ["icmp", *parts, "icmp_type=8"]
    return ",".join(parts)


def _destination(value: Any) -> str:
    return str(value) if value == "ff:ff:ff:ff:ff:ff" else arguments.address(value)


def _name(subject: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise arguments.refuse(subject, value)
    return value


def _answered(*words: str) -> Answer:
    directories = {os.path.dirname(remote[5:]) for remote in ovsdb.session().remotes if remote.startswith("unix:")}
    error = "there is no control socket of ovs-vswitchd on this host"
    with _one_answer:
        for path in controls(directories):
            text, error = ask(path, words, _SECONDS)
            if text is not None:
                return {"text": text, "error": ""}
            if error.startswith("no answer"):
                break  # it hangs, and older sockets are those of processes that have ended
    return {"text": "", "error": error}


def controls(directories: Iterable[str]) -> Iterator[str]:
    """The control sockets of ovs-vswitchd in these directories."""
    for directory in sorted(directories):
        try:
            names = sorted(os.listdir(directory), reverse=True)
        except OSError:
            continue
        yield from (os.path.join(directory, name) for name in names if _CONTROL.fullmatch(name))


def ask(path: str, words: Iterable[str], seconds: float) -> tuple[str | None, str]:
    """The answer to one command of the control socket (a JSON-RPC request); or None, and why there is none."""
    method, *params = words
    until = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as control:
        control.settimeout(seconds)
        try:
            control.connect(path)
            control.sendall(json.dumps({"id": 0, "method": method, "params": params}).encode())
            reply = _reply(control, until)
        except TimeoutError:
            return None, f"no answer on {path} within {seconds:g} s"
        except OSError as error:
            return None, f"{path}: {error.strerror or error}"
        except ValueError as error:
            return None, f"{path}: {error}"
    if reply.get("error") is not None:
        return None, str(reply["error"]).strip()
    return str(reply.get("result")), ""


def _reply(control: socket.socket, until: float) -> dict[str, Any]:
    received = b""
    while True:
        control.settimeout(max(until - time.monotonic(), 0.001))
        chunk = control.recv(_CHUNK_BYTES)
        if not chunk:
            raise OSError("it was closed without an answer")
        received += chunk
        if len(received) > ANSWER_BYTES_MAX:
            raise ValueError(f"its answer has more than {ANSWER_BYTES_MAX} bytes")
        if not received.rstrip().endswith(b"}"):
            continue  # the end of a JSON object is to follow
        try:
            reply = json.loads(received)
        except ValueError:
            continue
        return reply if isinstance(reply, dict) else {"error": "its answer is not vswitchd's"}
