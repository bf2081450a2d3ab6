"""The options of one call, and their defaults. Nothing is imported here: every start pays for it."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from vifplug.model.limits import TRACE_SECONDS

GUESTS = ("libvirt", "qemu")
FORMATS = ("auto", "vif", "neutron-port", "nova-network-info", "os-vif")
WAITS = ("plugged", "wired", "active")
DATAPATHS = ("system", "netdev")
TABLE, WIDE, NAME, JSON, YAML = "table", "wide", "name", "json", "yaml"
OUTPUTS = (TABLE, WIDE, NAME, JSON, YAML)
DOCUMENTS = (JSON, YAML)
"""Output formats in which stdout holds a document and nothing else."""
STDIN = "-"


class Options(argparse.Namespace):
    """The options of one call. The defaults are set only here: with argparse's own defaults, a common option that is
    not given after the verb would overwrite the one given before it."""

    verb: str = ""
    config_file: str | None = None
    verbose: bool = False
    debug: bool = False
    port: int = 0
    quiet: bool = False
    output: str = TABLE
    columns: Sequence[str] | None = None
    headed: bool = True
    local: bool = False
    socket: str | None = None
    topic: str | None = None
    shell: str = ""
    directory: str | None = None

    ids: Sequence[str] = ()
    """VIFs, each by an id or another name (``vifplug.cli.inputs.names``)."""
    file: str | None = None
    format: str = ""
    instance_uuid: str | None = None
    instance_name: str | None = None
    mtu: int | None = None
    vlan: int | str | None = None
    network: str | None = None
    dry_run: bool = False
    wait: str = WAITS[0]
    awaited: str = WAITS[1]
    timeout: float | None = None
    create_tap: bool = False

    # A VIF that is described by options, without a file.
    vif_type: str | None = None
    vif_id: str | None = None
    mac: str | None = None
    bridge: str | None = None
    uplink: Mapping[str, Any] | None = None
    tap: str | None = None
    tap_owner: Mapping[str, int] | None = None
    multiqueue: bool | None = None
    isolate: bool | None = None
    allow: Sequence[str] | None = None
    vhost_user: str | None = None
    vhost_mode: str | None = None
    pci: str | None = None
    macvtap: str | None = None
    macvtap_mode: str | None = None

    states: Sequence[str] | None = None
    vif_types: Sequence[str] | None = None
    instance: str | None = None
    sort: str | None = None
    model: str | None = None
    queues: int | None = None
    follow: bool = False
    since: int | datetime.datetime | None = None
    every: bool = False
    delete: bool = False
    keep: str | None = None
    absent_for: float | None = None
    report: str | None = None
    interval: float = TRACE_SECONDS
    probe: bool = False
    undo: bool = False
    no_daemon: bool = False
    operators: Sequence[str] = ()
    create_bridge: str | None = None

    @property
    def as_json(self) -> bool:
        """Whether stdout holds a document and nothing else (JSON or YAML), and an error is JSON."""
        return self.output in DOCUMENTS

    @property
    def is_plain(self) -> bool:
        """Whether a person may read progress and notes beside the result."""
        return not self.as_json and not self.quiet
