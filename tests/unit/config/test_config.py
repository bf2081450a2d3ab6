from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg, generator
from oslo_privsep import capabilities

from vifplug.config import locate, options, validate
from vifplug.errors import ConfigError

SAMPLE = pathlib.Path(__file__).parents[3] / "etc" / "vifplug.conf.sample"


def _file(directory: pathlib.Path, text: str) -> str:
    path = directory / "vifplug.conf"
    path.write_text(text)
    return str(path)


def test_file_says_what_it_says_and_defaults_the_rest(tmp_path: pathlib.Path) -> None:
    settings = options.load(_file(tmp_path, "[ovs]\nconnection = unix:/a,tcp:127.0.0.1:6640\nisolate = true\n"))
    assert settings.connection == ("unix:/a", "tcp:127.0.0.1:6640")
    assert settings.isolate
    assert (settings.mtu, settings.integration_bridge, settings.qos_type) == (1500, "br-int", "linux-noop")
    assert settings.privileged["capabilities"] == ["CAP_NET_ADMIN"]
    assert settings.privileged["thread_pool_size"] == 16


def test_global_configuration_is_left_alone(tmp_path: pathlib.Path) -> None:
    options.load(_file(tmp_path, "[DEFAULT]\nmtu = 1400\n"))
    assert "mtu" not in cfg.CONF


def test_file_of_the_environment_is_the_default(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.FILE_VARIABLE, _file(tmp_path, "[DEFAULT]\nmtu = 1400\n"))
    assert options.load().mtu == 1400


def test_devices_that_vifs_may_use_are_those_of_two_options(tmp_path: pathlib.Path) -> None:
    text = "[bridge]\nphysical_networks = physnet1:eth1, physnet2:eth[2]\n[pci]\n"
    text += "devices = 0000:3B:10.2, 0000:5e:*, 0000:[67]e:[!0]*\n"
    settings = options.load(_file(tmp_path, text))
    assert settings.physical_networks == {"physnet1": "eth1", "physnet2": "eth[2]"}
    assert settings.configurable == ("eth1", "eth[[]2]", "0000:3b:10.2", "0000:5e:*", "0000:[67]e:[!0]*")
    assert options.load(_file(tmp_path, "")).configurable == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[bridge]\nphysical_networks = physnet1:a/b\n", "physical_networks 'physnet1:a/b' is not a network and its"),
        ("[bridge]\nphysical_networks = :eth1\n", "physical_networks"),
        ("[bridge]\nphysical_networks = eth1\n", "physical_networks"),
        ("[pci]\ndevices = *\n", "devices: '*' is neither a PCI address with its domain"),
        ("[pci]\ndevices = eth1\n", "devices: 'eth1' is neither"),
        ("[pci]\ndevices = 3b:10.2\n", "devices: '3b:10.2' is neither"),
        ("[pci]\ndevices = e[:f]b[:0]\n", "devices: 'e[:f]b[:0]' is neither"),
        ("[pci]\ndevices = *[!]:]*[]:]\n", "devices: '*[!]:]*[]:]' is neither"),
        ("[DEFAULT]\nmtu = 67\n", "mtu"),
        ("[DEFAULT]\nmtu = many\n", "mtu"),
        ("[ovs]\nintegration_bridge = a/b\n", "integration_bridge 'a/b' is not a device name"),
        ("[ovs]\nconnection =\n", "connection is empty"),
        ("[ovs]\nconnection = /run/db.sock\n", "connection '/run/db.sock' is neither unix:PATH with an absolute path"),
        ("[ovs]\nconnection = unix\n", "connection 'unix' is neither unix:PATH"),
        ("[ovs]\nconnection = unix:\n", "connection 'unix:' is neither"),
        ("[ovs]\nconnection = unix:db.sock\n", "connection 'unix:db.sock' is neither"),
        ("[ovs]\nconnection = unix:/a,tcp:127.0.0.1\n", "connection 'tcp:127.0.0.1' is neither"),
        ("[ovs]\nconnection = tcp::6640\n", "connection 'tcp::6640' is neither"),
        ("[ovs]\nconnection = tcp:h:65536\n", "connection 'tcp:h:65536' is neither"),
        ("[ovs]\nconnection = tcp:::1:6640\n", "connection 'tcp:::1:6640' is neither"),
        ("[ovs]\nconnection = ssl:127.0.0.1:6640\n", "connection 'ssl:127.0.0.1:6640' cannot be used"),
        ("[DEFAULT]\nstate_dir =\n", "[DEFAULT] state_dir '' is not an absolute path"),
        ("[DEFAULT]\nstate_dir = state\n", "[DEFAULT] state_dir 'state' is not an absolute path"),
        ("[vifplug_privileged]\ncapabilities = CAP_FOO\n", "capabilities: 'CAP_FOO' is not a Linux capability"),
        ("[vifplug_privileged]\ncapabilities = CAP_NET_ADMIN,41\n", "capabilities: '41' is not a Linux capability"),
        ("[vifplug_privileged]\ncapabilities = net_admin\n", "capabilities: 'net_admin' is not a Linux capability"),
        ("[vifplug_privileged]\nhelper_command = sudo 'x\n", 'helper_command "sudo \'x" is not a valid shell command'),
        ("[ovs]\ntimeout = 0\n", "timeout"),
        ("[ovs]\nqos_type = fast\n", "qos_type"),
        ("[ovs]\nvhostuser_socket_dir = vhost\n", "vhostuser_socket_dir 'vhost' cannot be the directory of sockets"),
        ("[ovs]\nvhostuser_socket_dir = /var/lib/../x\n", "an absolute path without '..'"),
        (f"[ovs]\nvhostuser_socket_dir = /{'x' * 92}\n", "it has 108 bytes"),
        ("[events]\nwired_by = nobody\n", "wired_by"),
        ("[events]\nnotify_url = nova:8774\n", "notify_url 'nova:8774' is not a URL"),
        ("[events]\nnotify_url = http://h:99999/\n", "notify_url 'http://h:99999/' is not a URL"),
        ("[events]\nnotify_url = http:///x\n", "notify_url"),
        ("[events]\nnotify_token = a b\n", "notify_token"),
        ("[events]\nnotify_interval = 0\n", "notify_interval"),
        ("[events]\nlisten = 8775\n", "listen needs a listen_token"),
        ("[events]\nlisten = 0.0.0.0:0\nlisten_token = x\n", "listen '0.0.0.0:0'"),
        ("[events]\nlisten = localhost:8775\nlisten_token = x\n", "listen 'localhost:8775'"),
        ("no section\n", "wrong"),
    ],
)
def test_wrong_value_is_refused_with_file_and_option(tmp_path: pathlib.Path, text: str, said: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        options.load(path)
    assert said in str(caught.value)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["unix:/run/ovs/db.sock", "tcp:127.0.0.1:6640", "tcp:[::1]:1", "tcp:ovs.example:65535"]
)
def test_address_of_ovsdb_is_taken(tmp_path: pathlib.Path, address: str) -> None:
    assert options.load(_file(tmp_path, f"[ovs]\nconnection = {address}\n")).connection == (address,)


def test_capabilities_are_those_of_oslo_privsep(tmp_path: pathlib.Path) -> None:
    assert dict(capabilities.CAPS_BYNAME) == {name: number for number, name in enumerate(validate.CAPABILITIES)}
    for said in (*validate.CAPABILITIES, "0", "12", "40"):
        text = f"[vifplug_privileged]\ncapabilities = {said}\n"
        assert options.load(_file(tmp_path, text)).privileged["capabilities"] == [said]


def test_missing_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        options.load(str(tmp_path / "absent.conf"))


def test_sample_is_what_the_options_say(tmp_path: pathlib.Path) -> None:
    fresh = tmp_path / "sample"
    generator.main(["--namespace", "vifplug", "--output-file", str(fresh)])
    assert fresh.read_text() == SAMPLE.read_text(), "run: tox -e sample-config"


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("8775", ("127.0.0.1", 8775)),
        (":8775", ("127.0.0.1", 8775)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:8775", ("::1", 8775)),
    ],
)
def test_listener_is_on_loopback_by_default(tmp_path: pathlib.Path, said: str, address: tuple[str, int]) -> None:
    assert options.load(_file(tmp_path, f"[events]\nlisten = {said}\nlisten_token = x\n")).listen == address
    assert options.load(_file(tmp_path, "[events]\nlisten_token = x\n")).listen is None


@pytest.mark.parametrize("length, is_right", [(107, True), (108, False)])
def test_ovsdb_socket_has_as_many_bytes_as_the_kernel_takes(
    tmp_path: pathlib.Path, length: int, is_right: bool
) -> None:
    address = "unix:/" + "é" * 2 + "x" * (length - 5)
    file = tmp_path / "vifplug.conf"
    file.write_text(f"[ovs]\nconnection = {address}\n", encoding="utf-8")
    if is_right:
        assert options.load(str(file)).connection == (address,)
        return
    with pytest.raises(ConfigError, match="has 108 bytes, and a Unix socket's path at most 107"):
        options.load(str(file))


@pytest.mark.parametrize(
    "text",
    [
        "[events]\nlisten_token s3cret\n",
        "[events]\nlisten_token =\ns3cret: x y\n[",
        "[events]\nlisten = 8775\nlisten_token = a$s3cret\n",
        "[events]\nlisten_token = s3cret\u00e9\n",
        "[events]\nnotify_token = s3cret s3cret\n",
        "[events]\nnotify_url = http://nova:s3cret@host:99999/x\n",
    ],
)
def test_no_error_shows_a_secret(tmp_path: pathlib.Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        options.load(_file(tmp_path, text))
    assert "s3cret" not in str(raised.value)
