"""A JSON object of a document, with its path, and typed reads whose errors name the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vifplug import naming
from vifplug.errors import InputError
from vifplug.model import messages
from vifplug.model import vif as model

_UUID: TypeAdapter[str] = TypeAdapter(model.Uuid)


def as_uuid(value: object) -> str | None:
    """A UUID in canonical form, or None for anything else."""
    try:
        return _UUID.validate_python(value)
    except ValidationError:
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """A JSON object and its path."""

    data: Mapping[str, Any]
    path: str = ""
    """From the document's root: ``ports[1]``, or "" for a document that is one object."""
    subject: str = ""
    """The id of its VIF, if known."""

    def at(self, *keys: str) -> str:
        """The path of a field."""
        return messages.join(self.path, *keys)

    def refusal(self, key: str, should: str) -> InputError:
        """The error for a field, with its value."""
        return messages.refusal(self.at(key), self.data.get(key), should, self.subject)

    def require(self, key: str, should: str) -> Any:
        """The value of a required field; it is validated later, with the whole VIF.

        :param should: the reason, as in "a Neutron port always has one".
        """
        value = self.data.get(key)
        if value is None:
            raise messages.missing(self.at(key), should, self.subject)
        return value

    def part(self, key: str) -> Entry:
        """The object in a field; an empty object for absent and null."""
        value = self.data.get(key)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.refusal(key, "it must be an object")
        return Entry(value, self.at(key), self.subject)

    def text(self, key: str) -> str | None:
        """The string in a field; None for absent and null."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, str):
            raise self.refusal(key, "it must be a string")
        return value

    def flag(self, key: str) -> bool | None:
        """The boolean in a field; None for absent and null."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.refusal(key, "it must be true or false")
        return value

    def mtu(self, key: str) -> Any:
        """The MTU in a field, not validated yet; None if it is missing, which os-vif and Nova also write as 0."""
        value = self.data.get(key)
        return None if isinstance(value, int) and not isinstance(value, bool) and value == 0 else value

    def own_name(self, key: str, role: str) -> str | None:
        """A device name that differs from the naming rule; None if it is missing or follows the rule."""
        name = self.text(key)
        return None if name == naming.device(role, self.subject) else name

    def check_interface_id(self, key: str) -> None:
        """Refuse an iface-id that is not the VIF's id: the network control plane finds the port by it."""
        value = self.text(key)
        if value and self.subject and value.lower() != self.subject:
            raise self.refusal(key, "it must be the VIF's own id, or be omitted: vifplug writes the id as iface-id")

    def vif(self, values: Mapping[str, Any], sources: Mapping[str, str]) -> model.Vif:
        """The VIF with these values.

        :param values: the model's fields.
        :param sources: fields of the model that have another name here -> their paths.
        :raises InputError: for a wrong field, with its name in the document.
        """
        try:
            return messages.note_valid(model.Vif.model_validate(dict(values)))
        except ValidationError as error:
            raise messages.invalid(error, self.path, sources, self.subject) from None
