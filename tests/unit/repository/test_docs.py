"""What operators read names everything they may meet."""

from __future__ import annotations

import pathlib
import re

from vifplug.daemon.metrics import Metrics
from vifplug.model import reports

REPOSITORY = pathlib.Path(__file__).parents[3]
REFERENCE = REPOSITORY / "docs" / "reference"
CONFIGURATION = (REFERENCE / "configuration.md").read_text()
METRICS = (REFERENCE / "metrics.md").read_text()
STATES = (REFERENCE / "states.md").read_text()
INSTALL = (REPOSITORY / "docs" / "how-to" / "install.md").read_text()


def _row(page: str, name: str) -> str:
    """The row of one of a page's tables that begins with a name."""
    found = re.search(rf"^\| `{re.escape(name)}`.*\|$", page, flags=re.M)
    assert found, f"docs/reference has no table row for {name}"
    return found[0]


def test_every_option_is_named() -> None:
    sample = (REPOSITORY / "etc" / "vifplug.conf.sample").read_text()
    options = re.findall(r"^#(\w+) =", sample, flags=re.M)
    assert len(options) > 20
    missing = [name for name in options if not re.search(rf"`(\[\w+\] )?{name}`", CONFIGURATION)]
    assert not missing


def test_every_metric_is_explained_with_its_labels() -> None:
    for family in Metrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        cells = [cell.strip() for cell in _row(METRICS, name).split(" | ")]
        assert len(cells) == 3
        assert all(len(cell) > 10 for cell in cells), f"{name}: what it means, and when to be alerted"


def test_every_metrics_label_is_named() -> None:
    metrics = Metrics()
    for metric in vars(metrics).values():
        for label in getattr(metric, "_labelnames", ()):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            assert re.search(rf"\{{[^}}]*\b{label}\b[^}}]*\}}", _row(METRICS, name)), f"{name}: label {label}"


def test_every_state_is_explained() -> None:
    for state in reports.STATES:
        assert _row(STATES, state).count("|") >= 4
    assert f"`{reports.UNPLUGGED}`" in STATES


def test_tests_that_documents_name_are_there() -> None:
    pages = [*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    named = {
        (page.name, path)
        for page in pages
        for path in re.findall(r"`(?:tests/)?((?:unit|functional|support|e2e)/[\w/*.]+)`", page.read_text())
    }
    assert len(named) > 40
    missing = [
        f"{page}: {path}" for page, path in sorted(named) if not any((REPOSITORY / "tests").glob(path.rstrip("/")))
    ]
    assert not missing, "\n".join(missing)


def test_install_commands_name_files_that_are_installed() -> None:
    named = re.findall(r"(?:systemd|sysusers\.d|tmpfiles\.d)/[\w.-]+\.(?:conf|service|socket)", INSTALL)
    assert len(set(named)) >= 5
    for name in set(named):
        assert (REPOSITORY / "etc" / name).exists(), name
