"""The command line's parser and the options it returns. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import datetime
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from vifplug import errors, naming, version
from vifplug.model import durations, limits

GUESTS = ("libvirt", "qemu")
FORMATS = ("auto", "vif", "neutron-port", "nova-network-info", "os-vif")
WAITS = ("plugged", "wired", "active")
DATAPATHS = ("system", "netdev")
TABLE, JSON = "table", "json"
STDIN = "-"
_SEQUENCE_DIGITS_MAX = 18
"""Every number of 18 digits fits SQLite's integers."""

_OUTPUT_JSON = re.compile(r"-v*o=?json|--output=json")
_OUTPUT_FLAG = re.compile(r"-v*o|--output")


class Options(argparse.Namespace):
    """The options of one call. The defaults are set only here: with argparse's own defaults, a common option that is
    not given after the verb would overwrite the one given before it."""

    verb: str = ""
    config_file: str | None = None
    verbose: bool = False
    output: str = TABLE
    local: bool = False
    socket: str | None = None
    ids: Sequence[str] = ()
    file: str | None = None
    format: str = ""
    instance_uuid: str | None = None
    instance_name: str | None = None
    mtu: int | None = None
    vlan: int | str | None = None
    network: str | None = None
    dry_run: bool = False
    wait: str = WAITS[0]
    awaited: str = WAITS[1]
    timeout: float | None = None
    create_tap: bool = False
    model: str | None = None
    queues: int | None = None
    follow: bool = False
    since: int | datetime.datetime | None = None
    every: bool = False
    delete: bool = False
    keep: str | None = None
    absent_for: float | None = None
    undo: bool = False
    no_daemon: bool = False
    operators: Sequence[str] = ()
    create_bridge: str | None = None

    @property
    def as_json(self) -> bool:
        """Whether stdout carries JSON and nothing else."""
        return self.output == JSON


class _Parser(argparse.ArgumentParser):
    """A parser that raises vifplug's errors, and whose verbs take options and ids in any order."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **kwargs)
        self._deep = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but ``check ID -v ID`` is read as ``check -v ID ID``."""
        if self._deep or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._deep = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._deep = False

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting, so that ``-o json`` applies to usage errors too."""
        raise errors.InputError(f"{message}; see `{self.prog} --help`")


def wants_json(argv: Sequence[str]) -> bool:
    """Whether ``-o json`` is among the arguments; for arguments that cannot be parsed."""
    pairs = itertools.pairwise([*argv, ""])
    return any(_OUTPUT_JSON.fullmatch(word) or (_OUTPUT_FLAG.fullmatch(word) and then == JSON) for word, then in pairs)


def parse(argv: Sequence[str]) -> Options:
    """The options of ``argv``.

    :raises errors.InputError: for a usage error.
    :raises SystemExit: after ``--help`` and ``--version``.
    """
    parser = _parser()
    options, unrecognized = parser.parse_known_args(argv, Options())
    if unrecognized:
        text = " ".join(unrecognized)
        raise errors.InputError(f"unrecognized arguments: {text}; see `vifplug {options.verb} --help`")
    assert isinstance(options, Options)
    if options.local and options.socket is not None:
        raise errors.InputError("--local and --socket exclude each other")
    return options


def canonical_id(value: str, name: str = "") -> str:
    """``value`` as a VIF id in lower case.

    :raises errors.InputError: when it is not a UUID.
    """
    lowered = value.lower()
    if not naming.is_uuid(lowered):
        shown = f"{name} {value!r}" if name else repr(value)
        raise errors.InputError(f"{shown} is not a UUID (example: {limits.UUID_EXAMPLE})", value)
    return lowered


def _uuid(value: str) -> str:
    try:
        return canonical_id(value)
    except errors.InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _instance_name(value: str) -> str:
    if not 0 < len(value) <= limits.INSTANCE_NAME_MAX:
        raise argparse.ArgumentTypeError(f"it must have 1 to {limits.INSTANCE_NAME_MAX} characters")
    return value


def _mtu(value: str) -> int:
    try:
        mtu = int(value)
    except ValueError:
        mtu = -1
    if not limits.is_mtu(mtu):
        raise argparse.ArgumentTypeError(f"{value!r} is not an MTU; {limits.MTU_RULE}")
    return mtu


def _vlan(value: str) -> int | str:
    if value == limits.NO_VLAN:
        return value
    if not (value.isascii() and value.isdigit() and len(value) < 9 and limits.is_vlan(int(value))):
        raise argparse.ArgumentTypeError(f"{value!r} is not a VLAN; {limits.VLAN_RULE}")
    return int(value)


def _queues(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 9 and 1 <= int(value) <= limits.QUEUES_MAX):
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of queues; it must be 1 to {limits.QUEUES_MAX}")
    return int(value)


def _seconds(value: str) -> float:
    seconds = _number(value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"{value!r} is not a timeout; it must be a number of seconds above 0")
    return seconds


def _seconds_or_none(value: str) -> float:
    seconds = _number(value)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"{value!r} is not a timeout; it must be a number of seconds, 0 or more")
    return seconds


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _duration(value: str) -> float:
    try:
        return durations.parse(value)
    except errors.InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_absent_for(verb: argparse.ArgumentParser, text: str) -> None:
    verb.add_argument("--absent-for", type=_duration, metavar="DURATION", help=f"{text}: seconds, or 10m, 2h, 1d")


def _since(value: str) -> int | datetime.datetime:
    if value.isascii() and value.isdigit() and len(value) <= _SEQUENCE_DIGITS_MAX:
        return int(value)
    try:
        return durations.ago(value, datetime.datetime.now().astimezone())
    except errors.InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _common() -> _Parser:
    common = _Parser(add_help=False)
    group = common.add_argument_group("common options (before or after the verb)")
    group.add_argument("--config-file", metavar="FILE", help="default: /etc/vifplug/vifplug.conf")
    group.add_argument("-v", "--verbose", action="store_true", help="log to stderr")
    group.add_argument("-o", "--output", choices=(JSON, TABLE), help="the output format; default: table")
    group.add_argument("--local", action="store_true", help="do not use the daemon")
    group.add_argument(
        "--socket",
        metavar="PATH",
        help="use the daemon on this socket; default: the configured socket, if it answers",
    )
    return common


def _parser() -> _Parser:
    common = _common()
    parser = _Parser(
        prog="vifplug",
        parents=[common],
        description="Plug a guest's virtual interfaces (VIFs) into this host's network, all or nothing.",
        epilog="Exit codes: 0 done; 1 failed, rolled back; 2 bad usage or input, or an unknown id; "
        "3 check found drift or orphans; 4 conflict with something not ours; 5 timeout.",
    )
    parser.add_argument("--version", action=version.Printed, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, parents=[common], help=text, description=text[0].upper() + text[1:] + ".")

    _add_plug(verb("plug", "plug the VIFs of a document: all of them or none"))
    unplug = verb("unplug", "unplug VIFs; an absent one counts as success")
    unplug.add_argument("ids", nargs="*", metavar="ID", help="a VIF's id, the port's UUID")
    unplug.add_argument(
        "-f", "--file", metavar="FILE", help="VIF documents, a JSON list of ids, or one id per line; - is stdin"
    )
    _add_absent_for(verb("list", "list the plugged VIFs"), "only VIFs without a guest for this long")
    verb("show", "show one VIF, its devices and its ports").add_argument("ids", nargs=1, metavar="ID")
    check = verb("check", "compare VIFs with the host; exit 3 for drift or orphans")
    check.add_argument("ids", nargs="*", metavar="ID", help="default: every VIF")
    repair = verb("repair", "repair drift")
    repair.add_argument("ids", nargs="*", metavar="ID")
    repair.add_argument("--all", action="store_true", dest="every", help="every VIF")
    repair.add_argument("--dry-run", action="store_true", help="print the changes and make none")
    gc = verb("gc", "list orphans: vifplug's devices and ports that no record mentions")
    gc.add_argument("--delete", action="store_true", help="also delete them")
    gc.add_argument(
        "--keep",
        metavar="FILE",
        help="ids of existing VIFs or instances, one per line or a JSON list (- is stdin); VIFs that are not in it "
        "and have no guest are listed, and with --delete unplugged",
    )
    _add_absent_for(gc, "with --keep: skip VIFs that had a guest more recently; default: 10m")
    _add_events(verb("events", "list or follow VIF events"))
    history = verb("history", "tell one VIF's story: its events, how long each state lasted, what was changed")
    history.add_argument("ids", nargs=1, metavar="ID", help="of a VIF that is plugged here, or was")
    _add_wait(verb("wait", "wait until VIFs are plugged, wired or active; exit 5 on timeout"))
    diagram = verb("diagram", "draw a VIF's path through the host")
    diagram.add_argument("ids", nargs=1, metavar="ID")
    diagram.add_argument("--format", choices=("text", "dot"), help="default: text; dot is for Graphviz")
    _add_guest(verb("guest", "print what a hypervisor needs for a VIF: libvirt's <interface>, or QEMU's arguments"))
    verb("schema", "print the JSON Schema of vifplug's own input format")
    verb("doctor", "diagnose this host: what is wrong, why, and what to do; exit 1 for any error")
    verb("host-info", "print what this host can plug, and its versions")
    _add_setup_host(verb("setup-host", "prepare this host for vifplugd, and start it; exit 1 when a step failed"))
    return parser


def _add_events(events: argparse.ArgumentParser) -> None:
    events.add_argument("ids", nargs="*", metavar="ID", help="only events of these VIFs, plugged or not; default: all")
    events.add_argument("--follow", action="store_true", help="keep printing new events until interrupted")
    events.add_argument(
        "--since",
        type=_since,
        metavar="SEQ|DURATION|TIME",
        help="only events after the number SEQ, of the last DURATION (10m, 2h, 1d), or since a local TIME (10:30, "
        "'2026-11-21 10:30'); default: all stored; with --follow, only new ones",
    )


def _add_guest(guest: argparse.ArgumentParser) -> None:
    guest.add_argument("format", choices=GUESTS, metavar="libvirt|qemu")
    guest.add_argument("ids", nargs=1, metavar="ID")
    guest.add_argument("--queues", type=_queues, metavar="N", help="usually the guest's number of CPUs; default: 1")
    guest.add_argument("--model", help="the guest's network card; default: virtio")


def _add_setup_host(setup: argparse.ArgumentParser) -> None:
    setup.add_argument("--dry-run", action="store_true", help="print which steps are needed, and change nothing")
    setup.add_argument("--undo", action="store_true", help="remove what it made; VIFs, records and users are left")
    setup.add_argument("--no-daemon", action="store_true", help="neither enable nor start vifplugd")
    setup.add_argument(
        "--operator",
        action="append",
        dest="operators",
        metavar="USER",
        help="let this user plug VIFs through the daemon; may be repeated",
    )
    setup.add_argument(
        "--create-bridge",
        nargs="?",
        const=DATAPATHS[0],
        choices=DATAPATHS,
        help="create the integration bridge if it is missing, with this datapath (default: system); without this "
        "option no OVS bridge is created",
    )


def _add_wait(wait: argparse.ArgumentParser) -> None:
    wait.add_argument("ids", nargs="+", metavar="ID")
    wait.add_argument("--for", choices=WAITS, dest="awaited", help=f"the state; default: {WAITS[1]}")
    wait.add_argument("--timeout", type=_seconds_or_none, metavar="SECONDS", help="default: 300; 0 checks once")


def _add_plug(plug: argparse.ArgumentParser) -> None:
    plug.add_argument("file", metavar="FILE", help="one VIF document or a list of them; - is stdin")
    plug.add_argument("--format", choices=FORMATS, help="FILE's format; default: auto, detected by its keys")
    plug.add_argument(
        "--instance-uuid", type=_uuid, metavar="UUID", help="the guest, for Interface.external_ids:vm-uuid"
    )
    plug.add_argument("--instance-name", type=_instance_name, metavar="NAME", help="the guest's name")
    plug.add_argument("--mtu", type=_mtu, metavar="BYTES", help="default: FILE's, else the configuration's")
    plug.add_argument(
        "--vlan",
        type=_vlan,
        metavar="VLAN",
        help="the VLAN of the guests' frames, where no control plane wires ports: 1 to 4094; none removes that of "
        "plugged VIFs; default: FILE's, else a plugged VIF keeps its own",
    )
    plug.add_argument(
        "--network",
        metavar="FILE",
        help="the VIFs' Neutron network as the API returns it, or a list: its MTU, and the uplink of a Linux bridge",
    )
    plug.add_argument("--create-tap", action="store_true", help="create the guests' taps, whatever FILE asks for")
    plug.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    plug.add_argument("--wait", choices=WAITS, help="the state to wait for; default: plugged (built and read back)")
    plug.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="for --wait: seconds to wait once all are plugged; default: 300; on timeout they stay plugged, exit 5",
    )
