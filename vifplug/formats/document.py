"""A document whose VIFs are read only when they are needed. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vifplug.model.vif import Vif


class Document(Sequence["Vif"]):
    """The VIFs of a document, in its order. They are read on first access.

    The parameters are those of ``load_all``, but the document is not text.

    :raises InputError: on every access, for an invalid document; see ``load_all``.
    """

    def __init__(
        self,
        document: Mapping[str, Any] | Sequence[Any],
        *,
        format: str = "auto",
        instance: Mapping[str, Any] | None = None,
        mtu: int | None = None,
        network: object = None,
    ) -> None:
        self._document = document
        self._format = format
        self._instance = instance
        self._mtu = mtu
        self._network = network
        self._vifs: list[Vif] | None = None

    @property
    def vifs(self) -> list[Vif]:
        """The VIFs, read once."""
        if self._vifs is None:
            from vifplug.formats import loading

            self._vifs = loading.load_all(
                self._document, format=self._format, instance=self._instance, mtu=self._mtu, network=self._network
            )
        return self._vifs

    @property
    def is_single(self) -> bool:
        """Whether the unread document clearly has at most one VIF."""
        document = self._document
        if isinstance(document, Mapping):
            # A port's list of addresses is treated like an envelope's list of ports.
            lists = (value for value in document.values() if isinstance(value, list))
            return all(len(items) < 2 or not isinstance(items[0], Mapping) for items in lists)
        return len(document) < 2

    def as_request(self) -> dict[str, Any]:
        """The request body for the daemon, which reads the document as ``load_all`` does."""
        instance = self._instance or {}
        named = {"instance_uuid": instance.get("uuid"), "instance_name": instance.get("name")}
        options = {**named, "mtu": self._mtu, "network": self._network}
        present = {key: value for key, value in options.items() if value is not None}
        return {"plug": self._document, "format": self._format, **present}

    def __len__(self) -> int:
        return len(self.vifs)

    def __getitem__(self, index: Any) -> Any:
        return self.vifs[index]
