"""The tutorial of two hosts: its document is valid, and gives the plan that it shows."""

from __future__ import annotations

import pathlib
import re

import vifplug
from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug.resources.link import Link

TUTORIAL = (pathlib.Path(__file__).parents[3] / "docs" / "tutorials" / "two-hosts.md").read_text()


def _document() -> str:
    """The first JSON document, which is indented."""
    begin = TUTORIAL.index("    {\n")
    return TUTORIAL[begin : TUTORIAL.index("\n    }\n", begin) + len("\n    }")]


def _plan() -> list[str]:
    """The output of --dry-run."""
    _before, _command, after = TUTORIAL.partition("$ vifplug plug one.json --dry-run\n")
    return [line.strip() for line in after.partition("    $ ")[0].splitlines()]


def test_tutorial_shows_the_plan_of_its_document(tmp_path: pathlib.Path) -> None:
    vif = vifplug.load(_document())
    address = re.findall(r"vxlan_local_ip = (\S+)", TUTORIAL)[0]
    host = FakeHost()
    host.links["eth1"] = Link(name="eth1", mtu=1500, up=True)
    host.addresses["eth1"] = (address,)
    options = {"physical_networks": {"physnet1": "eth1"}, "vxlan_local_ip": address}
    plugger = builders.plugger(tmp_path, host, configurable=("eth1", f"local/{address}"), **options)
    assert str(plugger.plan([vif])).splitlines() == _plan()
