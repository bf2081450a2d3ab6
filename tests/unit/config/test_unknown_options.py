"""What of a configuration file is unknown, and what is the nearest to it."""

from __future__ import annotations

import pathlib

import pytest

from vifplug.config import options
from vifplug.daemon.process import supervisor
from vifplug.doctor import checks
from vifplug.doctor.facts import Facts
from vifplug.doctor.findings import WARNING


def unknown(directory: pathlib.Path, text: str) -> tuple[str, ...]:
    path = directory / "vifplug.conf"
    path.write_text(text)
    return options.load(str(path)).unknown


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[daemon]\nrepair_intervall = 5", ["[daemon] repair_intervall", "[daemon] repair_interval?"]),
        ("[daemon]\nrepair-interval = 5", ["[daemon] repair-interval", "[daemon] repair_interval?"]),
        ("[daemon]\nRepair_Interval = 5", ["[daemon] Repair_Interval", "[daemon] repair_interval?"]),
        ("[daemon]\nmtu = 9000", ["[daemon] mtu", "[DEFAULT] mtu?"]),
        ("[DEFAULT]\nintegration_bridge = br-x", ["[DEFAULT] integration_bridge", "[ovs] integration_bridge?"]),
        ("[default]\nmtu = 9000", ["section [default]", "[DEFAULT]?"]),
        ("[deamon]\nuser = x\nsocket = /x", ["section [deamon]", "[daemon]?"]),
        ("[event]\nlisten = 1", ["section [event]", "[events]?"]),
        ("[nonsense]\nx = 1", ["section [nonsense]"]),
        ("[vifplug_privileged]\ncapabilites = CAP_NET_ADMIN", ["[vifplug_privileged] capabilities?"]),
        ("[OVS]\nbridge_integration = x", ["[ovs] integration_bridge?"]),
    ],
)
def test_what_is_unknown_is_one_sentence_that_names_the_nearest(
    tmp_path: pathlib.Path, text: str, named: list[str]
) -> None:
    (output,) = unknown(tmp_path, text)
    assert all(part in output for part in named), output


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[DEFAULT]\nmtu = 9000\ndebug = true\nlog_file = /x",
        "[Daemon]\nrepair_interval = 5",
        "[vifplug_privileged]\nlogger_name = x\nlog_daemon_traceback = true",
        "[os_vif_vifplug]\nvia = local\n[os_vif_ovs]\nanything = 1",
        "[privsep_osbrick]\nuser = x",
    ],
)
def test_options_of_others_that_read_the_file_are_known(tmp_path: pathlib.Path, text: str) -> None:
    assert unknown(tmp_path, text) == ()


def test_every_option_of_ours_is_known(tmp_path: pathlib.Path) -> None:
    sample = pathlib.Path(__file__).parents[3] / "etc" / "vifplug.conf.sample"
    lines = [
        line[1:] if line.startswith("#") and " = " in line and line[1] != " " else line
        for line in sample.read_text().splitlines()
    ]
    shown = [line for line in lines if not line.endswith("= <None>") and "listen" not in line]
    assert unknown(tmp_path, "\n".join(shown)) == ()


def test_directory_that_is_not_read_is_named(tmp_path: pathlib.Path) -> None:
    fragments = tmp_path / "vifplug.conf.d"
    fragments.mkdir()
    assert unknown(tmp_path, "") == ()
    (fragments / "10-mtu.conf").write_text("[DEFAULT]\nmtu = 9000")
    (output,) = unknown(tmp_path, "")
    assert "vifplug.conf.d is not read" in output


def test_check_config_says_what_is_wrong_and_starts_nothing(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vifplug.conf"
    for text, status, output in (
        ("[DEFAULT]\nmtu = 9000", 0, "ok"),
        ("[daemon]\nmtu = 9000", 2, "[DEFAULT] mtu?"),
        ("[DEFAULT]\nmtu = many", 2, "mtu"),
        ("no section = 1", 2, "vifplug.conf"),
    ):
        path.write_text(text)
        assert supervisor.main(["--check-config", "--config-file", str(path)]) == status
        shown = capsys.readouterr()
        assert output in (shown.out if status == 0 else shown.err)
        assert not (shown.err if status == 0 else shown.out)
    assert supervisor.main(["--check-config", "--config-file", str(tmp_path / "none.conf")]) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["vifplug.conf"]


def test_doctor_says_it(tmp_path: pathlib.Path) -> None:
    facts = Facts(integration_bridge="br-int", unknown_options=unknown(tmp_path, "[daemon]\nmtu = 9000"))
    (finding,) = [each for each in checks.diagnose(facts).findings if each.check == "configuration"]
    assert finding.status == WARNING and "[DEFAULT] mtu?" in finding.reason
