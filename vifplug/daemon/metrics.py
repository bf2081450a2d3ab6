"""The daemon's metrics, for Prometheus."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import prometheus_client

from vifplug.daemon import logs
from vifplug.errors import Conflict, InputError, NotPermitted

# A counter's creation time is useless: every start of the daemon creates them again.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """A daemon's metrics, in a separate registry."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.vifs = self._gauge("vifs", "VIFs by state, as last compared.", "state")
        self.drift = self._gauge("drifted_attributes", "Attributes that differ from the records, as last compared.")
        self.orphans = self._gauge(
            "orphans", "Orphans: links and rows of ours that no record mentions, as last compared."
        )
        self.absent_guests = self._gauge("absent_guests", "VIFs with nothing at the guest's end, as last compared.")
        self.collected = self._counter("orphans_collected", "Orphans deleted after their grace period.")
        self.queue = self._gauge("queue", "VIFs that wait to be compared.")
        self.compared = self._counter("compared_vifs", "Comparisons of a VIF with the host.")
        self.resyncs = self._counter("resyncs", "Comparisons of everything, by reason.", "reason")
        self.repairs = self._counter("repairs", "Repairs of a VIF by the daemon itself.", "result")
        self.ovsdb_connected = self._gauge("ovsdb_connected", "1 while OVSDB answers.")
        self.requests = self._counter(
            "requests", "Requests on the socket; status 0 got no answer.", "method", "path", "status"
        )
        self.events = self._counter("events", "Events stored, by their state.", "state")
        self.followers = self._gauge("followers", "Connections that follow the events.")
        self.notifications = self._counter(
            "notifications", "Notices to notify_url: delivered, refused permanently, or to be retried.", "result"
        )
        self.notifications_queued = self._gauge("notifications_queued", "Notices that wait for notify_url.")
        self.notifications_dropped = self._gauge(
            "notifications_dropped", "Notices ever dropped, because too many waited."
        )
        self.external_events = self._counter(
            "external_events",
            "Nova's external events received, by name and code of the answer.",
            "name",
            "code",
        )
        self.log_lines_dropped = self._gauge(
            "log_lines_dropped", "Log lines of this worker dropped, because standard error was not read."
        )
        self.log_lines_dropped.set_function(logs.dropped)
        self.plug_seconds = self._seconds("plug", "Requests to plug, whatever their number of VIFs.")
        self.unplug_seconds = self._seconds("unplug", "Requests to unplug, whatever their number of VIFs.")
        self.repair_seconds = self._seconds("repair", "Repairs, by the daemon or requested.")

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(f"vifplug_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(f"vifplug_{name}", text, labels, registry=self.registry)

    def _seconds(self, verb: str, text: str) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            f"vifplug_{verb}_seconds", text, ["result"], buckets=_SECONDS, registry=self.registry
        )

    @staticmethod
    @contextlib.contextmanager
    def timed(seconds: prometheus_client.Histogram) -> Iterator[None]:
        """Measure a block: ``ok``; ``refused``, set by the caller if nothing was changed; or ``failed``."""
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
