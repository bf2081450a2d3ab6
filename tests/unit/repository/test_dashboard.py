"""The Grafana dashboard asks for what the daemon tells, and for all of it."""

from __future__ import annotations

import collections
import itertools
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from vifplug.daemon.metrics import Metrics

FILE = pathlib.Path(__file__).parents[3] / "etc" / "grafana" / "vifplug.json"
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
# Added by Prometheus, or to the samples of a histogram.
EVERYWHERE = {"instance", "job", "le"}

_NAME = re.compile(r"\bvifplug_\w+")
_SELECTOR = re.compile(r"(vifplug_\w+)\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
_BY = re.compile(r"\bby \(([^)]*)\)")


def _dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def _panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _dashboard()["panels"]
    return found


def _queries() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for panel in _panels():
        for target in panel.get("targets", []):
            yield panel, target


def _samples() -> dict[str, set[str]]:
    """The name of every sample that there can be, and its labels."""
    found: dict[str, set[str]] = {}
    for collector in vars(Metrics()).values():
        if not hasattr(collector, "describe") or not hasattr(collector, "_labelnames"):
            continue
        for family in collector.describe():
            for suffix in SUFFIXES[family.type]:
                found[family.name + suffix] = set(collector._labelnames)
    return found


def _metric(sample: str) -> str:
    """A histogram is one metric, whatever its samples."""
    return re.sub(r"_(bucket|count|sum)$", "", sample)


def test_there_are_metrics_to_compare_with() -> None:
    assert _samples()["vifplug_vifs"] == {"state"}
    assert _samples()["vifplug_plug_seconds_bucket"] == {"result"}
    assert "vifplug_repairs_total" in _samples()


def test_every_panel_has_an_id_a_title_and_a_place_of_its_own() -> None:
    panels = _panels()
    for key in ("id", "title"):
        repeated = [what for what, count in collections.Counter(each[key] for each in panels).items() if count > 1]
        assert not repeated, f"{key} {repeated} more than once"
    places = [(each["title"], each["gridPos"]) for each in panels]
    for title, at in places:
        assert at["x"] >= 0 and at["x"] + at["w"] <= COLUMNS, title
    for (title, each), (other_title, other) in itertools.combinations(places, 2):
        apart_across = each["x"] + each["w"] <= other["x"] or other["x"] + other["w"] <= each["x"]
        apart_down = each["y"] + each["h"] <= other["y"] or other["y"] + other["h"] <= each["y"]
        assert apart_across or apart_down, f"{title} lies over {other_title}"


def test_every_panel_but_a_row_says_what_it_shows_and_asks_for_it() -> None:
    for panel in _panels():
        if panel["type"] == "row":
            assert not panel["panels"] and "targets" not in panel, panel["title"]
            continue
        assert panel["description"].strip().endswith("."), panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references), panel["title"]


def test_every_panel_asks_the_chosen_data_source() -> None:
    for panel, target in _queries():
        assert panel["datasource"] == target["datasource"] == DATASOURCE, panel["title"]


def test_every_query_is_of_metrics_that_there_are_by_labels_that_they_have() -> None:
    samples = _samples()
    for panel, target in _queries():
        expression = target["expr"]
        names = _NAME.findall(expression)
        assert names, panel["title"]
        for name in names:
            assert name in samples, f"{panel['title']}: the daemon has no {name}"
        labels = {label.strip() for group in _BY.findall(expression) for label in group.split(",")}
        labels |= {label for _name, inside in _SELECTOR.findall(expression) for label, _ in _MATCHER.findall(inside)}
        labels |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        for name in names:
            strange = labels - samples[name] - EVERYWHERE
            assert not strange, f"{panel['title']}: {name} has no label {sorted(strange)}"


def test_every_query_is_of_the_chosen_hosts_alone() -> None:
    for panel, target in _queries():
        selectors = _SELECTOR.findall(target["expr"])
        assert len(selectors) == len(_NAME.findall(target["expr"])), panel["title"]
        for name, inside in selectors:
            assert ("instance", "$instance") in _MATCHER.findall(inside), f"{panel['title']}: {name}"


def test_every_metric_is_on_some_panel() -> None:
    shown = {_metric(name) for _panel, target in _queries() for name in _NAME.findall(target["expr"])}
    assert not {_metric(name) for name in _samples()} - shown


def test_counters_are_rated_and_gauges_are_not() -> None:
    rated = re.compile(r"\b(?:rate|increase)\((vifplug_\w+)\{")
    for panel, target in _queries():
        counted = {name for name in _NAME.findall(target["expr"]) if re.search(r"_(total|bucket|count|sum)$", name)}
        assert set(rated.findall(target["expr"])) == counted, panel["title"]


@pytest.mark.parametrize(("name", "kind"), [("datasource", "datasource"), ("instance", "query")])
def test_there_is_a_variable_to_choose_by(name: str, kind: str) -> None:
    (variable,) = [each for each in _dashboard()["templating"]["list"] if each["name"] == name]
    assert variable["type"] == kind
    if kind == "query":
        assert variable["datasource"] == DATASOURCE
        assert set(_NAME.findall(variable["definition"])) <= set(_samples())
        assert variable["definition"] == variable["query"]["query"]
