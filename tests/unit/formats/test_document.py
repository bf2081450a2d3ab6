"""A document that is handed on unread is plugged, or refused, as one that was read here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import vifplug
from tests.support.daemon.scripted_daemon import answer, served
from tests.unit.formats.test_formats import GUEST, HYBRID_1, OWN, PLAIN, neutron
from tests.unit.formats.test_formats_fuzz import mutated
from vifplug import errors, formats
from vifplug.cli import inputs
from vifplug.daemon.http import requests
from vifplug.model.vif import Vif

SAID = st.fixed_dictionaries(
    {"format": st.sampled_from(formats.FORMATS)},
    optional={"mtu": st.just(1400), "instance": st.sampled_from([{"uuid": GUEST}, {"uuid": GUEST, "name": "web"}])},
)


def here(document: formats.Document) -> list[Vif]:
    """As by a command that works by itself."""
    inputs.check(document)
    return list(document)


def there(document: formats.Document) -> list[Vif]:
    """As by the daemon, to which it goes as JSON."""
    output = requests.of(json.dumps(document.as_request()).encode(), requests.BatchRequest)
    return output.vifs(output.plug)


def outcome(read: Any, document: formats.Document) -> tuple[str, Any]:
    try:
        return "read", read(document)
    except errors.VifplugError as error:
        return type(error).__name__, error.args


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(mutated(), SAID)
@example({"ports": [neutron(), None]}, {"format": "auto"})
@example([OWN, neutron()], {"format": "vif"})
@example(OWN | {"vif_type": "vhostuser"}, {"format": "auto"})
@example([OWN, OWN | {"id": PLAIN}], {"format": "auto", "mtu": 1400})
def test_daemon_reads_what_is_handed_on_as_it_is_read_here(given: Any, output: dict[str, Any]) -> None:
    try:
        parsed: Any = formats.parse(json.dumps(given))
    except (errors.InputError, TypeError, ValueError, RecursionError):
        assume(False)
    assume(parsed and isinstance(parsed, list | dict))
    assert outcome(there, formats.Document(parsed, **output)) == outcome(here, formats.Document(parsed, **output))


def test_it_is_a_sequence_of_what_it_holds() -> None:
    document = formats.Document([OWN | {"id": PLAIN}, neutron()], mtu=1400)
    assert list(document) == formats.load_all([OWN | {"id": PLAIN}, neutron()], mtu=1400)
    assert (len(document), document[1].id, [vif.id for vif in document[:1]]) == (2, HYBRID_1, [PLAIN])


def test_one_nested_more_deeply_than_json_can_say_is_refused(tmp_path: Path) -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    with served(str(tmp_path / "s"), answer({})) as daemon, vifplug.connect(daemon.path) as host:
        with pytest.raises(errors.InputError, match="nested too deeply"):
            host.plug(formats.Document(nested))
        assert daemon.asked == []


def test_wrong_one_is_refused_on_each_read() -> None:
    document = formats.Document(OWN | {"address": "x"})
    for look in (len, list, bool):
        with pytest.raises(errors.InputError, match="address: 'x'"):
            look(document)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(mutated())
@example({"ports": [neutron(), neutron() | {"id": PLAIN}]})
@example({"network_info": "[]"})
@example([OWN])
@example({"port": neutron()})
def test_what_shows_unread_that_it_is_one_is_no_more(given: Any) -> None:
    assume(given and isinstance(given, list | dict))
    document = formats.Document(given)
    single, count = document.is_single, outcome(lambda each: len(here(each)), document)
    assert not single or count[0] != "read" or count[1] < 2


@pytest.mark.parametrize("given", [OWN, [OWN], neutron(), {"port": neutron()}])
def test_one_is_counted_unread(given: Any) -> None:
    document = formats.Document(given)
    assert inputs.ids_if_many(document) == []
    assert document._vifs is None, "which takes longer than to plug it"


def test_many_are_counted() -> None:
    document = formats.Document([OWN, OWN | {"id": PLAIN}])
    assert inputs.ids_if_many(document) == [OWN["id"], PLAIN]
