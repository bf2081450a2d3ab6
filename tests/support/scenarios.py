"""VIFs in a world, the world with and without them, and the commands for the transitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import Deed, at_the_one_call, cut, in_child, stored
from tests.support.world.world import Row, World
from vifplug.api.local import LocalHost
from vifplug.model.vif import Vif

Command = Callable[[LocalHost, Sequence[Vif]], object]

ABSENT, WHOLE = "absent", "whole"
COMMANDS: dict[str, tuple[Command, str]] = {
    "list": (lambda host, _vifs: host.list(), ABSENT),
    "plug": (lambda host, vifs: host.plug(vifs), WHOLE),
    "check": (lambda host, _vifs: host.check(), ABSENT),
    "unplug": (lambda host, vifs: host.unplug([one.id for one in vifs]), ABSENT),
    "gc": (lambda host, _vifs: host.gc(), ABSENT),
}
"""The possible next commands, and the state in which they find, or leave, VIFs whose plug or unplug was interrupted."""


@dataclass(frozen=True)
class Scene:
    """VIFs in a world, and the states of the world with and without them."""

    world: World
    vifs: Sequence[Vif]
    looks: dict[str, dict[str, Row]]

    @classmethod
    def of(cls, world: World, vifs: Sequence[Vif]) -> Scene:
        """Plug and unplug them once."""
        scene = cls(world, vifs, {ABSENT: world.snapshot()})
        scene.plug()
        scene.looks[WHOLE] = world.snapshot()
        scene.unplug()
        scene.must_be(ABSENT)
        return scene

    def run(self, command: Command) -> object:
        """One command of the library."""
        with vifplug.local(str(self.world.config_file)) as host:
            return command(host, self.vifs)

    def plug(self) -> None:
        """All of them."""
        self.run(COMMANDS["plug"][0])

    def unplug(self) -> None:
        """All of them."""
        self.run(COMMANDS["unplug"][0])

    def cut_short(self, command: Command, after: int, deed: Deed) -> int:
        """The command in a separate process, with a deed after that many actions; its status."""

        def work() -> None:
            with cut(after, deed):
                self.run(command)

        return in_child(work)

    def plug_disturbed(self, deed: Deed) -> int:
        """Plug all of them in a separate process, with a deed at the helper's request; its status."""

        def work() -> None:
            with at_the_one_call(deed):
                self.plug()

        return in_child(work)

    def must_be(self, state: str, what: object = "", aside: str = "") -> None:
        """On the host, in OVS and in the store; ``aside`` is a column that may have changed."""
        now, look = self.world.snapshot(), self.looks[state]
        wrong = {key: faults.differences(now.get(key), look.get(key), aside) for key in now | look}
        assert not any(wrong.values()), (
            f"{what}: not {state}: { {key: value for key, value in wrong.items() if value} }"
        )
        expected = {one.id for one in self.vifs} if state == WHOLE else set()
        found = stored(self.world)
        assert set(found.get("records", [])) == expected, what
        assert "intents" not in found, what
        assert set(found.get("claims", [])) == expected & self._claiming, what
        assert faults.vexed_ports(self.world) == []

    @property
    def _claiming(self) -> set[str]:
        """Those with a named resource of vifplug's."""
        return {one.id for one in self.vifs if one.vif_type != "external" and one.create_port is not False}

    def state(self) -> str:
        """Which of the two states it is."""
        now = self.world.snapshot()
        for state, look in self.looks.items():
            if look == now:
                return state
        wrong = {
            state: {key: told for key in now | look if (told := faults.differences(now.get(key), look.get(key)))}
            for state, look in self.looks.items()
        }
        raise AssertionError(f"neither plugged nor absent: {wrong}; stored: {stored(self.world)}")

    def whole_or_absent(self, what: object) -> int:
        """The number of plugged ones: each has all of its resources, or none."""
        now, found = self.world.snapshot(), stored(self.world)
        assert "intents" not in found, what
        plugged = set(found.get("records", []))
        assert set(found.get("claims", [])) == plugged & self._claiming, what
        mine = {one.id: {key for key in self.looks[WHOLE] if faults.is_of(key, one)} for one in self.vifs}
        expected = set(self.looks[ABSENT]) | {key for one in plugged for key in mine[one]}
        if any(one.vif_type == "bridge" and one.id in plugged for one in self.vifs):
            expected.add(f"link {faults.NETWORK_BRIDGE}")
        assert set(now) == expected, what
        for key in expected:
            if not key.startswith("Bridge "):  # the ports it lists are those of all
                assert now[key] == self.looks[WHOLE][key], f"{what}: {key}"
        assert faults.vexed_ports(self.world) == [], what
        return len(plugged)
