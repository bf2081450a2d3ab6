"""What an answer rests on: what was looked at, and what was not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vifplug.model.codec import NEEDED, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims(Value):
    """What was looked at for an answer, and what was not: the answer says nothing about that."""

    looked_at: Sequence[str] = field(default=(), metadata=NEEDED)
    """Noun phrases, for a person."""
    not_looked_at: Sequence[str] = field(default=(), metadata=NEEDED)

    def __str__(self) -> str:
        parts = (("Looked at", self.looked_at), ("Not looked at", self.not_looked_at))
        return " ".join(f"{name}: {', '.join(items)}." for name, items in parts if items)

    def sentence(self, vif_id: str) -> str:
        """The same, with the command that looks at more."""
        return f"{self} More: vifplug trace {vif_id}"

    def without(self, *more: str) -> Claims:
        """The same, but these were not looked at."""
        kept = tuple(item for item in self.looked_at if item not in more)
        return Claims(looked_at=kept, not_looked_at=(*more, *self.not_looked_at))


DEVICES, PORTS, ORPHANS = "devices and their settings", "OVS ports and their settings", "orphans"
MEMBERSHIP, STATIC_ENTRIES = "membership of bridges", "static forwarding entries"
FLOWS, FIREWALL, GUEST = "OpenFlow flows", "other programs' firewall rules and tc filters", "the guest"

CHECKED = Claims(
    looked_at=(DEVICES, MEMBERSHIP, STATIC_ENTRIES, PORTS, ORPHANS), not_looked_at=(FLOWS, FIREWALL, GUEST)
)
"""Of ``check``."""
DRAWN = Claims(looked_at=(DEVICES, MEMBERSHIP, STATIC_ENTRIES, PORTS), not_looked_at=(FLOWS, FIREWALL, GUEST))
"""Of ``diagram``."""
DIAGNOSED = Claims(
    looked_at=(
        *("the helper", "the store", "the configuration", "OVSDB and ovs-vswitchd", "OVS bridges and ports"),
        *("every record, compared with the host", "forward chains of the firewall", "network managers"),
        *("flows and uplinks of bridges", "VLANs of ports", "the table of connections"),
    ),
    not_looked_at=("what guests send and receive", "flows of single VIFs", "other hosts"),
)
"""Of ``doctor``, besides the checks that are unseen."""
NOTHING = Claims(not_looked_at=(*DRAWN.looked_at, *DRAWN.not_looked_at))
"""Of a VIF whose record cannot be read."""
