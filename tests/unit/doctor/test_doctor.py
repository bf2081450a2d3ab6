"""Judgements of the doctor over facts in memory, and facts read from a directory that stands for a host."""

from __future__ import annotations

import ast
import dataclasses
import os
import sqlite3
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug import doctor as room
from vifplug.api.local import LOCK_FILE, LocalHost
from vifplug.config.options import Settings
from vifplug.doctor import checks, gather, network_managers
from vifplug.doctor import state_dir as storage
from vifplug.doctor.facts import (
    CAP_NET_ADMIN,
    Chain,
    DeadPort,
    Facts,
    Firewall,
    Helper,
    Link,
    Mirror,
    Ovs,
    Plugged,
    Port,
    Remote,
    Store,
    Switch,
    Takeover,
    VifProblem,
)
from vifplug.doctor.findings import ERROR, OK, UNSEEN, WARNING, Diagnosis, Finding
from vifplug.doctor.host_info import HostInfo
from vifplug.engine.host import Scope
from vifplug.errors import HelperDied, InputError, OvsUnavailable
from vifplug.resources.observed import Observed
from vifplug.resources.veth import Veth
from vifplug.store.database import FILE
from vifplug.store.records import PLUG, Intent

REMOTE = "unix:/run/openvswitch/db.sock"
SWITCH = Switch(ovs_version="3.1.0", datapath_types=("netdev", "system"), bridges={"br-int": "netdev"})
OVS = Ovs(remotes=(Remote(remote=REMOTE),), switch=SWITCH, vswitchd=True)
WELL = Facts(
    integration_bridge="br-int",
    kernel="6.1.0-13-amd64",
    connection=(REMOTE,),
    helper=Helper(capabilities=1 << CAP_NET_ADMIN),
    store=Store(path="/var/lib/vifplug/vifplug.db", free_bytes=2**30),
    ovs=OVS,
    firewall=Firewall(bridged=frozenset({"ip", "ip6"}), chains=()),
    links=(),
    plugged=Plugged(),
)
VIF = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
ID = "71a6b0e4-1a"


def said(facts: Facts, *statuses: str) -> set[tuple[str, str]]:
    wanted = statuses or (ERROR, WARNING, UNSEEN)
    return {(each.check, each.status) for each in checks.diagnose(facts).findings if each.status in wanted}


def but(**changes: Any) -> Facts:
    return dataclasses.replace(WELL, **changes)


def with_switch(**changes: Any) -> Facts:
    return but(ovs=dataclasses.replace(OVS, switch=dataclasses.replace(SWITCH, **changes)))


def test_healthy_host_has_one_ok_of_each_check() -> None:
    found = checks.diagnose(WELL)
    assert [(each.check, each.status) for each in found.findings] == [(name, OK) for name in checks.CHECKS]
    assert found.healthy


PORT = Port(vif_id=VIF, bridge="br-int", name="qvo1", tag=7)
SPAN = Mirror(name="span", bridge="br-int", output="sink")


def with_mirror(**changes: Any) -> Facts:
    facts = with_switch(mirrors=(dataclasses.replace(SPAN, **changes),), bridges={"br-int": "netdev", "br-x": "netdev"})
    return dataclasses.replace(facts, plugged=Plugged(ports=(PORT,), total=1))


DROP = Chain(family="ip", table="filter", name="FORWARD", forward=True, drops=True)
FAULTS: dict[str, tuple[Facts, set[tuple[str, str]]]] = {
    "store": (but(store=Store(path="/s", error="attempt to write a readonly database")), {("store", ERROR)}),
    "newer store": (but(store=Store(path="/s", error="schema 9", unreadable=True)), {("store", ERROR)}),
    "full": (but(store=Store(path="/s", free_bytes=2**20)), {("store", ERROR)}),
    "closed store": (but(store=Store(path="/s", error="no", closed=True)), {("store", UNSEEN)}),
    "no tun": (but(tun_error="No such file or directory"), {("capabilities", ERROR)}),
    "read-only sysctls": (
        but(helper=Helper(capabilities=1 << CAP_NET_ADMIN, sysctls_read_only=True)),
        {("capabilities", ERROR)},
    ),
    "no capability": (but(helper=Helper(capabilities=~(1 << CAP_NET_ADMIN) & 2**40 - 1)), {("capabilities", ERROR)}),
    "old kernel": (but(kernel="5.3.18-lp152"), {("versions", ERROR)}),
    "strange kernel": (but(kernel="mine"), set()),
    "old OVS": (with_switch(ovs_version="2.9.8"), {("versions", ERROR)}),
    "OVS of two digits": (with_switch(ovs_version="2.17.9"), set()),
    "OVS without a version": (with_switch(ovs_version=None), set()),
    "one remote of two": (
        but(ovs=dataclasses.replace(OVS, remotes=(Remote(remote="unix:/x", error="No"), Remote(remote=REMOTE)))),
        {("ovsdb", WARNING)},
    ),
    "remote over the network": (
        but(ovs=dataclasses.replace(OVS, remotes=(Remote(remote="tcp:10.0.0.1:6640"),))),
        {("ovsdb", WARNING)},
    ),
    "remote on the loopback": (but(ovs=dataclasses.replace(OVS, remotes=(Remote(remote="tcp:[::1]:6640"),))), set()),
    "vswitchd": (but(ovs=dataclasses.replace(OVS, vswitchd=False, vswitchd_error="silent")), {("vswitchd", ERROR)}),
    "vswitchd behind TCP": (but(ovs=dataclasses.replace(OVS, vswitchd=None)), set()),
    "vswitchd behind": (with_switch(behind="it did not carry out"), {("vswitchd", ERROR)}),
    "mirror of others": (with_mirror(selected=("other",)), set()),
    "mirror of nothing": (with_mirror(), set()),
    "mirror of ours": (with_mirror(selected=("other", "qvo1")), {("mirrors", WARNING)}),
    "mirror of all": (with_mirror(selects_all=True), {("mirrors", WARNING)}),
    "mirror of all on another bridge": (with_mirror(selects_all=True, bridge="br-x"), set()),
    "mirror to ours": (with_mirror(selects_all=True, output="qvo1"), {("mirrors", ERROR)}),
    "mirror into our VLAN": (with_mirror(selected=("other",), output="", output_vlan=7), {("mirrors", WARNING)}),
    "mirror into another VLAN": (with_mirror(selected=("other",), output="", output_vlan=8), set()),
    "mirrors that cannot be read": (with_switch(mirrors=None), {("mirrors", UNSEEN)}),
    "no bridge": (with_switch(bridges={}), {("integration-bridge", ERROR)}),
    "no DPDK": (
        dataclasses.replace(
            with_switch(iface_types=("system", "tap")),
            plugged=Plugged(ports=(Port(vif_id=VIF, bridge="br-int", name="vhu1", type="dpdkvhostuser"),), total=1),
        ),
        {("datapath", ERROR)},
    ),
    "unknown datapath": (with_switch(datapath_types=("system",)), {("datapath", ERROR)}),
    "believer": (
        but(plugged=Plugged(ports=(Port(vif_id=VIF, bridge="br-int", datapath_type="system"),), total=1)),
        {("datapath", ERROR)},
    ),
    "believer in what is": (
        but(plugged=Plugged(ports=(Port(vif_id=VIF, bridge="br-int", datapath_type="netdev"),), total=1)),
        set(),
    ),
    "VIF's own bridge gone": (
        but(plugged=Plugged(ports=(Port(vif_id=VIF, bridge="br-x"),), total=1)),
        {("integration-bridge", ERROR)},
    ),
    "drop": (but(firewall=Firewall(bridged=frozenset({"ip"}), chains=(DROP,))), {("firewall", ERROR)}),
    "drop of what is not bridged": (but(firewall=Firewall(bridged=frozenset({"ip6"}), chains=(DROP,))), set()),
    "drop of inet": (
        but(firewall=Firewall(bridged=frozenset({"ip6"}), chains=(dataclasses.replace(DROP, family="inet"),))),
        {("firewall", ERROR)},
    ),
    "accept": (
        but(firewall=Firewall(bridged=frozenset({"ip"}), chains=(dataclasses.replace(DROP, drops=False),))),
        set(),
    ),
    "drop elsewhere": (
        but(firewall=Firewall(bridged=frozenset({"ip"}), chains=(dataclasses.replace(DROP, forward=False),))),
        set(),
    ),
    "drop of a bridge's": (
        but(firewall=Firewall(chains=(dataclasses.replace(DROP, family="bridge"),))),
        {("firewall", ERROR)},
    ),
    "drop where only ovs VIFs are": (
        but(firewall=Firewall(bridged=frozenset({"ip"}), chains=(DROP,)), plugged=Plugged(total=2)),
        {("firewall", WARNING)},
    ),
    "drop beside Neutron's of another table": (
        but(
            firewall=Firewall(
                bridged=frozenset({"ip"}),
                chains=(DROP, Chain(family="ip6", table="filter", name="neutron-openvswi-FORWARD")),
            )
        ),
        {("firewall", ERROR)},
    ),
    "legacy": (but(firewall=Firewall(bridged=frozenset({"ip"}), chains=(), legacy=("ip",))), {("firewall", UNSEEN)}),
    "legacy, not bridged": (but(firewall=Firewall(chains=(), legacy=("ip",))), set()),
    "firewall untold": (but(firewall=Firewall(bridged=frozenset({"ip"}), error="no")), {("firewall", UNSEEN)}),
    "networkd": (
        but(takeovers=(Takeover(name="systemd-networkd", prefixes=("tap",), source="/etc/x"),)),
        {("network-managers", ERROR)},
    ),
    "udev": (
        but(takeovers=(Takeover(name="systemd-udevd", prefixes=("tap",), source="/usr/lib/x"),)),
        {("network-managers", WARNING)},
    ),
    "NetworkManager": (
        but(takeovers=(Takeover(name="NetworkManager", prefixes=("tap",)),)),
        {("network-managers", WARNING)},
    ),
    "drift": (but(plugged=Plugged(problems=(VifProblem(vif_id=VIF, state="drifted", text="x"),))), {("vifs", ERROR)}),
    "interrupted": (but(plugged=Plugged(problems=(VifProblem(vif_id=VIF, state="x", text=""),))), {("vifs", WARNING)}),
    "orphan": (but(plugged=Plugged(orphans={VIF: ["bridge qbr"]})), {("orphans", ERROR)}),
    "stale": (with_switch(dead_ports=(DeadPort(name="qvo", bridge="br-int"),)), {("stale-ports", ERROR)}),
    "guest that is off": (
        with_switch(
            dead_ports=(DeadPort(name="t", bridge="br-int", iface_id=VIF, error="could not (No such device)"),)
        ),
        {("stale-ports", WARNING)},
    ),
    "guest that is off, before vswitchd has said why": (
        with_switch(dead_ports=(DeadPort(name="t", bridge="br-int", iface_id=VIF),)),
        {("stale-ports", WARNING)},
    ),
    "guest's device that vswitchd cannot take": (
        with_switch(dead_ports=(DeadPort(name="t", bridge="br-int", iface_id=VIF, error="Device or resource busy"),)),
        {("stale-ports", ERROR)},
    ),
    "bond's member": (
        with_switch(dead_ports=(DeadPort(name="e2", bridge="br-ex", bond="bond0"),)),
        {("stale-ports", ERROR)},
    ),
    "stale orphan is an orphan": (with_switch(dead_ports=(DeadPort(name="q", bridge="br-int", owner=VIF),)), set()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_by_its_check_and_by_no_other(fault: str) -> None:
    facts, expected = FAULTS[fault]
    assert said(facts) == expected
    for each in checks.diagnose(facts).findings:
        assert each.status == OK or each.reason, each
        assert each.status not in (ERROR, WARNING) or each.remedy or each.check == "datapath", each


def test_recorded_port_without_a_device_is_stale_only_where_its_vif_has_drifted() -> None:
    waiting = dataclasses.replace(
        with_switch(dead_ports=(DeadPort(name="tap1", bridge="br-int", owner=VIF),)),
        plugged=Plugged(names=frozenset({"tap1"}), total=1),
    )
    assert said(waiting) == set()
    drifted = Plugged(names=frozenset({"tap1"}), total=1, problems=(VifProblem(vif_id=VIF, state="drifted", text="x"),))
    assert said(dataclasses.replace(waiting, plugged=drifted)) == {("vifs", ERROR), ("stale-ports", ERROR)}


def test_foreign_port_is_not_to_be_deleted_before_its_owner_is_known() -> None:
    for error in ("", "No such device", "Device or resource busy"):
        facts = with_switch(dead_ports=(DeadPort(name="t", bridge="br-int", iface_id=VIF, error=error),))
        (found,) = (each for each in checks.diagnose(facts).findings if each.check == "stale-ports")
        assert 0 <= found.remedy.index(f"openstack port show {VIF}") < found.remedy.index("del-port")


def test_lost_store_gets_no_advice_to_delete_guests_devices() -> None:
    lost, left = (
        next(each.remedy for each in checks.diagnose(but(plugged=plugged)).findings if each.check == "orphans")
        for plugged in (Plugged(orphans={VIF: ["x"]}), Plugged(orphans={VIF: ["x"]}, total=1))
    )
    assert lost.startswith("no VIF is recorded at all") and left.startswith("vifplug gc --delete")


def link(prefix: str, **more: Any) -> Link:
    return Link(name=prefix + ID, **more)


WHOLE = (link("qbr"), link("qvb", master=f"qbr{ID}"), link("qvo"))
STRANGERS: dict[str, tuple[tuple[Link, ...], frozenset[str], bool]] = {
    "a bridge alone": ((link("qbr"),), frozenset(), True),
    "a veth alone": ((link("qvb"), link("qvo")), frozenset(), True),
    "whole": (WHOLE, frozenset({f"qvo{ID}"}), False),
    "no port": (WHOLE, frozenset(), True),
    "qvb out of its bridge": ((link("qbr"), link("qvb"), link("qvo")), frozenset({f"qvo{ID}"}), True),
    "with a guest": ((link("qbr"), link("tap", master=f"qbr{ID}")), frozenset(), False),
    "a guest's tap": ((link("tap", carrier=True, persistent=True),), frozenset(), False),
    "a VMM's tap that goes with it": ((link("tap"),), frozenset(), False),
    "a persistent tap that nobody has": ((link("tap", persistent=True),), frozenset(), True),
    "a persistent tap that is a port": ((link("tap", persistent=True),), frozenset({f"tap{ID}"}), False),
    "ours": ((link("qbr", is_owned=True), link("qvb")), frozenset(), False),
    "another's name": ((Link(name="qbr-lan"), Link(name="tap0"), Link(name="qbr71a6b0e4-1ab")), frozenset(), False),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_stranger_is_a_leftover_where_it_leads_nowhere(case: str) -> None:
    links, ports, is_left = STRANGERS[case]
    facts = dataclasses.replace(with_switch(ports=ports), links=links)
    assert said(facts) == ({("strangers", ERROR)} if is_left else set())


def test_nothing_is_reported_of_ovs_where_none_is_expected() -> None:
    none = but(ovs=Ovs(expected=False, remotes=(Remote(remote=REMOTE, error="No such file or directory"),)))
    assert said(none) == set()
    missed = but(ovs=Ovs(remotes=(Remote(remote=REMOTE, error="No such file or directory"),)))
    assert said(missed, ERROR) == {("ovsdb", ERROR)}
    assert {check for check, _ in said(missed, UNSEEN)} == {
        *("vswitchd", "integration-bridge", "datapath", "mirrors", "stale-ports")
    }


def test_without_a_helper_what_needs_it_is_unseen_and_says_why() -> None:
    blind = Facts(integration_bridge="br-int", helper=Helper(error="it died"), unseen="there is no helper")
    found = checks.diagnose(blind)
    assert said(blind, ERROR) == {("helper", ERROR)}
    assert all(each.reason for each in found.findings if each.status == UNSEEN)
    may_not = dataclasses.replace(blind, helper=Helper(error="sudo: a password is required", unprivileged=True))
    assert checks.diagnose(may_not).healthy


@pytest.mark.parametrize(
    ("ago", "expected"),
    [((), OK), ((5,), WARNING), ((5, 6), WARNING), ((1, 2, 3), ERROR), ((4000,), OK), ((-50,), OK)],
)
def test_restarts_are_reported_while_they_are_recent(ago: tuple[int, ...], expected: str) -> None:
    now = 1_000_000.0
    (found,) = checks.restarts([(now - seconds, "the privileged helper") for seconds in sorted(ago, reverse=True)], now)
    assert (found.check, found.status) == ("daemon", expected)


def test_diagnosis_is_the_same_after_its_journey() -> None:
    reported = Diagnosis(findings=(Finding(check="a", status=ERROR, subject="s", reason="r", remedy="m"),))
    assert Diagnosis.from_json(reported.as_json()) == reported
    later = {**reported.as_json(), "new": 1, "checks": [{**reported.findings[0].as_json(), "new": 2}]}
    assert Diagnosis.from_json(later) == reported
    with pytest.raises(KeyError):
        Diagnosis.from_json({"checks": [{"check": "a"}]})


def test_judgements_import_nothing_that_looks() -> None:
    for name in ("facts", "findings", "host_info", "checks", "openvswitch", "firewall"):
        tree = ast.parse((Path(room.__file__).parent / f"{name}.py").read_text())
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {
            each
            for node in nodes
            for each in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        assert not modules & {"os", "pathlib", "socket", "subprocess", "sqlite3"}, name
        assert all(
            not (each or "").startswith("vifplug.")
            or "doctor" in (each or "")
            or each == "vifplug.model.claims"
            or each in ("vifplug.netlink", "vifplug.model.codec")
            for each in modules
        ), name


# -- facts ------------------------------------------------------------------------------------------------


def host_with(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


NETWORKD = {"sys/fs/cgroup/system.slice/systemd-networkd.service/cgroup.procs": "312\n"}
NM = {"sys/fs/cgroup/system.slice/NetworkManager.service/cgroup.procs": "313\n"}
EVERY = ["qbr", "qvb", "qvo", "brq", "tap"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {}),
        ({"10-all.network": "[Match]\nName=*\n[Network]\nDHCP=yes\n"}, {"10-all.network": EVERY}),
        ({"10-all.network": "# all\n[Match]\nName=en* eth*\n"}, {}),
        ({"10-all.network": "[Match]\n"}, {}),
        ({"10-all.network": "[Match]\nName=*\nMACAddress=00:11:22:33:44:55\n"}, {}),
        ({"10-kind.network": "[Match]\nKind=veth\n"}, {"10-kind.network": ["qvb", "qvo"]}),
        ({"10-type.network": "[Match]\nType=ether\n"}, {"10-type.network": ["qvb", "qvo", "tap"]}),
        ({"10-not.network": "[Match]\nName=!lo en*\n"}, {"10-not.network": EVERY}),
        ({"10-tap.network": "[Match]\nName=eth0\nName=tap*\n"}, {"10-tap.network": ["tap"]}),
        ({"10-a.network": "[Match]\nName=tap*\n[Link]\nUnmanaged=yes\n", "20-b.network": "[Match]\nName=*\n"},
         {"20-b.network": ["qbr", "qvb", "qvo", "brq"]}),
        ({"10-a.conf": "[Match]\nName=*\n"}, {}),
        ({"80-container-ve.network": "[Match]\nKind=veth\nName=ve-*\nDriver=veth\n"}, {}),
        ({"10-a.network": "[Match]\nName=*\n", "10-a.network.d/ours.conf": "[Match]\nName=\nName=en*\n"}, {}),
        ({"10-a.network": "[Match]\nName=*\n", "10-a.network.d/ours.conf": "[Link]\nUnmanaged=y\n"}, {}),
        ({"10-a.network": "[Match]\nName=qbr* \\\n  tap* brq*\n[Link]\nUnmanaged=t\n",
          "20-b.network": "[Match]\nName=*\n"}, {"20-b.network": ["qvb", "qvo"]}),
        ({"10-host.network": "[Match]\nName=*\nVirtualization=!container\n"}, {"10-host.network": EVERY}),
        ({"10-host.network": "[Match]\nKernelCommandLine=!nfsroot\n"}, {"10-host.network": EVERY}),
    ],
)  # fmt: skip
def test_networkd_takes_what_its_first_matching_file_says(
    tmp_path: Path, files: dict[str, str], expected: dict[str, list[str]]
) -> None:
    root = host_with(tmp_path, {**NETWORKD, **{f"etc/systemd/network/{name}": text for name, text in files.items()}})
    found = {Path(each.source).name: sorted(each.prefixes) for each in network_managers.takeovers(root)}
    assert found == {name: sorted(prefixes) for name, prefixes in expected.items()}


def test_networkd_that_does_not_run_takes_nothing_and_etc_goes_before_usr(tmp_path: Path) -> None:
    mine = {"usr/lib/systemd/network/10-all.network": "[Match]\nName=*\n"}
    assert network_managers.takeovers(host_with(tmp_path, mine)) == []
    host_with(tmp_path, {"run/systemd/netif/state": ""})  # which it leaves behind
    assert network_managers.takeovers(tmp_path) == []
    (taken,) = network_managers.takeovers(host_with(tmp_path, NETWORKD))
    assert taken.source == "/usr/lib/systemd/network/10-all.network"
    (tmp_path / "etc/systemd/network").mkdir(parents=True)
    (tmp_path / "etc/systemd/network/10-all.network").symlink_to("/dev/null")  # systemd's way to mask a file
    host_with(tmp_path, {"etc/systemd/network/10-all.network.d/more.conf": "[Match]\nName=*\n"})
    assert network_managers.takeovers(tmp_path) == []


@pytest.mark.parametrize(
    ("conf", "left"),
    [
        ("", EVERY),
        ("[keyfile]\nunmanaged-devices=" + ";".join(f"interface-name:{name}*" for name in EVERY), []),
        ("[keyfile]\nunmanaged-devices=interface-name:?[bv]?*, interface-name:tap*,interface-name:brq*", []),
        ("[keyfile]\nunmanaged-devices=interface-name:tap*", ["qbr", "qvb", "qvo", "brq"]),
        ("[keyfile]\nunmanaged-devices=type:bridge;driver:veth", ["tap"]),
        ("[keyfile]\nunmanaged-devices=*;except:interface-name:tap*", ["tap"]),
        ("[device-ours]\nmatch-device=interface-name:qbr*;interface-name:tap*\nmanaged=0", ["qvb", "qvo", "brq"]),
        ("[device-ours]\nmatch-device=interface-name:*\nmanaged=1", EVERY),
        ("unmanaged-devices=*\n[keyfile\n=;=", []),
        ("[keyfile]\nunmanaged-devices=interface-name:tap*\nunmanaged-devices+=type:bridge;driver:veth", []),
        ("[keyfile]\nunmanaged-devices=interface-name:tap*;type:bridge\nunmanaged-devices-=type:bridge",
         ["qbr", "qvb", "qvo", "brq"]),
    ],
)  # fmt: skip
def test_network_manager_must_be_configured_for_each_prefix(tmp_path: Path, conf: str, left: list[str]) -> None:
    root = host_with(tmp_path, {**NM, "etc/NetworkManager/conf.d/vifplug.conf": conf})
    assert sorted(prefix for each in network_managers.takeovers(root) for prefix in each.prefixes) == sorted(left)


def test_network_managers_files_count_in_its_own_order(tmp_path: Path) -> None:
    """The system's first, then NetworkManager.conf, then the operator's: whatever their names."""
    every = "[keyfile]\nunmanaged-devices=" + ";".join(f"interface-name:{name}*" for name in EVERY)
    other = "[keyfile]\nunmanaged-devices=interface-name:eth9"
    places = [
        *("usr/lib/NetworkManager/conf.d/30.conf", "run/NetworkManager/conf.d/20.conf"),
        *("etc/NetworkManager/NetworkManager.conf", "etc/NetworkManager/conf.d/10.conf"),
    ]
    for last in range(1, len(places)):
        root = tmp_path / str(last)
        host_with(root, {**NM, **dict.fromkeys(places[:last], other), places[last]: every})
        assert network_managers.takeovers(root) == []
        (root / places[last]).write_text(other)
        (root / places[0]).write_text(every)
        assert [each.name for each in network_managers.takeovers(root)] == ["NetworkManager"]
    hiding = {places[3]: every, "etc/NetworkManager/conf.d/30.conf": "", places[0]: "[device]\nmanaged=1\n" + other}
    assert network_managers.takeovers(host_with(tmp_path / "hidden", {**NM, **hiding})) == []


def test_network_manager_is_known_by_its_pid_file_while_that_process_is_there(tmp_path: Path) -> None:
    root = host_with(tmp_path, {"run/NetworkManager/NetworkManager.pid": "4711\n"})
    assert network_managers.takeovers(root) == []
    assert [each.name for each in network_managers.takeovers(host_with(root, {"proc/4711/status": ""}))] == [
        "NetworkManager"
    ]


def test_br_netfilter_is_read_by_family_and_may_not_be_there(tmp_path: Path) -> None:
    assert network_managers.bridged_families(tmp_path) == frozenset()
    switches = {"bridge-nf-call-iptables": "1\n", "bridge-nf-call-ip6tables": "0\n"}
    host_with(tmp_path, {f"proc/sys/net/bridge/{name}": value for name, value in switches.items()})
    assert network_managers.bridged_families(tmp_path) == {"ip"}


def test_tun_must_be_a_device(tmp_path: Path) -> None:
    assert network_managers.tun_error(tmp_path) == "No such file or directory"
    assert network_managers.tun_error(host_with(tmp_path, {"dev/net/tun": ""})) == "it is not a device"
    (tmp_path / "dev/net/tun").unlink()
    (tmp_path / "dev/net/tun").symlink_to("/dev/null")
    assert network_managers.tun_error(tmp_path) == ""


def test_store_is_tried_and_not_touched(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    assert storage.look(str(directory)).error == "" and not directory.exists()
    directory.mkdir()
    assert storage.look(str(directory)).error == "" and list(directory.iterdir()) == []
    path = directory / FILE
    path.write_bytes(b"not a database at all" * 100)
    assert "not a database" in storage.look(str(directory)).error
    path.unlink()
    builders.plugger(directory, FakeHost()).store.close()
    before = path.read_bytes()
    assert storage.look(str(directory)).error == ""
    assert path.read_bytes() == before
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert storage.look(str(directory)).error == ""  # somebody writes: so it can be written
    writer.close()
    file = tmp_path / "file"
    file.write_text("")
    assert "is not a directory" in storage.look(str(file / "state")).error


def test_store_is_its_own_files_and_not_others_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builders.plugger(tmp_path, FakeHost()).store.close()
    assert storage.LOCKS == LOCK_FILE
    closed: set[str] = set()  # to root, who runs the tests, no file is
    real = os.access

    def access(path: str, mode: int, **more: Any) -> bool:
        return os.path.basename(path) not in closed and real(path, mode, **more)

    monkeypatch.setattr(os, "access", access)
    for name in (f"{FILE}.bak", "notes", LOCK_FILE):
        (tmp_path / name).write_text("")
        closed.add(name)
        error = storage.look(str(tmp_path)).error
        assert (LOCK_FILE in error) == (name == LOCK_FILE), error


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b", "a b"])
def test_store_may_have_any_name(tmp_path: Path, name: str) -> None:
    builders.plugger(tmp_path / name, FakeHost()).store.close()
    assert storage.look(str(tmp_path / name)).error == ""
    assert os.listdir(tmp_path) == [name]


class Broken(FakeHost):
    """A host of whose parts one fails."""

    def __init__(self, part: str, error: Exception) -> None:
        super().__init__()
        self.error = error
        setattr(self, part, self._fail)

    def _fail(self) -> NoReturn:
        raise self.error


@pytest.mark.parametrize(
    ("part", "error", "check"),
    [
        ("helper", HelperDied("it ended"), "helper"),
        ("reach", ValueError("no such remote"), "ovsdb"),
        ("switch", OvsUnavailable("it does not answer"), "ovsdb"),
        ("vswitchd", RuntimeError("odd"), "ovsdb"),
        ("forwarding", OSError("odd"), "firewall"),
    ],
)
def test_part_that_fails_is_a_finding_and_hides_no_other(
    tmp_path: Path, part: str, error: Exception, check: str
) -> None:
    broken = Broken(part, error)
    plugger = builders.plugger(tmp_path, broken)
    root = host_with(tmp_path / "root", {"proc/sys/net/bridge/bridge-nf-call-iptables": "1"})
    found = gather.diagnose(Settings(state_dir=str(tmp_path)), plugger, broken, root)
    assert {each.check for each in found.findings} == set(checks.CHECKS)
    assert any(
        each.check == check and each.status in (ERROR, UNSEEN) and str(error) in each.reason for each in found.findings
    )


def test_records_that_cannot_be_compared_are_a_fault_unless_it_may_pass(tmp_path: Path) -> None:
    class Odd(FakeHost):
        error: Exception

        def observe(self, scope: Scope) -> Observed:
            raise self.error

    fake = Odd()
    plugger = builders.plugger(tmp_path, fake)
    # A record whose driver was uninstalled meanwhile does this.
    for fake.error, status in ((InputError("vif_type is 'theirs'"), ERROR), (OvsUnavailable("away"), UNSEEN)):
        found = gather.diagnose(Settings(state_dir=str(tmp_path)), plugger, fake, tmp_path / "root").findings
        (vifs,) = (each for each in found if each.check == "vifs")
        assert (vifs.status, str(fake.error) in vifs.reason, bool(vifs.remedy)) == (status, True, status == ERROR)
        assert [each.status for each in found if each.check == "orphans"] == [UNSEEN]


def test_damaged_record_is_to_be_written_anew_and_not_repaired(tmp_path: Path) -> None:
    fake = FakeHost()
    plugger = builders.plugger(tmp_path, fake)
    host = builders.local_host(plugger, settings=Settings(state_dir=str(tmp_path)))
    host.plug([builders.vif()])
    database = sqlite3.connect(tmp_path / FILE)
    with database:
        database.execute("UPDATE records SET body = '{'")
    database.close()
    (found,) = (each for each in host.doctor().findings if each.check == "vifs")
    assert (found.status, found.subject) == (ERROR, builders.HYBRID)
    assert found.remedy == f"plug it again, or vifplug unplug {builders.HYBRID}"


def test_link_of_a_plug_under_way_is_not_foreign_though_it_has_no_mark_yet(tmp_path: Path) -> None:
    fake = FakeHost()
    plugger = builders.plugger(tmp_path, fake)
    host = builders.local_host(plugger, settings=Settings(state_dir=str(tmp_path)))
    host.plug([builders.vif()])
    record = plugger.store.record(builders.HYBRID)
    assert record is not None
    host.unplug([builders.HYBRID])
    qvo = next(item for item in record.resources if isinstance(item, Veth) and item.name.startswith("qvo"))
    fake.links[qvo.name] = dataclasses.replace(qvo, owner="", alias="")
    assert [each.check for each in errors_of(host)] == ["strangers"]
    intent = Intent(vif_id=builders.HYBRID, verb=PLUG, session=1, resources=record.resources)
    plugger.store.begin([intent], {})
    assert errors_of(host) == []


_OF_THE_MACHINE = {"capabilities", "versions", "network-managers"}
"""What depends on the machine that runs the tests."""


def errors_of(host: LocalHost) -> list[Finding]:
    return [each for each in host.doctor().findings if each.status == ERROR and each.check not in _OF_THE_MACHINE]


def test_library_has_a_doctor_that_sees_what_is_recorded(tmp_path: Path) -> None:
    fake = FakeHost()
    plugger = builders.plugger(tmp_path, fake)
    host = builders.local_host(plugger, settings=Settings(state_dir=str(tmp_path)))
    host.plug([builders.vif(network={"id": builders.NETWORK, "mtu": 1450, "datapath_type": "system"})])
    assert [each.subject for each in errors_of(host)] == ["br-int"]
    host.plug([builders.vif(network={"id": builders.NETWORK, "mtu": 1450})])
    assert errors_of(host)  # what a request does not say stays as it was said
    host.plug([builders.vif(network={"id": builders.NETWORK, "mtu": 1450, "datapath_type": "netdev"})])
    assert errors_of(host) == []
    (qvo,) = (name for name in fake.links if name.startswith("qvo"))
    del fake.links[qvo]
    (found,) = errors_of(host)
    assert (found.check, found.subject) == ("vifs", builders.HYBRID) and qvo in found.reason


def test_repair_does_not_warn_of_the_datapath_again(tmp_path: Path) -> None:
    fake = FakeHost()
    host = builders.local_host(builders.plugger(tmp_path, fake))
    asked = builders.vif(network={"id": builders.NETWORK, "mtu": 1450, "datapath_type": "system"})
    assert len(host.plug([asked])[0].warnings) == 1
    for port in list(fake.ports):
        del fake.ports[port]
    assert list(host.repair()[0].warnings) == []
    assert len(host.plug([asked])[0].warnings) == 1


def test_host_info_is_what_is_known_without_open_vswitch(tmp_path: Path) -> None:
    fake = FakeHost()
    whole = gather.host_info(Settings(), fake)
    assert (whole.integration_bridge_datapath, whole.ovs.ovs_version) == ("netdev", "3.1.0")
    assert HostInfo.from_json({**whole.as_json(), "new": 1}) == whole
    plugger = builders.plugger(tmp_path, fake)
    plugger.ovs_away = True
    for less in (builders.local_host(plugger).host_info(), gather.host_info(Settings(), None)):
        assert (less.vif_types, less.integration_bridge_datapath) == (whole.vif_types, None)
        assert (less.ovs.connected, less.ovs.datapath_types) == (False, ())
    broken = gather.host_info(Settings(), Broken("about", OvsUnavailable("away")))
    assert broken.ovs.connected is False


def test_address_that_is_used_and_standbys_are_named() -> None:
    used, spare = Remote(remote="unix:/a", used=True), Remote(remote="unix:/b", unfit="it is a standby")
    said = checks.diagnose(but(ovs=dataclasses.replace(OVS, remotes=(used, spare)))).findings
    words = {each.subject: (each.status, each.reason) for each in said if each.check == "ovsdb"}
    assert words == {
        "unix:/a": ("ok", "this OVSDB address is used"),
        "unix:/b": ("ok", "not used: it is a standby"),
    }


def test_standby_alone_is_an_error() -> None:
    alone = Ovs(remotes=(Remote(remote="unix:/b", unfit="it is a standby"),), error="could not reach OVSDB")
    said = checks.diagnose(but(ovs=alone)).findings
    assert [each.status for each in said if each.check == "ovsdb"] == [ERROR, ERROR]
