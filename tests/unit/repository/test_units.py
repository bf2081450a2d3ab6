"""The files in etc/ as systemd's own tools see them, and that a wheel brings them along."""

from __future__ import annotations

import configparser
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import zipfile

import pytest

REPOSITORY = pathlib.Path(__file__).parents[3]
ETC = REPOSITORY / "etc"
UNITS = ETC / "systemd"
EXPOSURE_MAX = 2.0


def _run(*argv: object) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def units(tmp_path: pathlib.Path) -> pathlib.Path:
    """Copies of the units, with a vifplugd that is there: systemd looks for one in its own search path."""
    for unit in UNITS.iterdir():
        text = unit.read_text()
        (tmp_path / unit.name).write_text(re.sub("^ExecStart=vifplugd$", "ExecStart=/bin/true", text, flags=re.M))
    return tmp_path


def _settings(unit: str) -> list[str]:
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _value(unit: str, key: str) -> str:
    (value,) = (line.partition("=")[2] for line in _settings(unit) if line.startswith(f"{key}="))
    return value


def test_units_are_understood_without_a_complaint(units: pathlib.Path) -> None:
    assert _run("systemd-analyze", "verify", units / "vifplugd.service", units / "vifplugd.socket") == ""


def test_exposure_of_the_base_unit_is_low(units: pathlib.Path) -> None:
    output = _run("systemd-analyze", "security", "--offline=yes", "--no-pager", units / "vifplugd.service")
    found = re.search(r"Overall exposure level for vifplugd\.service: ([0-9.]+)", output)
    assert found, output
    assert float(found[1]) <= EXPOSURE_MAX, output


def test_base_unit_has_no_internet_and_the_drop_in_has(units: pathlib.Path) -> None:
    assert _value("vifplugd.service", "RestrictAddressFamilies") == "AF_UNIX AF_NETLINK"
    drop_in = units / "vifplugd.service.d"
    drop_in.mkdir()
    shutil.move(units / "vifplugd-inet.conf", drop_in / "inet.conf")
    assert _run("systemd-analyze", "verify", units / "vifplugd.service") == ""
    assert _value("vifplugd-inet.conf", "RestrictAddressFamilies") == "AF_INET AF_INET6"


def test_socket_is_where_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from vifplug.config.options import Settings

    settings = Settings()
    assert _value("vifplugd.socket", "ListenStream") == settings.socket
    assert _value("vifplugd.socket", "SocketGroup") == settings.socket_group
    assert _value("vifplugd.socket", "SocketMode") == "0660"
    assert f"ReadWritePaths=-{settings.state_dir}" in _settings("vifplugd.service")


def test_user_and_directories_are_made(tmp_path: pathlib.Path) -> None:
    (tmp_path / "etc").mkdir()
    output = _run("systemd-sysusers", f"--root={tmp_path}", "--dry-run", ETC / "sysusers.d" / "vifplug.conf")
    assert "vifplug" in output
    # An account of the one who runs this test stands in for it: only root could give anything to another.
    own = pathlib.Path.home().stat()
    (tmp_path / "etc" / "passwd").write_text(
        f"root:x:{own.st_uid}:{own.st_gid}::/:\nvifplug:x:{own.st_uid}:{own.st_gid}::/:\n"
    )
    (tmp_path / "etc" / "group").write_text(f"root:x:{own.st_gid}:\nvifplug:x:{own.st_gid}:\n")
    _run("systemd-tmpfiles", f"--root={tmp_path}", "--create", ETC / "tmpfiles.d" / "vifplug.conf")
    assert stat.S_IMODE((tmp_path / "var/lib/vifplug").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "run/vifplug").stat().st_mode) == 0o755


def _data_files() -> dict[str, list[str]]:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    return {place: paths.split() for place, paths in setup["options.data_files"].items()}


def test_every_file_in_etc_is_installed() -> None:
    listed = {path for paths in _data_files().values() for path in paths}
    assert listed == {str(path.relative_to(REPOSITORY)) for path in ETC.rglob("*") if path.is_file()}


def test_wheel_brings_them_along(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("docs", "etc", "examples", "tools", "vifplug"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    wheels = tmp_path / "wheels"
    pip = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--use-pep517", "--no-index")
    _run(sys.executable, *pip, "--wheel-dir", wheels, source)
    (wheel,) = wheels.glob("vifplug-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for place, paths in _data_files().items():
        for path in paths:
            ending = f".data/data/{place}/{pathlib.Path(path).name}"
            assert any(name.endswith(ending) for name in names), f"{ending} is not in {names}"
    documents = [
        path.relative_to(REPOSITORY) for folder in ("docs", "examples") for path in _files(REPOSITORY / folder)
    ]
    assert len(documents) > 20
    missing = [path for path in documents if not any(name.endswith(f"/share/doc/vifplug/{path}") for name in names)]
    assert not missing


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
