"""The daemon's metrics, for Prometheus."""

from __future__ import annotations

import contextlib
import platform
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import prometheus_client
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.samples import Sample

from vifplug import version
from vifplug.daemon import logs
from vifplug.errors import Conflict, InputError, NotPermitted
from vifplug.model.events import LEVELS, STATE, Event, between
from vifplug.model.reports import ACTIVE, PLUGGED, WIRED

# A counter's creation time is useless: every start of the daemon creates them again.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

OPENMETRICS = "application/openmetrics-text"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STEP_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""For what other programs do after a plug: a control plane needs seconds, a guest's start perhaps minutes."""


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
        # The released names of these two are gauges, and a counter of the same name is not possible.
        self.dropped_log_lines = self._counter("dropped_log_lines", "As vifplug_log_lines_dropped, as a counter.")
        _follow(self.dropped_log_lines, logs.dropped)
        self.dropped_notifications = self._counter(
            "dropped_notifications", "As vifplug_notifications_dropped, as a counter."
        )
        self._ever_dropped = 0
        _follow(self.dropped_notifications, lambda: self._ever_dropped)
        self.plug_to_wired_seconds = self._step("wired", "From a VIF's plug until the control plane has wired it.")
        self.plug_to_active_seconds = self._step("active", "From a VIF's plug until its guest's end is up.")
        self.build_info = self._gauge("build_info", "1; the versions are labels.", "version", "python", "kernel")
        self.build_info.labels(version.installed(), platform.python_version(), platform.release()).set(1)
        # With a prefix: node_exporter, which passes these metrics on, has its own process_* metrics.
        self.process = prometheus_client.ProcessCollector(namespace="vifplug", registry=self.registry)
        self.plug_seconds = self._seconds("plug", "Requests to plug, whatever their number of VIFs.")
        self.unplug_seconds = self._seconds("unplug", "Requests to unplug, whatever their number of VIFs.")
        self.repair_seconds = self._seconds("repair", "Repairs, by the daemon or requested.")

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(f"vifplug_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(f"vifplug_{name}", text, labels, registry=self.registry)

    def _step(self, state: str, text: str) -> prometheus_client.Histogram:
        name = f"vifplug_plug_to_{state}_seconds"
        return prometheus_client.Histogram(name, text, buckets=_STEP_SECONDS, registry=self.registry)

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

    def set_dropped_notifications(self, count: int) -> None:
        """Take the number of notices ever dropped, which the store keeps."""
        self._ever_dropped = count
        self.notifications_dropped.set(count)

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)

    def open_metrics(self) -> tuple[bytes, str]:
        """All of them in OpenMetrics' format, and its media type."""
        text: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text, openmetrics.CONTENT_TYPE_LATEST


def _follow(counter: prometheus_client.Counter, value: Callable[[], float]) -> None:
    """Let a counter have a value that is counted elsewhere, as ``Gauge.set_function`` does for gauges."""

    def samples(_counter: Any) -> tuple[Sample, ...]:
        return (Sample("_total", {}, float(value()), None, None),)

    counter._child_samples = types.MethodType(samples, counter)  # type: ignore[method-assign]


class Steps:
    """Measures from events how long VIFs take from their first plug to the higher levels. For one thread.

    :param metrics: the histograms.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._seconds = {WIRED: metrics.plug_to_wired_seconds, ACTIVE: metrics.plug_to_active_seconds}
        self._plugged: dict[str, tuple[str, set[str]]] = {}
        """Of VIFs on their way: when they were plugged, and the levels that they have not had."""

    def see(self, event: Event) -> None:
        """Take the next event. A VIF that drifts or fails on its way is no longer measured."""
        if event.kind != STATE:
            return
        if event.state == PLUGGED and event.previous is None:
            self._plugged[event.vif_id] = (event.time, set(self._seconds))
        elif event.vif_id not in self._plugged:
            return
        elif event.state not in LEVELS:
            del self._plugged[event.vif_id]
        elif event.state in self._seconds:
            began, missing = self._plugged[event.vif_id]
            seconds = between(began, event.time)
            if event.state in missing and seconds is not None:
                missing.remove(event.state)
                self._seconds[event.state].observe(seconds)
            if not missing:
                del self._plugged[event.vif_id]
