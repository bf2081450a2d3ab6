"""Whatever a document says, a VIF or an InputError of one printable line comes out, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.formats.test_formats import OWN, SAMPLES, sample
from vifplug import errors, formats
from vifplug.model import vif as model

FULL = OWN | {
    "network": {"id": OWN["id"], "bridge": "br-int", "mtu": 1500, "datapath_type": "system"},
    "instance": {"uuid": OWN["id"], "name": "web"},
    "tap_owner": {"uid": 1, "gid": 1},
    "names": {"tap": "x", "qbr": "y", "qvb": "z", "qvo": "w"},
    "create_tap": True,
    "multiqueue": False,
    "isolate": True,
}
DOCUMENTS = [FULL, *(sample(path.stem) for path in sorted(SAMPLES.glob("*.json")))]
LINE_MAX = 1000
"""Characters. A refusal that lists all formats has 300."""

DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]

odd = st.sampled_from(
    [None, True, False, 0, -1, 1450, 10**5000, -(10**5000), 1.5, float("nan"), float("inf"), "", "\x00", "\ud800", "\n",
     "İ", "a" * 5000, [], {}, [None], {"a": 1}, {1: 2}, {"\ud800": 1}, (), b"x", object(), "net:" + OWN["id"],
     "unbound", "ovs", "bridge", OWN["id"], OWN["id"].upper(), {"versioned_object.data": {}}, {10**5000: 1}]
)  # fmt: skip
values = st.one_of(
    odd, st.text(), st.integers(), st.dictionaries(st.text(), odd, max_size=3), st.lists(odd, max_size=3)
)


def places(document: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value below the document itself."""
    below = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in below:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A document that was right, with a few values replaced, removed or added."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document))
        if not found:
            break
        *above, last = draw(st.sampled_from(found))
        holder = document
        for key in above:
            holder = holder[key]
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if kind == "remove":
            del holder[last]
        elif kind == "add" and isinstance(holder, dict):
            holder[draw(st.one_of(st.text(), st.just(1), st.just("\ud800"), st.just(10**5000)))] = copy.deepcopy(
                draw(values)
            )
        else:
            holder[last] = copy.deepcopy(draw(values))
    return document


def outcome(document: Any, **arguments: Any) -> None:
    """Read it, and look at what comes out."""
    try:
        vifs = formats.load_all(document, **arguments)
    except errors.InputError as error:
        assert str(error).isprintable(), ascii(str(error))
        assert len(str(error)) < LINE_MAX
        assert all(isinstance(part, str) for part in error.args)
    else:
        assert vifs
        for vif in vifs:
            assert model.Vif.model_validate_json(vif.model_dump_json()) == vif


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(), st.sampled_from(formats.FORMATS))
def test_mutated_document_is_read_or_refused(document: Any, format: str) -> None:
    outcome(document)
    outcome(document, format=format)


@settings(max_examples=300, deadline=None)
@given(values)
def test_any_value_is_refused_as_document_and_argument(value: Any) -> None:
    outcome(value)
    outcome(FULL, instance=value)
    outcome(FULL, instance={"uuid": value, "name": value})
    outcome(FULL, mtu=value)
    outcome(FULL, format=value)


def test_deep_value_is_refused_wherever_it_stands() -> None:
    for document in DOCUMENTS:
        for path in places(document):
            changed = copy.deepcopy(document)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = DEEP
            outcome(changed)
    outcome(DEEP)
    outcome(FULL, instance=DEEP)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(DOCUMENTS), st.data())
def test_damaged_text_is_read_or_refused(document: Any, data: st.DataObject) -> None:
    text = json.dumps(document).encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    outcome(text[:start] + data.draw(st.binary(max_size=5)) + text[end:])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(), st.text()))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    outcome(text)
