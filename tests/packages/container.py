"""What can be checked of etc/container without an engine: its steps, and its daemon with the documented privileges.

The image's root lies in the machine's. Its daemon shares the machine's network namespace and the directories that the
documented command line gives it; it has its own mounts and processes.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

from tests.packages.machine import Machine, archive, until
from tests.packages.tally import Tally

CONTAINER = Path(__file__).parents[2] / "etc" / "container"
SAMPLE = Path(__file__).parents[1] / "samples" / "ml2ovs_hybrid_port_create_2.json"
IMAGE = "srv/image"
SOCKET = "/run/vifplug/vifplug.sock"
_SHARED = ("/run/openvswitch", "/run/vifplug", "/var/lib/vifplug")
_START = """
set -eu
root=$1; shared=$2; capabilities=$3; shift 3
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for path in $shared; do mkdir -p "$path" "$root$path"; mount --bind "$path" "$root$path"; done
exec chroot "$root" setpriv --no-new-privs --bounding-set="-all,$capabilities" --inh-caps="-all" "$@"
"""


def prepare(machine: Machine, package: Path, work: Path) -> None:
    """Carry out the steps of the Containerfile, before the boot: a fresh Debian, the package, apt."""
    text = (CONTAINER / "Containerfile").read_text().replace("\\\n", " ")
    (copied,) = re.findall(r"^COPY (\S+) (\S+)$", text, flags=re.MULTILINE)
    (script,) = re.findall(r"^RUN (.*)$", text, flags=re.MULTILINE)
    root = machine.root / IMAGE
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", archive("13", work), "--exclude=./dev/*"], check=True)
    (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    assert package.match(copied[0]), copied
    shutil.copy(package, root / copied[1].removeprefix("/"))
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc", name), root / "etc" / name)
    machine.chroot("sh", "-ec", script, root=root)


def check(machine: Machine, tally: Tally) -> None:
    """Plug a VIF through the daemon of the image; end it, and see the VIF stay."""
    text = (CONTAINER / "Containerfile").read_text()
    entrypoint = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, flags=re.MULTILINE)[0])
    (listed,) = re.findall(r"--cap-add (\S+)", (CONTAINER / "README.md").read_text())
    capabilities = ",".join(f"+{name.lower()}" for name in listed.split(","))
    start = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _START, "start")
    argv = machine.argv(*start, f"/{IMAGE}", " ".join(_SHARED), capabilities, *entrypoint)
    with tally.check("container: a VIF is plugged with the documented privileges"):
        machine.run("sh", "-c", "ovs-vsctl --may-exist add-br br-int -- set Bridge br-int datapath_type=netdev")
        daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            until(lambda: machine.run("test", "-S", SOCKET, check=False) == "", "the socket", 60)
            client = ("chroot", f"/{IMAGE}", "vifplug", "--socket", SOCKET)
            shutil.copy(SAMPLE, machine.root / IMAGE / "srv/port.json")
            # The daemon's mounts are its own; the client needs these.
            machine.run("mount", "--bind", "/run/vifplug", f"/{IMAGE}/run/vifplug")
            machine.run("mount", "--rbind", "/dev", f"/{IMAGE}/dev")
            machine.run(*client, "plug", "/srv/port.json", "--mtu", "1450")
            assert "qbr2bc1ec8f-4b" in machine.run("ip", "link")
            assert machine.run("ovs-vsctl", "port-to-br", "qvo2bc1ec8f-4b") == "br-int\n"
            machine.run("pkill", "-TERM", "-o", "-x", Path(entrypoint[0]).name)
            assert daemon.wait(60) in (0, -signal.SIGTERM)
            assert "qbr2bc1ec8f-4b" in machine.run("ip", "link")
        finally:
            machine.run("pkill", "-KILL", "-x", Path(entrypoint[0]).name, check=False)
            daemon.kill()
            output, _ = daemon.communicate()
            tally.note(output.decode(errors="replace")[-600:].replace("\n", " | "))
