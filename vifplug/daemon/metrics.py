"""The daemon's metrics, for Prometheus."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import prometheus_client

from vifplug.errors import Conflict, InputError, NotPermitted

# When a counter was made is of no use: every start of the daemon makes them anew.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One daemon's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.vifs = prometheus_client.Gauge(
            "vifplug_vifs", "VIFs by state, as last compared.", ["state"], registry=self.registry
        )
        self.drift = prometheus_client.Gauge(
            "vifplug_drifted_attributes",
            "Attributes that differ from the records, as last compared.",
            registry=self.registry,
        )
        self.orphans = prometheus_client.Gauge(
            "vifplug_orphans", "Links and rows of ours that are in no record, as last compared.", registry=self.registry
        )
        self.collected = prometheus_client.Counter(
            "vifplug_orphans_collected", "Orphans deleted after their grace.", registry=self.registry
        )
        self.queue = prometheus_client.Gauge("vifplug_queue", "VIFs that wait to be compared.", registry=self.registry)
        self.resyncs = prometheus_client.Counter(
            "vifplug_resyncs",
            "Comparisons of everything, by what called for them.",
            ["reason"],
            registry=self.registry,
        )
        self.repairs = prometheus_client.Counter(
            "vifplug_repairs", "Repairs of a VIF by the daemon itself.", ["result"], registry=self.registry
        )
        self.ovsdb_connected = prometheus_client.Gauge(
            "vifplug_ovsdb_connected", "1 while OVSDB answers.", registry=self.registry
        )
        self.requests = prometheus_client.Counter(
            "vifplug_requests",
            "Requests on the socket; status 0 got no answer.",
            ["method", "path", "status"],
            registry=self.registry,
        )
        self.plug_seconds = self._seconds("plug", "Requests to plug, whatever their number of VIFs.")
        self.unplug_seconds = self._seconds("unplug", "Requests to unplug, whatever their number of VIFs.")
        self.repair_seconds = self._seconds("repair", "Repairs, by the daemon or asked for.")

    def _seconds(self, verb: str, text: str) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            f"vifplug_{verb}_seconds", text, ["result"], buckets=_SECONDS, registry=self.registry
        )

    @staticmethod
    @contextlib.contextmanager
    def timed(seconds: prometheus_client.Histogram) -> Iterator[None]:
        """Measure a block: ``ok``; ``refused``, for the caller to amend, nothing touched; or ``failed``."""
        began = time.monotonic()
        result = "failed"
        try:
            yield
            result = "ok"
        except (InputError, Conflict, NotPermitted):
            result = "refused"
            raise
        finally:
            seconds.labels(result).observe(time.monotonic() - began)

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)
