"""The links of one observation, decoded while the helper still reads the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug.linux import decode
from vifplug.resources.observed import Station


class Links:
    """The links of an observation: as primitives by name, and as resources.

    :param members: of bridges.
    :param absent: why functions are missing.
    """

    def __init__(
        self,
        links: dict[str, Any],
        stations: tuple[Station, ...],
        members: Mapping[str, tuple[str, ...]],
        absent: Mapping[str, str],
    ) -> None:
        self.links, self.stations, self.members, self.absent = links, stations, members, absent
        self.decoded = {name: decode.link(link) for name, link in links.items()}
