"""Names of devices: what the kernel does not take as it is, is refused in every format, before anything is touched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.vifs import BRIDGE, HYBRID, OVS
from tests.support.world.world import World
from vifplug import errors, formats, naming

TEMPLATE = "br%d"
CANDIDATES = [
    *(f"a{chr(code)}b" for code in range(1, 256)),
    *("br%d", "%", "a%", "%%", "a%s", ".", "..", "...", ".a", "all", "default", "All", "all0", "lo0", "-a", "0", "#5"),
    *(
        "é" * 7 + "x",
        "é" * 8,
        "x" * 15,
        "x" * 16,
        "à",
        "\N{CYRILLIC CAPITAL LETTER ER}",
        "€",
        "\N{OGHAM SPACE MARK}",
        "\N{EN SPACE}",
        "\N{GRINNING FACE}",
    ),
]


def taken_by_the_kernel(world: World, names: list[str]) -> set[str]:
    """Those of which the kernel makes a device of just this name."""
    for name in names:
        world.run("ip", "link", "add", "name", name, "type", "bridge", check=False)
    # iproute2 writes control characters into its JSON as they are.
    made = json.loads(world.run("ip", "-j", "link", "show", "type", "bridge").stdout, strict=False)
    return {link["ifname"] for link in made}.intersection(names)


def test_name_that_is_accepted_is_one_that_the_kernel_takes_as_it_is(world: World) -> None:
    accepted = {name for name in CANDIDATES if naming.is_link_name(name)}
    taken = taken_by_the_kernel(world, CANDIDATES)
    assert accepted - taken == set()
    # Refused besides: what a person could not tell apart, or what a terminal would obey.
    besides = taken - accepted
    assert all(not name.isprintable() or any(char.isspace() for char in name) for name in besides), besides


def neutron(samples: Path, **details: str) -> Any:
    document = json.loads((samples / "ml2ovs_hybrid_port_get_active_1.json").read_text())
    document["port"]["binding:vif_details"] |= details
    return document


def nova(samples: Path, **fields: Any) -> Any:
    (first, *_) = json.loads((samples / "nova_network_info_ovs_plain_create_tap.json").read_text())
    return [first | fields]


def osvif(samples: Path, **fields: Any) -> Any:
    document = json.loads((samples / "osvif_ovs_plain_create_tap.json").read_text())
    document["versioned_object.data"] |= fields
    return document


def documents(samples: Path, name: str) -> list[Any]:
    """Every place of every format that holds a device's name."""
    return [
        BRIDGE.but(network={"bridge": name}).document,
        OVS.but(network={"bridge": name}).document,
        *(HYBRID.but(names={role: name}).document for role in ("qbr", "qvb", "qvo", "tap")),
        neutron(samples, bridge_name=name),
        nova(samples, devname=name),
        nova(samples, details={"bridge_name": name}),
        osvif(samples, vif_name=name),
        osvif(samples, bridge_name=name, network=None),
    ]


@pytest.mark.parametrize("name", [TEMPLATE, "tap%", "all", "default", "..", "a/b", "a b", "x" * 16, "à"])
def test_wrong_name_is_refused_in_every_format(samples: Path, name: str) -> None:
    for document in documents(samples, name):
        with pytest.raises(errors.InputError, match="it must be a device name"):
            vifplug.load(document)


@pytest.mark.parametrize("number", range(11))
def test_template_is_refused_on_the_command_line_and_nothing_is_touched(
    world: World, samples: Path, number: int
) -> None:
    before = world.snapshot()
    text = json.dumps(documents(samples, TEMPLATE)[number])
    result = world.vifplug("-o", "json", "plug", "-", input=text, check=False)
    assert result.returncode == 2, result
    error = json.loads(result.stderr)["error"]
    assert error["type"] == "InputError"
    assert "it must be a device name" in error["message"]
    assert world.snapshot() == before


def test_configured_bridge_with_a_template_for_a_name_is_refused(world: World) -> None:
    world.write_config(ovs={"integration_bridge": TEMPLATE})
    before = world.snapshot()
    result = world.vifplug("plug", "-", input=OVS.text, check=False)
    assert result.returncode == 2
    assert "integration_bridge 'br%d' is not a device name" in result.stderr
    assert world.snapshot() == before


def test_schema_refuses_templates() -> None:
    definitions = formats.schema()["$defs"]
    (pattern,) = {
        part["pattern"]
        for name, field in (("Names", "tap"), ("Network", "bridge"))
        for part in definitions[name]["properties"][field]["anyOf"]
        if "pattern" in part
    }
    for name in (TEMPLATE, "%", "all", "default", ".", "..", "a/b", "a:b", "a b"):
        assert not re.search(pattern, name), name
    for name in ("br-int", "all0", "eth0.5", "defaults", "é"):
        assert re.search(pattern, name), name


def test_port_with_a_name_that_was_taken_before_goes_all_the_same(world: World) -> None:
    """A row waits for its device under any name: one that an earlier version made is unplugged by its mark."""
    before = world.snapshot()
    world.vifplug("plug", "-", input=OVS.but(create_tap=False).text)
    world.vsctl("del-port", OVS.tap)
    world.vsctl(
        *("--no-wait", "add-port", "br-int", "tap%d", "--", "set", "Port", "tap%d"),
        *(f"external_ids:vifplug-vif={OVS.id}", "--", "set", "Interface", "tap%d", f"external_ids:iface-id={OVS.id}"),
    )
    world.vifplug("unplug", OVS.id)
    assert world.snapshot() == before
