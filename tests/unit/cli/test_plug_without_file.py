"""A VIF that options describe, the examples of documents, and documents in YAML."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.support.command_line import DOCUMENT, INSTANCE, OTHER_ID, VIF_ID, Notes, Run
from vifplug import formats, naming
from vifplug.cli.arguments import Options
from vifplug.cli.inputs import described
from vifplug.drivers.registry import drivers
from vifplug.formats.examples import EXAMPLES
from vifplug.model.vif import Vif


def plugged(library: Notes) -> Vif:
    (vif,) = dict(library.calls)["plug"]
    assert isinstance(vif, Vif)
    return vif


def test_id_and_mac_are_made_up_and_fit_together(run: Run, library: Notes) -> None:
    assert run("plug", "--type", "ovs", "--bridge", "br0").code == 0
    vif = plugged(library)
    assert (vif.vif_type, vif.network.bridge, vif.vlan) == ("ovs", "br0", None)
    assert int(vif.address[:2], 16) & 0b11 == 0b10  # locally administered, and unicast
    again = described.document(Options(vif_type="ovs", vif_id=vif.id))
    assert again["address"] == vif.address  # so that a replug by id changes nothing


def test_new_ids_are_random_uuids() -> None:
    made = {described.new_id() for _ in range(100)}
    assert len(made) == 100 and all(map(naming.is_uuid, made))
    assert {(text[14], text[19] in "89ab") for text in made} == {("4", True)}


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("--type ovs --id " + VIF_ID.upper(), {"id": VIF_ID}),
        ("--type ovs --mac FA:16:3E:00:00:01", {"address": "fa:16:3e:00:00:01"}),
        ("--type ovs --vlan 100 --mtu 1400", {"vlan": 100, "network": {"mtu": 1400}}),
        (f"--type bridge --network {OTHER_ID}", {"network": {"id": OTHER_ID}}),
        (
            "--type bridge --bridge br0 --uplink vlan:physnet1:100",
            {
                "network": {
                    "bridge": "br0",
                    "uplink": {"type": "vlan", "physical_network": "physnet1", "segmentation_id": 100},
                }
            },
        ),
        (
            "--type bridge --bridge br0 --uplink flat:physnet1",
            {"network": {"bridge": "br0", "uplink": {"type": "flat", "physical_network": "physnet1"}}},
        ),
        (
            "--type bridge --bridge br0 --uplink vxlan:4100",
            {"network": {"bridge": "br0", "uplink": {"type": "vxlan", "segmentation_id": 4100}}},
        ),
        (
            f"--type ovs --instance-uuid {INSTANCE} --instance-name web",
            {"instance": {"uuid": INSTANCE, "name": "web"}},
        ),
        ("--type ovs-hybrid --create-tap --multiqueue", {"create_tap": True, "multiqueue": True}),
        ("--type ovs --tap tap-web --tap-owner 64055:109", {"tap_owner": {"uid": 64055, "gid": 109}}),
        ("--type ovs --tap-owner root", {"tap_owner": {"uid": 0}}),
        ("--type ovs --tap-owner :root", {"tap_owner": {"gid": 0}}),
        ("--type ovs --isolate", {"isolate": True}),
        ("--type ovs --isolate --no-isolate", {"isolate": False}),
        ("--type ovs --allow 10.0.0.5,10.1.0.0/24", {"allowed_addresses": [{"ip": "10.0.0.5"}, {"ip": "10.1.0.0/24"}]}),
        (
            "--type vhost-user --vhost-user /run/vhu --vhost-mode client",
            {"vhost_user": {"socket": "/run/vhu", "mode": "client"}},
        ),
        ("--type vf --pci 0000:3b:10.2 --vlan 7", {"pci_device": {"address": "0000:3b:10.2", "vlan": 7}}),
        (
            "--type macvtap --macvtap eth1 --macvtap-mode vepa --vlan 7",
            {"macvtap": {"source": "eth1", "mode": "vepa", "vlan": 7}},
        ),
    ],
)
def test_options_are_the_fields_of_a_document(run: Run, library: Notes, words: str, fields: dict[str, object]) -> None:
    result = run("plug", *words.split())
    assert (result.code, result.err) == (0, "")
    document = plugged(library).model_dump(mode="json", exclude_none=True)
    assert {key: document[key] for key in fields} == fields


def test_neutron_network_in_a_file_gives_its_id_too(run: Run, library: Notes, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(f"network: {{id: {OTHER_ID}, mtu: 1442, 'provider:network_type': local}}")
    assert run("plug", "--type", "bridge", "--network", str(file)).code == 0
    network = plugged(library).network
    assert (network.id, network.mtu) == (OTHER_ID, 1442)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "plug needs FILE (- is stdin), or --type TYPE"),
        ("--bridge br0", "plug needs FILE (- is stdin), or --type TYPE"),
        ("FILE --bridge br0", "--bridge describes a VIF without FILE"),
        ("FILE --type ovs", "--type describes a VIF without FILE"),
        ("FILE --no-isolate", "--isolate describes a VIF without FILE"),
        ("--type ovs --format neutron-port", "--format neutron-port is the format of FILE"),
        ("--type ovs --instance-name web", "give --instance-uuid as well"),
        ("--type OVS", "'OVS' is not a vif_type"),
        ("--type vhostuser", "has no driver here"),
        ("--type ovs --mac fa:16:3e", "'fa:16:3e' is not a MAC address"),
        ("--type ovs --mac 01:00:00:00:00:01", "multicast"),
        ("--type ovs --id x", "'x' is not a UUID"),
        ("--type ovs --bridge a/b", "'a/b' is not a device name"),
        ("--type bridge --bridge b --uplink vlan:x", "it must be flat:NETWORK, vlan:NETWORK:ID or vxlan:ID"),
        ("--type ovs --tap-owner no-such-user", "names a user or group that this host does not have"),
        ("--type ovs --tap-owner :", "is not USER"),
        ("--type ovs --macvtap eth1", "macvtap: it is for VIFs of type macvtap only"),
        ("--type ovs --vlan 4095", "a VLAN id from 1 to 4094"),
        ("--type tap --vlan 7", "vlan: it is for VIFs of type bridge, ovs, ovs-hybrid only"),
        ("--type ovs --network /nowhere", "cannot read '/nowhere'"),
    ],
)
def test_wrong_description_is_refused_before_the_host_is_opened(
    run: Run, library: Notes, document: str, words: str, reason: str
) -> None:
    result = run("plug", *words.replace("FILE", document).split())
    assert (result.code, library.calls, result.err.count("\n")) == (2, [], 1)
    assert reason in result.err


# Examples


def test_there_is_an_example_of_every_vif_type() -> None:
    assert {*EXAMPLES} == {*drivers()}
    assert len({vif["id"] for vif in EXAMPLES.values()}) == len({vif["address"] for vif in EXAMPLES.values()}) == 9


@pytest.mark.parametrize("vif_type", EXAMPLES)
def test_example_is_valid_and_can_be_loaded(run: Run, vif_type: str) -> None:
    printed = run("example", vif_type).out
    jsonschema.validate(json.loads(printed), formats.schema(), jsonschema.Draft202012Validator)
    assert formats.load(printed).vif_type == vif_type
    assert yaml.safe_load(run("example", vif_type, "-o", "yaml").out) == json.loads(printed)


def test_example_of_nothing_is_of_ovs_and_an_unknown_one_is_refused(run: Run) -> None:
    assert run("example").out == run("example", "ovs").out
    result = run("example", "ovs_hybrid")
    assert result.code == 2 and "there are ovs, ovs-hybrid, bridge, " in result.err


# YAML in


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vif.yaml", yaml.dump(DOCUMENT)),
        ("vif", yaml.dump(DOCUMENT)),
        ("vif", yaml.dump([DOCUMENT])),
        ("vif", f"# a comment\n---\n- id: {VIF_ID}\n  vif_type: ovs\n  address: 00:11:22:33:44:55\n"),
        ("vif.yml", f"{{id: {VIF_ID}, vif_type: ovs, address: 02:11:22:33:44:55}}"),
        ("vif.YAML", json.dumps(DOCUMENT)),
    ],
)
def test_plug_reads_yaml(run: Run, library: Notes, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert run("plug", str(tmp_path / name)).code == 0
    assert plugged(library).id == VIF_ID


def test_plug_reads_yaml_from_stdin(run: Run, library: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(yaml.dump(DOCUMENT).encode())))
    assert run("plug", "-").code == 0
    assert plugged(library).id == VIF_ID


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"id: {VIF_ID}\nvif_type: ovs\naddress: no\n", "address: 'no': it must be a MAC address"),
        (f"id: {VIF_ID}\nvif_type: ovs\nvif_type: bridge\n", "the key 'vif_type' is there twice"),
        (f"id: {VIF_ID}\nvif_type: ovs\naddress: 02:00:00:00:00:01\nadress: x\n", "(did you mean 'address'?)"),
        ("{id: 7}", "the document is not JSON"),
        ("vif_type", "neither JSON nor a YAML mapping or list"),
    ],
)
def test_wrong_yaml_is_refused(run: Run, library: Notes, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "vif").write_text(text)
    result = run("plug", str(tmp_path / "vif"))
    assert (result.code, library.calls, result.err.count("\n")) == (2, [], 1)
    assert reason in result.err


@pytest.mark.parametrize(
    "text", [f"- {VIF_ID}\n- {OTHER_ID}\n", f"ports:\n- id: {VIF_ID}\n- id: {OTHER_ID}\n", f"[{VIF_ID}, {OTHER_ID}]"]
)
def test_unplug_reads_ids_in_yaml(run: Run, library: Notes, tmp_path: Path, text: str) -> None:
    file = tmp_path / "gone.yaml"
    file.write_text(text)
    assert run("unplug", "-f", str(file)).code == 0
    assert ("unplug", [VIF_ID, OTHER_ID]) in library.calls
