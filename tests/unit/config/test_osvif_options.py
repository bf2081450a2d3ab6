"""The os-vif plugin's options; the rest of it needs os-vif and is tried in tests/functional/osvif/test_osvif.py."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from vifplug.osvif import options

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "how-to" / "os-vif.md").read_text()


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch) -> Iterator[cfg.ConfigOpts]:
    """A global configuration of the test's own."""
    conf = cfg.ConfigOpts()
    monkeypatch.setattr(cfg, "CONF", conf)
    yield conf


def test_nothing_is_taken_by_default(conf: cfg.ConfigOpts) -> None:
    expected = options.Choice(take_ovs=False, via="auto", config_file=None, retry_timeout=30, missing_bridge="error")
    assert options.current() == expected


def test_configuration_read_after_os_vif_was_initialized_holds(conf: cfg.ConfigOpts, tmp_path: pathlib.Path) -> None:
    assert not options.current().take_ovs
    file = tmp_path / "nova.conf"
    file.write_text("[os_vif_vifplug]\ntake_ovs = true\nvia = daemon\nconfig_file = /etc/other.conf\n")
    conf(["--config-file", str(file)], project="nova")
    assert options.current() == options.Choice(take_ovs=True, via="daemon", config_file="/etc/other.conf")


def test_environment_can_tell(conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_OS_VIF_VIFPLUG__TAKE_OVS", "true")
    conf([], project="nova", default_config_files=[])
    assert options.current().take_ovs


def test_wrong_value_is_refused_naming_the_option(conf: cfg.ConfigOpts, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "nova.conf"
    file.write_text("[os_vif_vifplug]\nvia = carrier-pigeon\n")
    conf(["--config-file", str(file)], project="nova")
    with pytest.raises(ValueError, match="carrier-pigeon"):
        options.current()


def test_every_option_is_explained() -> None:
    ((group, listed),) = options.list_opts()
    assert group == "os_vif_vifplug"
    for option in listed:
        default = "" if option.default is None else f"`{str(option.default).lower()}`"
        cells = [
            cell.strip() for row in PAGE.splitlines() if row.startswith(f"| `{option.name}`") for cell in row.split("|")
        ]
        assert cells[2:3] == [default], f"docs/how-to/os-vif.md: {option.name} and its default"
        assert len(cells[3]) > 20
