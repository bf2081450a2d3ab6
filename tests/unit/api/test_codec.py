"""The codec between dataclasses and JSON: what each kind of field becomes, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from vifplug.model import codec
from vifplug.model.codec import HIDDEN, NEEDED, OMITTED, Value, named, omitted_with
from vifplug.model.reports import DeviceReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Value):
    name: str
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Value):
    COMPUTED: ClassVar[tuple[str, ...]] = ("empty",)

    id: str
    parts: Sequence[Part] = field(default=(), metadata=NEEDED)
    first: Part | None = None
    words: Sequence[Sequence[str]] = ()
    by_name: Mapping[str, int] = field(default_factory=dict)
    anything: Any = None
    found: Sequence[Part] | None = field(default=None, metadata=OMITTED)
    kept: Sequence[Part] = field(default=(), metadata=omitted_with("found"))
    items: Sequence[str] = field(default=(), metadata=named("list"))
    secret: str = field(default="", metadata=HIDDEN)

    @property
    def empty(self) -> bool:
        return not self.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class More(Whole):
    warnings: Sequence[str] = ()


SMALL: dict[str, Any] = {
    "empty": True,
    "id": "a",
    "parts": [],
    "first": None,
    "words": [],
    "by_name": {},
    "anything": None,
    "list": [],
}


def test_every_kind_of_field_is_written_in_order() -> None:
    part = Part(name="p", size=1)
    whole = Whole(id="a", parts=[part], first=part, words=[("x", "y")], by_name={"k": 1}, anything=(1,), secret="s")
    written = whole.as_json()
    assert list(written) == list(SMALL)
    assert written == {
        "empty": False,
        "id": "a",
        "parts": [{"name": "p", "size": 1}],
        "first": {"name": "p", "size": 1},
        "words": [["x", "y"]],
        "by_name": {"k": 1},
        "anything": (1,),
        "list": [],
    }


def test_what_has_no_value_is_null_or_left_out_with_what_goes_with_it() -> None:
    assert Whole(id="a").as_json() == SMALL
    kept = Whole(id="a", found=(), kept=(Part(name="p"),)).as_json()
    assert (kept["found"], kept["kept"]) == ([], [{"name": "p", "size": None}])


def test_what_is_read_is_what_was_written() -> None:
    part = Part(name="p")
    whole = Whole(id="a", parts=(part,), first=part, words=(("x",),), by_name={"k": 1}, found=(part,), items=("i",))
    assert Whole.from_json({**whole.as_json(), "of a later version": 1, "secret": "no field of the JSON"}) == whole


def test_class_that_extends_another_has_its_keys_first() -> None:
    assert list(More(id="a", warnings=("w",)).as_json()) == [*SMALL, "warnings"]


@pytest.mark.parametrize(
    "data",
    [
        *(None, 7, "text", [], [["id", "a"]], {}, {"id": "a"}, {"parts": []}),
        *({**SMALL, "parts": "text"}, {**SMALL, "parts": {}}, {**SMALL, "parts": None}),
        *({**SMALL, "parts": [7]}, {**SMALL, "parts": [{}]}),
        *({**SMALL, "first": 7}, {**SMALL, "words": ["text"]}, {**SMALL, "by_name": []}),
    ],
    ids=repr,
)
def test_anything_else_is_an_error(data: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Whole.from_json(data)


def test_field_knows_its_key() -> None:
    assert [each.key for each in codec.fields_of(Whole)][-3:] == ["found", "kept", "list"]


def test_values_that_were_maps_are_read_by_key_as_before() -> None:
    device = DeviceReport(name="tap0", kind="tap", mtu=1450)
    assert (device["name"], device.get("mtu"), device.get("no such key", 7)) == ("tap0", 1450, 7)
    assert dict(device) == {**device} == device.as_json() == dict(device.items())
    assert (list(device), list(device.values())) == (list(device.as_json()), list(device.as_json().values()))
    assert "mtu" in device and "no such key" not in device and len(device) == len(device.as_json())
    with pytest.raises(KeyError):
        device["no such key"]
