"""A stand-in for QEMU: opens the taps of its -netdev arguments, answers on its monitor, and runs until it is ended.

``--fails start`` ends before its monitor answers; ``--fails resume`` when it is resumed; ``--deaf`` opens no tap.
"""

from __future__ import annotations

import argparse
import signal
import sys

from tests.support.network.relay import open_tap

GREETING = "QEMU stand-in monitor"


def options_of(netdev: str) -> dict[str, str]:
    """The parsed -netdev argument."""
    kind, *options = netdev.split(",")
    assert kind == "tap", netdev
    found = dict(option.split("=", 1) for option in options)
    assert (found["script"], found["downscript"]) == ("no", "no"), "a script would be QEMU's to run"
    return found


def main() -> int:
    """Open the taps, and carry out the monitor's commands."""
    parser = argparse.ArgumentParser(description=__doc__, prefix_chars="-", allow_abbrev=False)
    parser.add_argument("-netdev", action="append", default=[])
    parser.add_argument("-device", action="append", default=[])
    parser.add_argument("-S", action="store_true")
    parser.add_argument("-monitor")
    parser.add_argument("--fails", choices=("start", "resume"))
    parser.add_argument("--deaf", action="store_true")
    output = parser.parse_args()
    assert output.S, "it was not started paused"
    assert output.monitor == "stdio"
    assert len(output.netdev) == len(output.device) > 0, "a guest without a card"
    _taps = [] if output.deaf else [open_tap(options_of(netdev)["ifname"]) for netdev in output.netdev]
    if output.fails == "start":
        sys.exit("stand-in: no bootable device")
    print(GREETING, flush=True)
    for line in sys.stdin:
        print(f"(qemu) {line.strip()}", flush=True)
        if line == "info status\n":
            print("VM status: paused (prelaunch)", flush=True)
        elif line == "cont\n" and output.fails == "resume":
            return 3
        elif line == "cont\n":
            print("resumed", file=sys.stderr, flush=True)
    signal.pause()  # like QEMU without a client at its monitor
    return 0


if __name__ == "__main__":
    sys.exit(main())
