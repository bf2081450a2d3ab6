"""The user who makes a request, and the VIFs that this user may change. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from vifplug.errors import NotPermitted
from vifplug.store.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """The user who requests a change."""

    uid: int
    """Stored with each VIF that the user plugs first."""
    every_vif: bool = True
    """Whether the user may also change VIFs of other users, and join every bridge of the host."""
    bridges: tuple[str, ...] = ()
    """Names and patterns of bridges that the user may join besides those that are made for guests."""

    def authorise(self, vif_id: str, record: Record | None, *, is_damaged: bool = False) -> None:
        """Check that the user may change a VIF.

        :param is_damaged: there is a record, and it no longer shows whose VIF it is.
        :raises NotPermitted: the VIF is another user's; nothing was changed.
        """
        if self.every_vif or (record is None and not is_damaged):
            return
        creator_uid = record.created_by if record is not None else None
        if creator_uid == self.uid:
            return
        creator = "an unknown user" if creator_uid is None else f"uid {creator_uid}"
        raise NotPermitted(
            f"VIF {vif_id} was plugged by {creator}; uid {self.uid} may change only VIFs it plugged itself "
            "(an administrator may change every VIF)",
            vif_id,
        )
