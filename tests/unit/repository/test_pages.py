"""What pages of docs/ show is valid: documents, a driver, the table of errors."""

from __future__ import annotations

import json
import pathlib
import re
import sys
import types
from typing import Any

import pytest

import vifplug
from vifplug import errors
from vifplug.daemon.http import problems
from vifplug.drivers import registry
from vifplug.errors import InputError
from vifplug.testing import FakeHost

REPOSITORY = pathlib.Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
FORMATS = (DOCS / "reference" / "formats.md").read_text()
ERRORS = (DOCS / "reference" / "errors.md").read_text()
DRIVER = (DOCS / "how-to" / "write-a-vif-driver.md").read_text()


def _documents() -> list[str]:
    blocks = re.findall(r"^( *)```json\n(.*?)^\1```", FORMATS, flags=re.M | re.S)
    return [text for _indent, text in blocks if "--8<--" not in text]


@pytest.mark.parametrize("document", _documents(), ids=range(len(_documents())))
def test_smallest_documents_are_valid_and_nothing_can_be_left_out(document: str) -> None:
    vif = vifplug.load(document)
    assert vif.id
    read: Any = json.loads(document)
    read = read[0] if isinstance(read, list) else read
    for key in ("id", "address", "mac_address"):
        if key in read:
            with pytest.raises(InputError):
                vifplug.load(json.dumps({name: value for name, value in read.items() if name != key}))


def test_formats_page_has_a_document_of_each_type() -> None:
    types_shown = set(re.findall(r'"vif_type": "([\w-]+)"', FORMATS))
    assert types_shown == {name for name in registry.drivers() if name in FORMATS}
    assert len(types_shown) == 9


def test_formats_page_includes_a_sample_that_is_there() -> None:
    included = re.findall(r'--8<-- "([^"]+)"', FORMATS)
    assert included
    for path in included:
        assert vifplug.load((REPOSITORY / path).read_text()).vif_type


def _classes() -> list[type[errors.VifplugError]]:
    every = [each for each in vars(errors).values() if isinstance(each, type)]
    return [each for each in every if issubclass(each, errors.VifplugError) and each is not errors.VifplugError]


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_error_is_in_the_table_with_its_exit_code_and_status(kind: type[errors.VifplugError]) -> None:
    found = re.search(rf"^\| `{kind.__name__}` \| (\d) \|(?: (\d+))? \| (\w+) \| .+ \|$", ERRORS, flags=re.M)
    assert found, f"docs/reference/errors.md has no row for {kind.__name__}"
    assert int(found[1]) == kind.exit_code
    assert not found[2] or int(found[2]) == problems.status_of(kind("message"))
    assert found[3] == ("yes" if kind.retryable else "no")


def test_driver_of_the_guide_works(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DRIVER, flags=re.S)
    module = types.ModuleType("routed")
    monkeypatch.setitem(sys.modules, "routed", module)
    exec(compile(blocks[0], "write-a-vif-driver.md", "exec"), module.__dict__)
    known = {**registry.drivers(), "routed": module.Routed()}
    monkeypatch.setattr(registry, "_OWN_BY_TYPE", known)
    vif = vifplug.load(
        {"id": "3fe5648f-4734-49a7-9fef-daa6f86f6799", "vif_type": "routed", "address": "52:54:00:00:00:01"}
    )
    with FakeHost(physical_devices=["wg0"]) as host:
        host.plug([vif])
        assert "tap3fe5648f-47" in host.guest(vif.id, "qemu").text
        assert host.check().clean
        host.unplug([vif.id])
    with FakeHost() as host, pytest.raises(InputError, match="wg0"):
        host.plug([vif])
