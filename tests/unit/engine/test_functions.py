"""PCI functions that guests are given: each has one holder, whatever the types of the VIFs and their order."""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug.engine import functions
from vifplug.engine.commands import inspect, plug, reconcile
from vifplug.engine.functions import Given
from vifplug.errors import Conflict, InputError, VifplugError
from vifplug.model.vif import Vif
from vifplug.resources.vf import Vf
from vifplug.store import store

PHYSICAL, FIRST, SECOND = "0000:3b:00.0", "0000:3b:00.2", "0000:3b:00.3"
A, B, C, D = (f"{number:08x}-99c4-4b1e-8a51-6f0e5c9d77aa" for number in (1, 2, 3, 4))
TYPES = ("vf", "external")
PAIRS = list(itertools.product(TYPES, TYPES))


class World:
    """A host in memory with a NIC and two of its virtual functions."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.host = FakeHost()
        self.host.links = {name: Vf(name=name, address="", vlan=0, physical=PHYSICAL) for name in (FIRST, SECOND)}
        self.plugger = builders.plugger(directory, self.host, configurable=(PHYSICAL,))

    def plug(self, *vifs: Vif) -> None:
        self.plugger.plug(list(vifs))

    def held_by(self, *vifs: Vif) -> None:
        """These are recorded, clean, and nothing else is."""
        assert set(self.plugger.store.contents().records) == {vif.id for vif in vifs}
        assert not self.plugger.store.contents().intents
        assert inspect.check(self.plugger).clean
        used = {vif.pci_device.address for vif in vifs if vif.vif_type == "vf" and vif.pci_device}
        assert {name for name, link in self.host.links.items() if link.address} == used


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


def vif(vif_id: str, vif_type: str, address: str = FIRST) -> Vif:
    return builders.vif(vif_type, id=vif_id, pci_device={"address": address})


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_function_has_one_holder(world: World, first: str, second: str) -> None:
    holder, other = vif(A, first), vif(B, second)
    world.plug(holder)
    applied = list(world.host.applied)
    for refused in (lambda: plug.plan(world.plugger, [other]), lambda: world.plug(other)):
        with pytest.raises(Conflict, match=f"'{FIRST}' is held by VIF {A}, .* plugged on this host; VIF {B}") as raised:
            refused()
        assert (raised.value.exit_code, raised.value.subject) == (4, FIRST)
    assert world.host.applied == applied
    world.plug(holder)
    world.held_by(holder)
    world.plugger.unplug([A])
    world.plug(other)
    world.held_by(other)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_batch_with_both_is_refused_as_a_whole(world: World, first: str, second: str) -> None:
    with pytest.raises(Conflict, match=f"'{FIRST}' is held by VIF {A}, of the same request; VIF {B} cannot have"):
        world.plug(vif(A, first), vif(B, second))
    world.held_by()
    world.plug(vif(A, first), vif(B, second, SECOND))
    world.held_by(vif(A, first), vif(B, second, SECOND))


@pytest.mark.parametrize("vif_type", TYPES)
@pytest.mark.parametrize("is_first", [True, False])
def test_physical_function_and_a_virtual_one_of_it_exclude_each_other(
    world: World, vif_type: str, is_first: bool
) -> None:
    whole, part = vif(A, "external", PHYSICAL), vif(B, vif_type)
    holder, other = (whole, part) if is_first else (part, whole)
    world.plug(holder)
    words = "its virtual function" if is_first else "its physical function"
    with pytest.raises(Conflict, match=f"is held by VIF {holder.id}, which .*; VIF {other.id} cannot have {words}"):
        world.plug(other)
    world.held_by(holder)
    with pytest.raises(Conflict):
        world.plug(other, holder)
    world.plugger.unplug([holder.id])
    world.plug(other)
    world.held_by(other)


@pytest.mark.parametrize("vif_type", TYPES)
def test_function_of_another_type_is_refused_to_one_that_open_vswitch_switches(world: World, vif_type: str) -> None:
    world.plug(vif(A, vif_type))
    with pytest.raises(Conflict, match=f"'{FIRST}' is held by VIF {A}"):
        world.plug(vif(B, "host-device"))
    world.held_by(vif(A, vif_type))


def test_virtual_functions_of_one_nic_are_several_vifs(world: World) -> None:
    first, second = vif(A, "vf"), vif(B, "external", SECOND)
    world.plug(first)
    world.plug(second)
    world.plug(first, second)
    world.held_by(first, second)
    world.plugger.unplug([A])
    with pytest.raises(Conflict, match=f"'{SECOND}' is held by VIF {B}"):
        world.plug(vif(A, "external", PHYSICAL))


@pytest.mark.parametrize("vif_type", TYPES)
def test_vif_of_another_function_lets_go_of_the_first(world: World, vif_type: str) -> None:
    world.plug(vif(A, vif_type))
    world.plug(vif(A, vif_type, SECOND))
    world.plug(vif(B, vif_type))
    world.held_by(vif(A, vif_type, SECOND), vif(B, vif_type))


@pytest.mark.parametrize("vif_type", TYPES)
def test_threads_that_ask_for_one_function_have_one_winner(world: World, vif_type: str) -> None:
    vifs = [vif(f"{number:08x}-99c4-4b1e-8a51-6f0e5c9d77aa", vif_type) for number in range(8)]

    def ask(one: Vif) -> VifplugError | None:
        try:
            world.plug(one)
        except VifplugError as error:
            return error
        return None

    with ThreadPoolExecutor(len(vifs)) as threads:
        answers = list(threads.map(ask, vifs))
    won = [one for one, answer in zip(vifs, answers, strict=True) if answer is None]
    assert len(won) == 1
    assert all(answer is None or isinstance(answer, Conflict) for answer in answers)
    world.held_by(*won)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_store_refuses_what_two_processes_do_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    world.plug(vif(A, first))
    # As if the other process had not written its record when this one looked.
    monkeypatch.setattr(functions, "refuse_given", lambda wanted, held: None)
    with pytest.raises(Conflict, match=f"'{FIRST}' is held by VIF {A}"):
        world.plug(vif(B, second))
    with pytest.raises(Conflict, match=f"'{PHYSICAL}' is held by VIF {A}"):
        world.plug(vif(B, "external", PHYSICAL))
    world.held_by(vif(A, first))


def test_record_of_a_version_without_claims_on_functions_counts(world: World) -> None:
    world.plug(vif(A, "external"))
    with world.plugger.store._transaction() as database:
        (body,) = database.execute("SELECT body FROM records").fetchone()
        data = json.loads(body)
        assert data.pop("physical") == PHYSICAL
        database.execute("UPDATE records SET body = ?", (json.dumps(data),))
        database.execute("DELETE FROM claims")
    with pytest.raises(Conflict, match=f"'{FIRST}' is held by VIF {A}"):
        world.plug(vif(B, "vf"))
    world.plug(vif(A, "external"))
    assert world.plugger.store.contents().records[A].physical == PHYSICAL


def test_function_that_a_vf_vif_cannot_have_is_bad_input_all_the_same(world: World) -> None:
    world.plug(vif(A, "vf"))
    world.host.absent[PHYSICAL] = f"PCI device {PHYSICAL} is not a virtual function"
    with pytest.raises(InputError, match="is not a virtual function"):
        world.plug(vif(B, "vf", PHYSICAL))


def test_function_that_is_gone_keeps_its_physical_function(world: World) -> None:
    world.plug(vif(A, "external"))
    del world.host.links[FIRST]
    world.plug(vif(A, "external"))
    with pytest.raises(Conflict, match="its physical function"):
        world.plug(vif(B, "external", PHYSICAL))


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        ([Given(vif_id=A, address=FIRST)], []),
        ([Given(vif_id=A, address=FIRST), Given(vif_id=B, address=SECOND)], []),
        ([Given(vif_id=A, address=FIRST, physical=PHYSICAL)], [Given(vif_id=B, address=SECOND, physical=PHYSICAL)]),
        ([Given(vif_id=A, address=FIRST)], [Given(vif_id=B, address=SECOND)]),
    ],
)
def test_different_functions_are_no_conflict(wanted: Sequence[Given], held: Sequence[Given]) -> None:
    functions.refuse_given(wanted, held)


@pytest.mark.parametrize("first", [FIRST, PHYSICAL])
def test_vif_may_change_between_a_virtual_function_and_its_physical_one(world: World, first: str) -> None:
    second = PHYSICAL if first == FIRST else FIRST
    for address in (first, second, first):
        world.plug(vif(A, "external", address))
        world.held_by(vif(A, "external", address))
    with pytest.raises(Conflict):
        world.plug(vif(B, "external", second))


@pytest.mark.parametrize("address", [FIRST, PHYSICAL])
def test_vifs_that_an_older_version_gave_one_function_are_still_repaired(
    world: World, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    shared, whole, other = vif(A, "vf"), vif(B, "external", address), vif(C, "external", SECOND)
    world.plug(other)
    with monkeypatch.context() as older:
        older.setattr(functions, "refuse_given", lambda wanted, held: None)
        older.setattr(store, "claim", lambda *_: None)
        world.plug(whole)
    with world.plugger.store._transaction() as database:
        database.execute("DELETE FROM claims")
    with monkeypatch.context() as older:
        older.setattr(functions, "refuse_given", lambda wanted, held: None)
        world.plug(shared)
    for number in range(2):
        states = {vif_id: ("drifted", str(number)) for vif_id in (A, B, C)}
        assert reconcile.note(world.plugger, states) == (frozenset(), None)
        assert {record.error for record in world.plugger.store.contents().records.values()} == {str(number)}
    world.host.links[FIRST] = replace(world.host.links[FIRST], address="02:00:00:00:00:99")
    world.plugger.repair([A, B, C])
    world.host.links[FIRST] = replace(world.host.links[FIRST], address="02:00:00:00:00:99")
    world.plug(shared, whole)
    world.held_by(shared, whole, other)
    with pytest.raises(Conflict, match="is held by VIF"):
        world.plug(vif(D, "external", address))
    world.plugger.unplug([A])
    world.plug(whole)
    world.held_by(whole, other)
