"""How long VIFs take from their plug to the higher levels; metrics that tools can read; names in the alert rules."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from vifplug.daemon.metrics import Metrics, Steps
from vifplug.model.events import Event

RULES = pathlib.Path(__file__).parents[3] / "etc" / "prometheus" / "vifplug.rules.yml"


def event(vif_id: str, second: float, state: str, previous: str | None, kind: str = "state") -> Event:
    time = f"2026-11-21T07:36:{second:06.3f}Z"
    return Event(seq=1, vif_id=vif_id, state=state, previous=previous, time=time, kind=kind)


def families_of(metrics: Metrics) -> dict[str, Any]:
    text = metrics.open_metrics()[0].decode()
    return {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]


def sums(metrics: Metrics) -> dict[str, float]:
    families = families_of(metrics).values()
    return {sample.name: sample.value for family in families for sample in family.samples if "plug_to" in sample.name}


def test_steps_are_measured_by_the_times_of_events() -> None:
    metrics = Metrics()
    steps = Steps(metrics)
    for each in (
        event("a", 1, "plugged", None),
        event("b", 2, "plugged", None),
        event("a", 3.5, "wired", "plugged"),
        event("a", 3.6, "wired", "wired", "repair"),
        event("b", 4, "drifted", "plugged"),
        event("a", 5, "active", "wired"),
        event("b", 6, "wired", "drifted"),
        event("c", 7, "wired", "plugged"),
        event("a", 8, "wired", "active"),
        event("a", 9, "active", "wired"),
    ):
        steps.see(each)
    measured = sums(metrics)
    assert measured["vifplug_plug_to_wired_seconds_count"] == measured["vifplug_plug_to_active_seconds_count"] == 1
    assert measured["vifplug_plug_to_wired_seconds_sum"] == pytest.approx(2.5)
    assert measured["vifplug_plug_to_active_seconds_sum"] == pytest.approx(4)
    assert not steps._plugged


def test_counters_are_counters_and_the_process_is_measured() -> None:
    metrics = Metrics()
    metrics.set_dropped_notifications(3)
    families = families_of(metrics)
    assert families["vifplug_dropped_notifications"].type == "counter"
    assert families["vifplug_dropped_notifications"].samples[0].value == 3
    assert families["vifplug_process_cpu_seconds"].type == "counter"
    assert families["vifplug_process_open_fds"].samples[0].value > 0
    assert families["vifplug_build_info"].samples[0].labels.keys() == {"version", "python", "kernel"}


def test_rules_ask_for_metrics_that_there_are() -> None:
    names = families_of(Metrics()).keys()
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert len(rules) == 15
    for rule in rules:
        asked = set(re.findall(r"\bvifplug_\w+", rule["expr"].replace('".*vifplug', "")))
        known = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in asked}
        assert known <= names and (known or "textfile" in rule["expr"]), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description", "action"} == set(rule["annotations"])
