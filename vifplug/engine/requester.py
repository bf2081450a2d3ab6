"""Who asks, and whose VIFs they may change. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from vifplug.errors import NotPermitted
from vifplug.store.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Somebody who asks for a change."""

    uid: int
    """Kept with each VIF they plug first."""
    every_vif: bool = True
    """Whether VIFs that others plugged may be changed, too, and every bridge of the host be joined."""
    bridges: tuple[str, ...] = ()
    """Names and patterns of bridges that may be joined besides those that are made for guests."""

    def authorise(self, vif_id: str, record: Record | None, *, is_damaged: bool = False) -> None:
        """Let a change of a VIF pass.

        :param is_damaged: there is a record, and it no longer says whose the VIF is.
        :raises NotPermitted: when it is somebody else's; nothing was touched.
        """
        if self.every_vif or (record is None and not is_damaged):
            return
        creator_uid = record.created_by if record is not None else None
        if creator_uid == self.uid:
            return
        creator = "an unknown user" if creator_uid is None else f"uid {creator_uid}"
        raise NotPermitted(
            f"VIF {vif_id} was plugged by {creator}; uid {self.uid} may change only VIFs it plugged itself "
            "(the administrator may change every one)",
            vif_id,
        )
