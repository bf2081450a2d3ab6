"""udev and new taps: what is waited for, what is said of it, and that a MAC it wrote is put right."""

from __future__ import annotations

import configparser
import fnmatch
import pathlib
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import builders
from tests.support.fake_host import FakeHost
from tests.unit.doctor.test_doctor import host_with
from vifplug import errors
from vifplug.doctor import network_managers
from vifplug.netlink import udev
from vifplug.resources.tap import Tap

ETC = pathlib.Path(__file__).parents[3] / "etc"
LINK = (ETC / "udev" / udev.LINK_FILE).read_text()
DEFAULT = "[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=keep kernel\nMACAddressPolicy=persistent\n"
_GROUP = "sys/fs/cgroup/system.slice/systemd-udevd.service"
UDEVD = {f"{_GROUP}/cgroup.procs": "", f"{_GROUP}/udev/cgroup.procs": "200\n"}
"""As since systemd 252: its processes are in a group in the unit's."""
NAME, INDEX = "tap81ab5618-df", 7


class Overwriting(FakeHost):
    """A host where another MAC is written on new taps, so often."""

    times = 1

    def observe(self, scope):  # type: ignore[no-untyped-def]
        taps = [link for link in self.links.values() if isinstance(link, Tap)]
        if taps and self.times:
            self.times -= 1
            self.links |= {tap.name: replace(tap, address="02:00:00:00:00:77") for tap in taps}
        return super().observe(scope)


@pytest.mark.parametrize("kind", ["ovs", "bridge"])
def test_mac_that_another_wrote_on_a_new_tap_is_set_again(tmp_path: Path, kind: str) -> None:
    host = Overwriting()
    plugger = builders.plugger(tmp_path, host)
    vif = builders.vif(kind)
    plugger.plug([vif])
    (tap,) = [link for link in host.links.values() if isinstance(link, Tap)]
    assert tap.address is not None and tap.address.startswith("fe:")


def test_mac_that_is_written_for_ever_fails_the_plug(tmp_path: Path) -> None:
    host = Overwriting()
    host.times = 10**6
    with pytest.raises(errors.VerifyError, match="address: '02:00"):
        builders.plugger(tmp_path, host).plug([builders.vif("ovs")])
    assert host.links == {}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with udev and a tap that it has not looked at yet."""
    monkeypatch.setattr(socket, "if_nametoindex", lambda _name: INDEX)
    monkeypatch.setattr(udev, "_UDEV_SECONDS", 0.5)
    return host_with(
        tmp_path, {"run/udev/control": "", "run/udev/data/n1": "", f"sys/class/net/{NAME}/ifindex": f"{INDEX}\n"}
    )


def waited(root: Path, name: str = NAME) -> float:
    began = time.monotonic()
    udev.Udev(root).await_taps([name], began)
    return time.monotonic() - began


def test_udev_is_waited_for_until_it_knows_the_tap(root: Path) -> None:
    file = root / f"run/udev/data/n{INDEX}"
    timer = threading.Timer(0.1, lambda: file.write_text("I:1\n"))
    timer.start()
    assert 0.09 < waited(root) < 0.45
    timer.join()
    assert waited(root) < 0.09


def test_udev_that_never_does_is_waited_for_within_a_bound(root: Path) -> None:
    assert waited(root) >= 0.5


def test_with_the_link_file_nothing_is_waited_for(root: Path) -> None:
    host_with(root, {f"etc/systemd/network/{udev.LINK_FILE}": LINK})
    assert waited(root) < 0.2
    # A name that the file does not match may be written on.
    host_with(root, {"sys/class/net/mine/ifindex": f"{INDEX}\n"})
    assert waited(root, "mine") >= 0.5


def test_udev_of_another_network_namespace_is_not_waited_for(root: Path) -> None:
    (root / f"sys/class/net/{NAME}/ifindex").write_text("9\n")
    assert waited(root) < 0.2


def sockets(root: Path, *rows: str) -> None:
    """The netlink sockets of this network namespace: protocol, pid and groups of each."""
    header = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
    table = "".join(f"000000005f6dcf2c {row} 0        0        0     2        0        1234    \n" for row in rows)
    host_with(root, {"proc/thread-self/net/netlink": header + table})


ROUTE, KERNEL, COPIES = "0   100        00000001", "15  200        00000001", "15  300        00000002"


@pytest.mark.parametrize("rows", [[], [ROUTE], [ROUTE, COPIES]])
def test_without_a_listener_to_the_kernels_events_there_is_no_udev_to_wait_for(root: Path, rows: list[str]) -> None:
    sockets(root, *rows)
    assert waited(root) < 0.1
    (root / "run/udev/control").unlink()
    began = time.monotonic()
    udev.Udev(root).await_taps([NAME], began + 0.5)
    assert time.monotonic() - began < 0.1


@pytest.mark.parametrize("rows", [[KERNEL], [ROUTE, COPIES, KERNEL], ["15  200        new-form"]])
def test_a_listener_may_be_udev_and_so_may_an_unreadable_table(root: Path, rows: list[str]) -> None:
    sockets(root, *rows)
    assert waited(root) >= 0.5
    (root / "run/udev/control").unlink()
    began = time.monotonic()
    udev.Udev(root).await_taps([NAME], began + 0.1)
    assert time.monotonic() - began >= 0.1


def test_after_a_mac_was_overwritten_there_is_a_wait_without_a_listener(root: Path) -> None:
    sockets(root)
    (root / "run/udev/control").unlink()
    found = udev.Udev(root)
    found.has_overwritten = True
    began = time.monotonic()
    found.await_taps([NAME], began)
    assert time.monotonic() - began >= 0.05


def test_link_file_matches_openstacks_taps_and_no_others() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(LINK)
    pattern = parser["Match"]["OriginalName"]
    for name, expected in {
        NAME: True,
        "tap0": False,
        "tap81ab5618-d": False,
        "tap81ab5618-dg": False,
        "tap81ab5618-df1": False,
        "tapvpn00000-00": False,
        "qvb81ab5618-df": False,
    }.items():
        assert (fnmatch.fnmatchcase(name, pattern), udev.is_covered(name)) == (expected, expected), name
    assert parser["Match"]["Driver"] == "tun"
    assert dict(parser["Link"]) == {"macaddresspolicy": "none"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, []),
        ({"usr/lib/systemd/network/99-default.link": DEFAULT}, ["/usr/lib/systemd/network/99-default.link"]),
        ({"usr/lib/systemd/network/99-default.link": DEFAULT, f"etc/systemd/network/{udev.LINK_FILE}": LINK}, []),
        ({"etc/systemd/network/50-mine.link": LINK, "usr/lib/systemd/network/99-default.link": DEFAULT}, []),
        ({"etc/systemd/network/99-default.link": "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep\n"}, []),
        ({"etc/systemd/network/10-eth.link": DEFAULT.replace("*", "eth*"),
          "usr/lib/systemd/network/99-d.link": DEFAULT},
         ["/usr/lib/systemd/network/99-d.link"]),
        ({"lib/systemd/network/99-default.link": DEFAULT,
          "lib/systemd/network/99-default.link.d/no.conf": "[Link]\nMACAddressPolicy=none\n"}, []),
    ],
)  # fmt: skip
def test_udev_that_writes_macs_is_reported(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    assert network_managers.takeovers(host_with(tmp_path, files)) == [], "it does not run"
    found = network_managers.takeovers(host_with(tmp_path, UDEVD))
    assert [(each.name, each.source, tuple(each.prefixes)) for each in found] == [
        ("systemd-udevd", source, ("tap",)) for source in expected
    ]


def test_shipped_file_keeps_network_manager_off_every_device(tmp_path: Path) -> None:
    running = {"sys/fs/cgroup/system.slice/NetworkManager.service/cgroup.procs": "313\n"}
    assert len(network_managers.takeovers(host_with(tmp_path, running))) == 1
    shipped = (ETC / "networkmanager" / "vifplug.conf").read_text()
    assert network_managers.takeovers(host_with(tmp_path, {"etc/NetworkManager/conf.d/vifplug.conf": shipped})) == []
