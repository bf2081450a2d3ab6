from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg, generator

from vifplug import config
from vifplug.errors import ConfigError

SAMPLE = pathlib.Path(__file__).parents[2] / "etc" / "vifplug.conf.sample"


def _file(directory: pathlib.Path, text: str) -> str:
    path = directory / "vifplug.conf"
    path.write_text(text)
    return str(path)


def test_file_says_what_it_says_and_defaults_the_rest(tmp_path: pathlib.Path) -> None:
    settings = config.load(_file(tmp_path, "[ovs]\nconnection = unix:/a,tcp:127.0.0.1:6640\nisolate = true\n"))
    assert settings.connection == ("unix:/a", "tcp:127.0.0.1:6640")
    assert settings.isolate
    assert (settings.mtu, settings.integration_bridge, settings.qos_type) == (1500, "br-int", "linux-noop")
    assert settings.privileged["capabilities"] == ["CAP_NET_ADMIN"]
    assert settings.privileged["thread_pool_size"] == 16


def test_global_configuration_is_left_alone(tmp_path: pathlib.Path) -> None:
    config.load(_file(tmp_path, "[DEFAULT]\nmtu = 1400\n"))
    assert "mtu" not in cfg.CONF


def test_file_of_the_environment_is_the_default(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.FILE_VARIABLE, _file(tmp_path, "[DEFAULT]\nmtu = 1400\n"))
    assert config.load().mtu == 1400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[DEFAULT]\nmtu = 67\n", "mtu"),
        ("[DEFAULT]\nmtu = many\n", "mtu"),
        ("[ovs]\nintegration_bridge = a/b\n", "integration_bridge 'a/b' is no device name"),
        ("[ovs]\nconnection =\n", "connection is empty"),
        ("[ovs]\nconnection = /run/db.sock\n", "connection '/run/db.sock' must start with unix:, tcp: or ssl:"),
        ("[ovs]\ntimeout = 0\n", "timeout"),
        ("[ovs]\nqos_type = fast\n", "qos_type"),
        ("no section\n", "wrong"),
    ],
)
def test_wrong_value_is_refused_with_file_and_option(tmp_path: pathlib.Path, text: str, said: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert said in str(caught.value)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        config.load(str(tmp_path / "absent.conf"))


def test_sample_is_what_the_options_say(tmp_path: pathlib.Path) -> None:
    fresh = tmp_path / "sample"
    generator.main(["--namespace", "vifplug", "--output-file", str(fresh)])
    assert fresh.read_text() == SAMPLE.read_text(), "run: tox -e sample-config"
