"""os-vif as Nova's compute service uses it: its plugin ``ovs``, native OVSDB, a privsep helper forked as root.

Run by the python of .venv-osvif; arguments: its nova.conf, and optionally ``--count``, or ``--once DOCUMENT``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import serving, tally

REPOSITORY = str(Path(__file__).resolve().parents[2])
INSTANCE = "c0ffee00-1111-4222-8333-000000000011"


class OsVif:
    """Plugs one VIF after the other: it has no batches."""

    def __init__(self, config_file: str, counts: tally.Tally | None = None) -> None:
        # this side uses nothing of vifplug, except its name in a list of plugins, which is then missing
        sys.path[:] = [path for path in sys.path if path != REPOSITORY]
        if counts is not None:
            tally.count_sockets(counts)
        import os_vif
        from os_vif import objects
        from oslo_config import cfg
        from oslo_privsep import priv_context
        from vif_plug_ovs import privsep

        if counts is not None:
            tally.count_calls(counts)
        self._counts = counts
        cfg.CONF(["--config-file", config_file], project="nova")
        os_vif.initialize()
        privsep.vif_plug.start(priv_context.Method.FORK)
        self._os_vif, self._objects = os_vif, objects
        self._instance = objects.instance_info.InstanceInfo(uuid=INSTANCE, name="vm")
        self._vifs: dict[str, Any] = {}

    def prepare(self, documents: Sequence[dict[str, Any]]) -> None:
        self._vifs |= {document["id"]: self._vif(document) for document in documents}

    def _vif(self, document: dict[str, Any]) -> Any:
        vif = self._objects.vif
        tap = ("tap" + document["id"])[:14]
        mtu = document["network"]["mtu"]
        network = self._objects.network.Network(id=document["network"]["id"], bridge="br-int", mtu=mtu)
        profile = {"interface_id": document["id"], "datapath_type": "netdev"}
        text = {"id": document["id"], "address": document["address"], "plugin": "ovs", "network": network}
        if document["vif_type"] == "ovs-hybrid":
            profile = vif.VIFPortProfileOpenVSwitch(**profile)
            return vif.VIFBridge(**text, vif_name=tap, bridge_name=("qbr" + document["id"])[:14], port_profile=profile)
        profile = vif.VIFPortProfileOpenVSwitch(**profile, create_port=True, create_tap=True)
        return vif.VIFOpenVSwitch(**text, vif_name=tap, bridge_name="br-int", port_profile=profile)

    def plug(self, ids: Sequence[str]) -> None:
        for vif_id in ids:
            self._os_vif.plug(self._vifs[vif_id], self._instance)

    def unplug(self, ids: Sequence[str]) -> None:
        for vif_id in ids:
            self._os_vif.unplug(self._vifs[vif_id], self._instance)

    def check(self) -> None:
        raise NotImplementedError("os-vif has none: what is nearest is to plug all VIFs again")

    def command(self, what: str) -> Any:
        assert what == "counts" and self._counts is not None
        return {name: count for name, (count, _seconds) in self._counts.taken().items()}


def main() -> None:
    """Serve; or plug once, and print the duration of the call itself."""
    out = serving.output()
    counts = tally.Tally(tally.COUNTED) if "--count" in sys.argv else None
    contestant = OsVif(sys.argv[1], counts)
    if "--once" in sys.argv:
        document = json.loads(sys.argv[sys.argv.index("--once") + 1])
        contestant.prepare([document])
        print(json.dumps(serving.timed(contestant.plug, [document["id"]])), file=out, flush=True)
        return
    serving.serve(contestant, out)


if __name__ == "__main__":
    main()
