"""A document that is handed on as it is: whoever needs its VIFs reads it. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vifplug.model.vif import Vif


class Document(Sequence["Vif"]):
    """The VIFs of a document, in its order. They are read when somebody looks at them.

    The parameters are those of ``load_all``, but that the document is not text.

    :raises InputError: by every look at it, for what is wrong with it; see ``load_all``.
    """

    def __init__(
        self,
        document: Mapping[str, Any] | Sequence[Any],
        *,
        format: str = "auto",
        instance: Mapping[str, Any] | None = None,
        mtu: int | None = None,
    ) -> None:
        self._document = document
        self._format = format
        self._instance = instance
        self._mtu = mtu
        self._vifs: list[Vif] | None = None

    @property
    def vifs(self) -> list[Vif]:
        """Read here and now, once."""
        if self._vifs is None:
            from vifplug.formats import loading

            self._vifs = loading.load_all(self._document, format=self._format, instance=self._instance, mtu=self._mtu)
        return self._vifs

    @property
    def is_single(self) -> bool:
        """Whether it shows unread that there is no more than one VIF; False where that cannot be told."""
        document = self._document
        if isinstance(document, Mapping):
            # An envelope's list, and a port's own of several addresses; no difference is made.
            lists = (value for value in document.values() if isinstance(value, list))
            return all(len(one) < 2 or not isinstance(one[0], Mapping) for one in lists)
        return len(document) < 2

    def as_request(self) -> dict[str, Any]:
        """What the daemon is to plug, which reads it as ``load_all`` does."""
        instance = self._instance or {}
        beside = {"instance_uuid": instance.get("uuid"), "instance_name": instance.get("name"), "mtu": self._mtu}
        given = {key: value for key, value in beside.items() if value is not None}
        return {"plug": self._document, "format": self._format, **given}

    def __len__(self) -> int:
        return len(self.vifs)

    def __getitem__(self, index: Any) -> Any:
        return self.vifs[index]
