"""Golden cases: a folder each, with what should be, what is, and the plan that comes of it.

``desired.yaml``: a VIF of our own format, or a list. ``observed.yaml``: ``plugged`` lists VIFs that were plugged
before (from their own files or by ``same``), then ``set``, ``delete`` and ``add`` change what is there, and ``renamed``
(old name: new name) before them; ``ovs_bridges`` does so for Open vSwitch's bridges;
``there`` is on the host before anything is plugged, and ``absent`` says why
a part of a link is not; ``addresses`` and ``routes`` are those of its devices;
``recorded_ports`` are VLANs that were seen on a port, ``held`` the Port that has an interface, ``control_plane`` who
wires all ports; ``flushed`` says that nftables has no rules; ``strangers`` says how many ports of others there are,
``listened_on`` on which links sockets are.
``plan.txt``: the plan, a line an action, or ``conflict:`` and the message. ``VIFPLUG_WRITE_CASES=1`` writes it anew.
"""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug.errors import VifplugError
from vifplug.model.vif import Vif
from vifplug.resources import kinds as resources
from vifplug.resources.link import Link
from vifplug.resources.ovs_port import OvsPort

CASES = pathlib.Path(__file__).parent / "planner_cases"


def _load(path: pathlib.Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


def _vifs(document: Any) -> list[Vif]:
    return [Vif.model_validate(entry) for entry in (document if isinstance(document, list) else [document])]


def _disturb(host: FakeHost, observed: dict[str, Any]) -> None:
    for values in filter(None, observed.get("links", {}).values()):
        values |= {"peers": tuple(values["peers"])} if "peers" in values else {}
    for old, new in observed.get("renamed", {}).items():
        host.rename(old, new)
    for name, values in observed.get("links", {}).items():
        if values is None:
            host.remove(name)
        elif name in host.links:
            host.links[name] = replace(host.links[name], **values)
        else:
            host.links[name] = _link(name, values)
    for name, values in observed.get("ports", {}).items():
        if values is None:
            del host.ports[name]
        elif name in host.ports:
            host.ports[name] = replace(host.ports[name], **{"tag": None, "vlan_mode": None, "trunks": (), **values})
        else:
            host.ports[name] = OvsPort(name=name, **values)
    for name, values in observed.get("ovs_bridges", {}).items():
        if values is None:
            del host.bridges[name]
        else:
            host.bridges[name] = replace(host.bridges[name], **values)


def _link(name: str, values: dict[str, Any]) -> Link:
    link = resources.from_dict({"name": name, "ifindex": 4711, **values})
    assert isinstance(link, Link)
    return link


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir() if path.is_dir()))
def test_plan_of_case_is_golden(case: str, tmp_path: pathlib.Path) -> None:
    folder = CASES / case
    observed = _load(folder / "observed.yaml") or {}
    host = FakeHost(datapath=observed.get("datapath", "netdev"), bridges=observed.get("bridges", ["br-int", "br-x"]))
    host.foreign_ports = observed.get("strangers", 0)
    plugger = builders.plugger(tmp_path, host, **observed.get("options", {}))
    host.absent = observed.get("absent", {})
    host.addresses = {name: tuple(values) for name, values in observed.get("addresses", {}).items()}
    host.routes = {name: tuple(values) for name, values in observed.get("routes", {}).items()}
    host.links |= {name: _link(name, values) for name, values in observed.get("there", {}).items()}
    for document in observed.get("plugged", []):
        plugger.plug(_vifs(_load(folder / "desired.yaml") if document == "same" else document))
    for name, values in observed.get("recorded_ports", {}).items():
        # Another program sets VLANs, and the next command sees them.
        host.ports[name] = replace(host.ports[name], **{**values, "trunks": tuple(values.get("trunks", ()))})
        plugger.plug(_vifs(_load(folder / "desired.yaml")))
    plane = observed.get("control_plane", "")
    host.bridges = {name: replace(bridge, control_plane=plane) for name, bridge in host.bridges.items()}
    host.held = observed.get("held", {})
    _disturb(host, observed)
    if observed.get("flushed"):
        host.filters.clear()
    if "listened_on" in observed:
        host.listened_on = frozenset(observed["listened_on"])
    try:
        plan = str(plugger.plan(_vifs(_load(folder / "desired.yaml"))))
    except VifplugError as error:
        plan = f"{type(error).__name__}: {error}"
    golden = folder / "plan.txt"
    if os.environ.get("VIFPLUG_WRITE_CASES"):
        golden.write_text(plan + "\n" if plan else "")
    assert (plan + "\n" if plan else "") == golden.read_text()
