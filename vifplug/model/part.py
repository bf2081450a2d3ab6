"""What every part of a request is: a frozen model that refuses unknown keys. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _ModelMetaclass
else:
    _ModelMetaclass = type(BaseModel)


class _Refusing(_ModelMetaclass):
    """Makes ``Vif(...)`` raise InputError: a caller of the library need not know pydantic.

    Only calls of the class are affected. pydantic's own methods, and parts of a whole, still raise ValidationError.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except ValidationError as error:
            from vifplug.model import messages  # here, because it reads the modules that import this one

            raise messages.invalid(error, "", {}) from None


class Part(BaseModel, metaclass=_Refusing):
    """A part of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vif_types: ClassVar[frozenset[str]] = frozenset()
    """The vif_types whose requests may have it; empty for all. Their driver checks what it requires."""
    device: ClassVar[str] = ""
    """The field that names the part's device; "" for none."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Values of fields that neither a request nor its record has."""
