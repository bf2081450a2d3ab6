"""Examples of each verb, for its help and its manual page: a command, and what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Example = tuple[str, str]

EXAMPLES: Mapping[str, Sequence[Example]] = {
    "": (
        ("vifplug doctor", "what is wrong with this host"),
        ("vifplug plug --type ovs --bridge br-int", "a new VIF, with a tap on an OVS bridge"),
        ("vifplug plug port.json --instance-uuid UUID", "a Neutron port"),
        ("vifplug list --state drifted,failed", "VIFs that are not right"),
        ("vifplug show tap71a6b0e4-1a", "a VIF, named by one of its devices"),
        ("vifplug unplug fa:16:3e:eb:5e:26", "a VIF, named by its MAC"),
        ("vifplug help plug", "the options and examples of a verb"),
    ),
    "plug": (
        ("vifplug plug --type ovs --bridge br-int", "a tap on an OVS bridge; id and MAC are made up and printed"),
        ("vifplug plug --type bridge --bridge br0 --vlan 100 --tap tap-web", "a tap of VLAN 100 on a Linux bridge"),
        ("vifplug plug --type ovs --tap-owner libvirt-qemu:kvm -o name", "print the new id only"),
        ("vifplug plug port.json --mtu 1450 --dry-run", "what would be changed for a Neutron port"),
        ("openstack port show -f json PORT | vifplug plug -", "from stdin"),
        ("vifplug plug vif.yaml --wait wired --timeout 60", "until the control plane has wired it"),
    ),
    "unplug": (
        ("vifplug unplug 71a6b0e4", "a VIF by the beginning of its id"),
        ("vifplug unplug tap71a6b0e4-1a fa:16:3e:eb:5e:26", "one by its tap, one by its MAC"),
        ("vifplug unplug --instance web-1", "every VIF of an instance"),
        ("vifplug unplug -f ports.json", "the VIFs of a document, or of a list of ids"),
        ("vifplug list --state failed -o name | vifplug unplug -f -", "every VIF that failed"),
    ),
    "list": (
        ("vifplug list --state drifted,failed", "VIFs that are not right"),
        ("vifplug list --instance web-1 -o wide", "an instance's VIFs, with every column"),
        ("vifplug list --type ovs --bridge br-int --sort instance", "filtered and sorted"),
        ("vifplug list --columns id,state --no-headers", "for a script"),
        ("vifplug list --absent-for 1d", "VIFs whose guest is gone since yesterday"),
    ),
    "show": (
        ("vifplug show 71a6", "by the beginning of its id"),
        ("vifplug show qvo71a6b0e4-1a -o yaml", "by a device, as YAML"),
    ),
    "check": (
        ("vifplug check", "every VIF, and orphans"),
        ("vifplug check web-1 -o json", "the VIF of an instance"),
        ("vifplug repair $(vifplug check -o name)", "repair what drifted"),
    ),
    "repair": (
        ("vifplug repair --all", "every VIF"),
        ("vifplug repair tap71a6b0e4-1a", "one VIF"),
    ),
    "gc": (
        ("vifplug gc", "list orphans"),
        ("vifplug gc --delete", "delete them"),
        ("virsh list --all --uuid | vifplug gc --keep - --absent-for 1h", "also VIFs of instances that are gone"),
    ),
    "events": (
        ("vifplug events --follow", "new events as they come"),
        ("vifplug events --since 41 -o json", "stored events after number 41"),
    ),
    "top": (("vifplug top", "until q"),),
    "web": (("vifplug web --port 8080", "open the printed address; from elsewhere: ssh -L 8080:127.0.0.1:8080 HOST"),),
    "history": (("vifplug history web-1", "what happened to the VIF of an instance, and when"),),
    "wait": (
        ("vifplug wait tap71a6b0e4-1a --for active --timeout 60", "until its guest is up"),
        ("vifplug wait 71a6 --timeout 0", "look once; exit 5 if it is not wired"),
    ),
    "trace": (
        ("vifplug trace web-1", "where the frames of an instance's VIF stop, and why"),
        ("vifplug trace tap71a6b0e4-1a --interval 10", "counters over ten seconds, while the guest sends"),
        ("vifplug trace 71a6 --probe", "send marked frames through a tap that no guest holds"),
    ),
    "diagram": (
        ("vifplug diagram web-1", "the path of an instance's VIF, and where it is broken"),
        ("vifplug diagram 71a6 --format svg > path.svg", "as a picture"),
        ("vifplug diagram", "the host: its bridges, their uplinks and VIFs"),
    ),
    "guest": (
        ("vifplug guest libvirt 71a6", "the <interface> element"),
        ("qemu-system-x86_64 ... $(vifplug guest qemu 71a6)", "QEMU's arguments"),
    ),
    "schema": (("vifplug schema >vif.schema.json", "for an editor that completes documents"),),
    "example": (
        ("vifplug example ovs >vif.json", "a document to edit"),
        ("vifplug example bridge -o yaml", "as YAML"),
    ),
    "completion": (
        ("vifplug completion bash >/etc/bash_completion.d/vifplug", "for every user of bash"),
        ("vifplug completion zsh >~/.zfunc/_vifplug", "zsh, with ~/.zfunc in fpath"),
        ("vifplug completion fish >~/.config/fish/completions/vifplug.fish", "fish"),
    ),
    "doctor": (
        ("vifplug doctor", "problems, why, and what to do"),
        ("vifplug doctor -v", "also what is right"),
    ),
    "host-info": (("vifplug host-info -o json", "for a compute driver"),),
    "setup-host": (
        ("vifplug setup-host --dry-run", "which steps are needed"),
        ("vifplug setup-host --operator libvirt-qemu", "prepare the host, and let that user plug VIFs"),
    ),
    "man": (
        ("vifplug man plug | man -l -", "read a page that is not installed"),
        ("vifplug man --directory /usr/local/share/man/man1", "install every page"),
    ),
    "help": (("vifplug help plug", "as vifplug plug --help"),),
}
"""By verb; "" is the program itself."""


def of(prog: str) -> Sequence[Example]:
    """The examples of ``vifplug`` or ``vifplug VERB``."""
    return EXAMPLES.get(prog.partition(" ")[2], ())


def section(prog: str) -> str:
    """The examples as the last section of a help text; "" if there are none."""
    lines = [f"  {command}\n      {text}\n" for command, text in of(prog)]
    return "\nexamples:\n" + "".join(lines) if lines else ""
