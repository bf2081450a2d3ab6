"""The verbs of the command line and their arguments. Help, completion and the manual are made from them.

Nothing heavy is imported here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from vifplug import version
from vifplug.cli.arguments import values
from vifplug.cli.arguments.options import DATAPATHS, FORMATS, GUESTS, OUTPUTS, TABLE, WAITS
from vifplug.formats.examples import EXAMPLES
from vifplug.model.queries.selection import SORT_KEYS

PROGRAM = "vifplug"
HELP = "help"
COMPLETE = "complete-words"
"""The first word of the call that completes words; no verb, so that it is not read as one."""
MODES = ("server", "client")
MACVTAP_MODES = ("bridge", "vepa", "private", "passthrough")
SHELLS = ("bash", "zsh", "fish")
VIF = "VIF"
"""The metavar of a VIF's name; completion offers the host's VIFs for it."""
_VIF = "a VIF: its id, the beginning of it, one of its devices, its MAC, or its instance's name or UUID"
Add = Callable[[str, str], argparse.ArgumentParser]
"""Makes the parser of a verb, from its name and its text."""
_EXIT_CODES = (
    "Exit codes: 0 done; 1 failed, rolled back; 2 bad usage or input, or an unknown VIF; "
    "3 check found drift or orphans; 4 conflict with something not ours; 5 timeout."
)


def build(parser_class: type[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The parser of every verb.

    :param parser_class: of it, and of the verbs' parsers.
    """
    shared = parser_class(add_help=False)
    _add_shared(shared)
    parser = parser_class(
        prog=PROGRAM,
        parents=[shared],
        description="Plug a guest's virtual interfaces (VIFs) into this host's network, all or nothing.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action=version.Printed, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=parser_class)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, parents=[shared], help=text, description=text[0].upper() + text[1:] + ".")

    _add_changing(verb)
    _add_looking(verb)
    _add_describing(verb)
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("common options (before or after the verb)")
    group.add_argument("--config-file", metavar="FILE", help="default: /etc/vifplug/vifplug.conf")
    group.add_argument("-v", "--verbose", action="store_true", help="log to stderr what is done and observed")
    group.add_argument("--debug", action="store_true", help="also log what libraries do")
    group.add_argument("-q", "--quiet", action="store_true", help="print errors only, and no result")
    group.add_argument(
        "-o",
        "--output",
        choices=OUTPUTS,
        help=f"the output format; wide: every column, name: only ids or names; default: {TABLE}",
    )
    group.add_argument(
        "--columns", type=values.words, action="extend", metavar="NAME,...", help="these columns of the table"
    )
    group.add_argument("--no-headers", action="store_false", dest="headed", help="a table without its header")
    group.add_argument("--local", action="store_true", help="do not use the daemon")
    group.add_argument(
        "--socket",
        metavar="PATH",
        help="use the daemon on this socket; default: the configured socket, if it answers",
    )


def _add_vifs(verb: argparse.ArgumentParser, nargs: str | int, text: str = _VIF) -> None:
    verb.add_argument("ids", nargs=nargs, type=values.vif_name, metavar=VIF, help=text)


def _add_changing(verb: Add) -> None:
    _add_plug(verb("plug", "plug the VIFs of a document, or one that options describe: all of them or none"))
    unplug = verb("unplug", "unplug VIFs; an id that is not plugged counts as success, another unknown name does not")
    _add_vifs(unplug, "*")
    unplug.add_argument(
        "-f", "--file", metavar="FILE", help="VIF documents, a list of ids, or one id per line; - is stdin"
    )
    unplug.add_argument("--dry-run", action="store_true", help="print what would be deleted, and change nothing")
    unplug.add_argument("--instance", metavar="INSTANCE", help="every VIF of the instance with this UUID or name")
    repair = verb("repair", "repair drift")
    _add_vifs(repair, "*")
    repair.add_argument("--all", action="store_true", dest="every", help="every VIF")
    repair.add_argument("--dry-run", action="store_true", help="print the changes and make none")
    gc = verb("gc", "list orphans: vifplug's devices and ports that no record mentions")
    gc.add_argument("--delete", action="store_true", help="also delete them")
    gc.add_argument(
        "--keep",
        metavar="FILE",
        help="ids of existing VIFs or instances, one per line or a list (- is stdin); VIFs that are not in it "
        "and have no guest are listed, and with --delete unplugged",
    )
    _add_absent_for(gc, "with --keep: skip VIFs that had a guest more recently; default: 10m")


def _add_looking(verb: Add) -> None:
    _add_list(verb("list", "list the plugged VIFs"))
    _add_vifs(verb("show", "show one VIF, its devices and its ports"), 1)
    check = verb("check", "compare VIFs with the host; exit 3 for drift or orphans")
    _add_vifs(check, "*", f"{_VIF}; default: every VIF")
    _add_events(verb("events", "list or follow VIF events"))
    verb("top", "watch VIFs on a terminal: states, rates, drops, repairs, events as they come; q quits")
    web = verb("web", "serve a read-only page about this host on a port of the loopback, until interrupted")
    web.add_argument("--port", type=values.port, metavar="PORT", help="default: any free one")
    history = verb("history", "tell one VIF's story: its events, how long each state lasted, what was changed")
    _add_vifs(history, 1, f"{_VIF}; by its id also one that was plugged here")
    _add_wait(verb("wait", "wait until VIFs are plugged, wired or active; exit 5 on timeout"))
    diagram = verb("diagram", "draw a VIF's path through the host; without a VIF, the host")
    _add_vifs(diagram, "*", f"{_VIF}; default: all bridges, their uplinks and VIFs")
    diagram.add_argument(
        "--format", choices=("text", "mermaid", "svg", "dot"), help="default: text; dot is for Graphviz"
    )
    _add_trace(verb("trace", "show where a VIF's frames stop, and why: hops, counters, flows, firewall"))
    _add_guest(verb("guest", "print what a hypervisor needs for a VIF: libvirt's <interface>, or QEMU's arguments"))
    doctor = verb("doctor", "diagnose this host: what is wrong, why, and what to do; exit 1 for any error")
    doctor.add_argument("--report", metavar="FILE", help="also write a bundle for a bug report, a new tar.gz")
    verb("host-info", "print what this host can plug, and its versions")
    _add_setup_host(verb("setup-host", "prepare this host for vifplugd, and start it; exit 1 when a step failed"))


def _add_describing(verb: Add) -> None:
    verb("schema", "print the JSON Schema of vifplug's own input format")
    example = verb("example", "print the smallest useful document of a vif_type")
    example.add_argument(
        "vif_type", nargs="?", metavar="TYPE", help=f"one of {', '.join(EXAMPLES)}; default: {next(iter(EXAMPLES))}"
    )
    completion = verb("completion", "print a shell's completion script")
    completion.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS))
    manual = verb("man", "print a manual page, in the form that man reads, or write every page")
    manual.add_argument("topic", nargs="?", metavar="VERB", help="default: the program's own page")
    manual.add_argument("--format", choices=("roff", "markdown"), help="default: roff; markdown is the whole reference")
    manual.add_argument("--directory", metavar="PATH", help="write vifplug.1 and a page for each verb into it")
    verb(HELP, "print the help of a verb").add_argument("topic", nargs="?", metavar="VERB")


def _add_absent_for(verb: argparse.ArgumentParser, text: str) -> None:
    verb.add_argument("--absent-for", type=values.duration, metavar="DURATION", help=f"{text}: seconds, or 10m, 2h, 1d")


def _add_list(listing: argparse.ArgumentParser) -> None:
    listing.add_argument(
        "--state", type=values.states, action="extend", dest="states", metavar="STATE,...", help="only in these states"
    )
    listing.add_argument(
        "--type", type=values.vif_types, action="extend", dest="vif_types", metavar="TYPE,...", help="only of these"
    )
    listing.add_argument("--instance", metavar="INSTANCE", help="only of the instance with this UUID or name")
    listing.add_argument("--bridge", metavar="NAME", help="only on this bridge")
    listing.add_argument("--sort", choices=SORT_KEYS, metavar="KEY", help=f"by one of {', '.join(SORT_KEYS)}")
    _add_absent_for(listing, "only VIFs without a guest for this long")


def _add_events(events: argparse.ArgumentParser) -> None:
    _add_vifs(events, "*", f"only events of these: {_VIF}; by its id also one that is not plugged; default: all")
    events.add_argument("--follow", action="store_true", help="keep printing new events until interrupted")
    events.add_argument(
        "--since",
        type=values.since,
        metavar="SEQ|DURATION|TIME",
        help="only events after the number SEQ, of the last DURATION (10m, 2h, 1d), or since a local TIME (10:30, "
        "'2026-11-21 10:30'); default: all stored; with --follow, only new ones",
    )


def _add_guest(guest: argparse.ArgumentParser) -> None:
    guest.add_argument("format", choices=GUESTS, metavar="|".join(GUESTS))
    _add_vifs(guest, 1)
    guest.add_argument(
        "--queues", type=values.queues, metavar="N", help="usually the guest's number of CPUs; default: 1"
    )
    guest.add_argument("--model", help="the guest's network card; default: virtio")


def _add_trace(trace: argparse.ArgumentParser) -> None:
    _add_vifs(trace, 1)
    trace.add_argument(
        "--interval", type=values.seconds, metavar="SECONDS", help="over which counters are compared; default: 1"
    )
    trace.add_argument(
        "--probe", action="store_true", help="also send marked frames as the guest, if no program has its tap open"
    )


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
    _add_vifs(wait, "+")
    wait.add_argument("--for", choices=WAITS, dest="awaited", help=f"the state; default: {WAITS[1]}")
    wait.add_argument("--timeout", type=values.seconds_or_none, metavar="SECONDS", help="default: 300; 0 checks once")


def _add_plug(plug: argparse.ArgumentParser) -> None:
    plug.add_argument("file", nargs="?", metavar="FILE", help="one VIF document or a list of them; - is stdin")
    plug.add_argument("--format", choices=FORMATS, help="FILE's format; default: auto, detected by its keys")
    plug.add_argument(
        "--instance-uuid", type=values.uuid, metavar="UUID", help="the guest, for Interface.external_ids:vm-uuid"
    )
    plug.add_argument("--instance-name", type=values.instance_name, metavar="NAME", help="the guest's name")
    plug.add_argument("--mtu", type=values.mtu, metavar="BYTES", help="default: FILE's, else the configuration's")
    plug.add_argument(
        "--vlan",
        type=values.vlan,
        metavar="VLAN",
        help="the VLAN of the guests' frames, where no control plane wires ports: 1 to 4094; none removes that of "
        "plugged VIFs; default: FILE's, else a plugged VIF keeps its own",
    )
    plug.add_argument(
        "--network",
        metavar="FILE|UUID",
        help="the VIFs' Neutron network as the API returns it, or a list: its MTU, and the uplink of a Linux bridge; "
        "without FILE also the network's UUID alone",
    )
    plug.add_argument("--create-tap", action="store_true", help="create the guests' taps, whatever FILE asks for")
    plug.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    plug.add_argument(
        "--wait",
        choices=WAITS,
        help="the state to wait for; default: plugged (built and read back; with hundreds of VIFs on the host "
        "ovs-vswitchd passes the first frame 30 to 50 ms later)",
    )
    plug.add_argument(
        "--timeout",
        type=values.seconds,
        metavar="SECONDS",
        help="for --wait: seconds to wait once all are plugged; default: 300; on timeout they stay plugged, exit 5",
    )
    _add_description(plug.add_argument_group("a VIF without FILE"))


def _add_description(vif: argparse._ArgumentGroup) -> None:
    """The fields of a document, as options."""
    vif.add_argument(
        "--type", type=values.vif_type, dest="vif_type", metavar="TYPE", help=f"its vif_type: {', '.join(EXAMPLES)}"
    )
    vif.add_argument("--id", type=values.uuid, dest="vif_id", metavar="UUID", help="default: a new one")
    vif.add_argument("--mac", type=values.mac, metavar="MAC", help="the guest's; default: made from the id")
    vif.add_argument("--bridge", type=values.device, metavar="NAME", help="default: the configuration's, or brq...")
    vif.add_argument(
        "--uplink",
        type=values.uplink,
        metavar="flat:NET|vlan:NET:ID|vxlan:ID",
        help="bridge: what joins the bridge to other hosts; NET is one of the configuration's physical_networks",
    )
    vif.add_argument("--tap", type=values.device, metavar="NAME", help="the tap's name; default: tap and the id")
    vif.add_argument("--tap-owner", type=values.owner, metavar="USER[:GROUP]", help="who may open the tap")
    vif.add_argument("--multiqueue", action="store_true", help="a tap with several queues")
    vif.add_argument("--isolate", action="store_true", help="a new OVS port is dead until it is wired")
    vif.add_argument("--no-isolate", action="store_false", dest="isolate", help="it is not")
    vif.add_argument(
        "--allow",
        type=values.words,
        action="extend",
        metavar="ADDRESS,...",
        help="the IP addresses that the guest may send from, with [filter] enabled",
    )
    vif.add_argument("--vhost-user", metavar="PATH", help="vhost-user and external: the socket")
    vif.add_argument("--vhost-mode", choices=MODES, help="the hypervisor's side of the socket; default: server")
    vif.add_argument("--pci", metavar="ADDRESS", help="host-device, vf and external: the PCI function")
    vif.add_argument("--macvtap", type=values.device, metavar="DEVICE", help="macvtap: the host's device")
    vif.add_argument("--macvtap-mode", choices=MACVTAP_MODES, help="default: bridge")
