"""Random sequences against a small model: no divergence, no foreign change, nothing called clean that loses frames.

``tools/test --model`` runs 1,000 of them; VIFPLUG_SEED=N begins with another seed, or repeats one.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.support.counts import times
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults.model import Model, requests
from tests.support.faults.sequences import Sequence
from tests.support.world.world import World

STEPS = 12
SEED = int(os.environ.get("VIFPLUG_SEED", "1"))
BLOCKS = times(2, 50)
"""Each block is a world of its own."""
SEQUENCES = int(os.environ.get("VIFPLUG_SEQUENCES", times(3, 10)))
"""In one block."""


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("face", ["local", "daemon"])
def test_sequences_follow_the_model(world: World, face: str, block: int) -> None:
    model = Model(world, requests())
    model.prepare()
    daemon = Vifplugd(world, orphan_grace=3600) if face == "daemon" else None
    try:
        if daemon is not None:
            daemon.start()
        for number in range(SEQUENCES):
            seed = SEED + 1000 * block + number
            try:
                Sequence(model, random.Random(f"{face} {seed}"), daemon).run(STEPS)
            except AssertionError as error:
                again = f"VIFPLUG_SEED={seed} VIFPLUG_SEQUENCES=1, {face}"
                raise AssertionError(f"{again}: {error}\n{daemon.log()[-1000:] if daemon else ''}") from error
    finally:
        model.close()
        if daemon is not None and daemon.process is not None:
            daemon.stop()
