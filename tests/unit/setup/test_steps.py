"""The steps of a host's setup and of its removal, from facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from vifplug.setup import facts as host
from vifplug.setup import files, removal, steps
from vifplug.setup.actions import Command, Directory, Install, Link, Remove
from vifplug.setup.facts import Daemon, Facts, Program, Switch
from vifplug.setup.steps import Step, Wishes

OWN = "/opt/vifplug/bin"
ADDRESS = "unix:/run/openvswitch/db.sock"
BARE = Facts(
    version="2",
    source="/opt/vifplug/share/vifplug",
    files={file.target: host.ABSENT for file in files.FILES},
    programs={name: Program(own=f"{OWN}/{name}") for name in files.PROGRAMS},
    has_sysusers=True,
    daemon=Daemon(has_systemctl=True, is_booted=True),
    switch=Switch(is_connected=True, address=ADDRESS),
    connection=(ADDRESS,),
)
"""A host on which pip has installed vifplug into /opt/vifplug, and Open vSwitch runs without br-int."""
READY = replace(
    BARE,
    files={file.target: host.SAME for file in files.FILES},
    programs={
        name: Program(own=f"{OWN}/{name}", seen=f"/usr/local/bin/{name}", is_own=True) for name in files.PROGRAMS
    },
    has_user=True,
    state=host.Directory(mode=0o700, user="vifplug"),
    run=host.Directory(mode=0o755, user="root"),
    daemon=Daemon(has_systemctl=True, is_booted=True, is_enabled=True, is_active=True, version="2"),
    switch=Switch(is_connected=True, address=ADDRESS, bridges=("br-int",)),
)


def planned(facts: Facts, **wishes: object) -> Sequence[Step]:
    return steps.plan(facts, Wishes(**wishes))  # type: ignore[arg-type]


def only(found: Sequence[Step], name: str) -> Step:
    (step,) = (step for step in found if step.step == name)
    return step


def test_bare_host_needs_every_step_of_the_documented_installation() -> None:
    needed = [step for step in planned(BARE) if step.status == steps.NEEDED]
    assert [action for step in needed for action in step.actions] == [
        *(Link(path=f"/usr/local/bin/{name}", target=f"{OWN}/{name}") for name in files.PROGRAMS),
        *(
            Install(source=f"{BARE.source}/{file.source}", target=file.target)
            for file in files.FILES
            if file not in (files.NETWORK_MANAGER_FILE, files.INTERNET)
        ),
        Command(argv=("systemd-sysusers", "vifplug.conf")),
        Directory(path="/var/lib/vifplug", mode=0o700, user="vifplug", group="vifplug"),
        Directory(path="/run/vifplug", mode=0o755, user="root", group="root"),
        Command(argv=("systemctl", "daemon-reload")),
        Command(argv=("systemctl", "enable", "--now", "vifplugd.socket", "vifplugd.service")),
    ]


def test_ready_host_needs_nothing() -> None:
    assert {step.status for step in planned(READY)} == {steps.DONE}
    assert not [step for step in planned(READY) if step.actions]


def test_packaged_host_needs_its_daemon_enabled_and_no_file() -> None:
    packaged = replace(
        READY,
        files={file.target: host.PACKAGED for file in files.FILES},
        daemon=Daemon(has_systemctl=True, is_booted=True),
    )
    assert [step.step for step in planned(packaged) if step.status == steps.NEEDED] == ["daemon"]


def test_missing_bridge_is_left_to_a_person_unless_its_creation_is_asked_for() -> None:
    step = only(planned(BARE), "bridge")
    assert (step.status, step.command, step.actions) == (steps.MANUAL, "ovs-vsctl add-br br-int", ())
    (system,) = only(planned(BARE, bridge_datapath="system"), "bridge").actions
    assert str(system) == f"ovs-vsctl --timeout=10 --db={ADDRESS} --may-exist add-br br-int"
    (netdev,) = only(planned(BARE, bridge_datapath="netdev"), "bridge").actions
    assert str(netdev).endswith("add-br br-int -- set Bridge br-int datapath_type=netdev")
    assert only(planned(READY, bridge_datapath="netdev"), "bridge").actions == ()


def test_open_vswitch_that_does_not_answer_is_named_with_its_reason() -> None:
    away = replace(READY, switch=Switch(socket="/run/openvswitch/db.sock"))
    assert only(planned(away), "ovsdb").command == "apt install openvswitch-switch"
    assert only(planned(away, bridge_datapath="system"), "bridge").status == steps.SKIPPED
    stopped = replace(away, switch=replace(away.switch, is_installed=True))
    assert only(planned(stopped), "ovsdb").command == "systemctl start openvswitch-switch"
    foreign = replace(away, switch=replace(away.switch, socket_user="openvswitch"))
    assert "[vifplug_privileged] user = openvswitch" in only(planned(foreign), "ovsdb").reason
    known = replace(foreign, helper_user="openvswitch")
    assert "vifplug_privileged" not in only(planned(known), "ovsdb").reason


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (host.ABSENT, steps.NEEDED),
        (host.SAME, steps.DONE),
        (host.DIFFERENT, steps.NEEDED),
        (host.PACKAGED, steps.DONE),
        (host.OVERRIDING, steps.MANUAL),
        (host.SYMBOLIC_LINK, steps.SKIPPED),
    ],
)
def test_unit_file_is_installed_where_it_is_missing_or_of_another_version(state: str, status: str) -> None:
    target = files.SERVICE_FILE.target
    (step,) = (step for step in planned(replace(READY, files={**READY.files, target: state})) if step.subject == target)
    assert step.status == status
    kept = [action.keeps_former for action in step.actions if isinstance(action, Install)]
    assert kept == ([state == host.DIFFERENT] if status == steps.NEEDED else [])


def test_configuration_that_was_edited_is_never_replaced() -> None:
    edited = replace(READY, files={**READY.files, files.CONFIGURATION.target: host.DIFFERENT})
    assert not [step for step in planned(edited) if step.actions]


def test_optional_files_come_where_they_are_needed() -> None:
    named = {step.subject for step in planned(BARE)}
    assert not named & {files.NETWORK_MANAGER_FILE.target, files.INTERNET.target}
    both = replace(BARE, has_network_manager=True, runs_network_manager=True, needs_internet=True)
    found = {step.subject: step for step in planned(both)}
    assert found[files.INTERNET.target].status == steps.NEEDED
    assert str(found[files.NETWORK_MANAGER_FILE.target].actions[-1]) == "systemctl reload NetworkManager.service"


def test_program_of_another_installation_is_not_replaced() -> None:
    programs = {**READY.programs, "vifplugd": Program(own=f"{OWN}/vifplugd", seen="/usr/bin/vifplugd")}
    (step,) = (step for step in planned(replace(READY, programs=programs)) if step.subject == "vifplugd")
    assert (step.status, step.actions) == (steps.MANUAL, ())


def test_user_is_made_by_what_the_host_has() -> None:
    assert only(planned(replace(BARE, has_sysusers=False)), "user").reason.startswith("useradd --system ")
    other = only(planned(replace(BARE, user="worker")), "user")
    assert (other.status, other.actions) == (steps.MANUAL, ())


def test_state_directory_of_another_owner_is_given_back_and_a_link_is_not_followed() -> None:
    others = replace(READY, state=host.Directory(mode=0o755, user="root"))
    (step,) = (step for step in planned(others) if step.status == steps.NEEDED)
    assert "it is root's with mode 0755" in step.reason
    link = replace(READY, state=host.Directory(mode=0o777, user="root", is_directory=False))
    (step,) = (step for step in planned(link) if step.status != steps.DONE)
    assert (step.status, step.actions) == (steps.MANUAL, ())


def test_operators_become_members_of_the_sockets_group() -> None:
    users = {"nova": False, "root": True, "ghost": None}
    found = [step for step in planned(replace(READY, users=users), operators=tuple(users)) if step.step == "operator"]
    assert [step.status for step in found] == [steps.NEEDED, steps.DONE, steps.MANUAL]
    assert found[0].actions == (Command(argv=("usermod", "--append", "--groups", "vifplug", "nova")),)


def test_daemon_is_left_alone_when_asked_for_and_enabled_only_where_systemd_does_not_run() -> None:
    assert only(planned(BARE, daemon=False), "daemon").status == steps.SKIPPED
    image = replace(BARE, daemon=Daemon(has_systemctl=True))
    assert [str(action) for action in only(planned(image), "daemon").actions] == [
        "systemctl enable vifplugd.socket vifplugd.service"
    ]
    enabled = replace(READY, daemon=Daemon(has_systemctl=True, is_enabled=True))
    assert only(planned(enabled), "daemon").status == steps.DONE
    assert only(planned(replace(BARE, daemon=Daemon())), "daemon").command == "vifplugd"


def test_daemon_of_another_version_or_another_unit_is_restarted() -> None:
    restart = ["systemctl daemon-reload", "systemctl restart vifplugd.service"]
    old = replace(READY, daemon=replace(READY.daemon, version="1"))
    step = only(planned(old), "daemon")
    assert [str(action) for action in step.actions] == restart
    assert "it runs version 1, and 2 is installed" in step.reason
    changed = replace(READY, files={**READY.files, files.SOCKET_FILE.target: host.DIFFERENT})
    assert [str(action) for action in only(planned(changed), "daemon").actions] == restart
    silent = replace(READY, daemon=replace(READY.daemon, version=""))
    assert only(planned(silent), "daemon").status == steps.DONE


def test_environment_that_the_unit_does_not_see_is_named() -> None:
    assert "/home" in only(planned(replace(BARE, hidden="/home")), "daemon").reason


def test_undo_removes_what_setup_made_and_leaves_records_and_user() -> None:
    found = removal.plan(READY)
    removed = [action.path for step in found for action in step.actions if isinstance(action, Remove)]
    assert removed == [
        *(f"/usr/local/bin/{name}" for name in files.PROGRAMS),
        *(file.target for file in files.FILES),
    ]
    assert str(found[0].actions[0]) == "systemctl disable --now vifplugd.socket vifplugd.service"
    assert [step.subject for step in found if step.status == steps.SKIPPED] == ["/var/lib/vifplug", "vifplug"]


def test_undo_leaves_what_others_changed_or_made() -> None:
    states = dict.fromkeys(READY.files, host.PACKAGED) | {
        files.CONFIGURATION.target: host.DIFFERENT,
        files.SERVICE_FILE.target: host.DIFFERENT,
    }
    programs = {name: Program(own=f"/usr/bin/{name}", seen=f"/usr/bin/{name}", is_own=True) for name in files.PROGRAMS}
    found = removal.plan(replace(READY, files=states, programs=programs))
    assert not [action for step in found for action in step.actions if isinstance(action, Remove)]
    assert only(removal.plan(BARE), "daemon").status == steps.DONE
    assert not [step for step in removal.plan(BARE) if step.actions]
