"""VIFs by other names than their ids: what each word names, in every verb, and what is refused before anything is
touched."""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.command_line import INSTANCE, OTHER_ID, REPORT, VIF_ID, Notes, Run
from vifplug import errors
from vifplug.cli.inputs import names
from vifplug.model import reports

OTHER_INSTANCE = "6c2b7e73-8e4b-4a6d-8bf5-7c2c5e9e3021"
OTHER = reports.VifReport(
    id=OTHER_ID,
    state="active",
    vif_type="ovs",
    address="fa:16:3e:00:00:02",
    bridge="br-int",
    instance=reports.InstanceReport(uuid=OTHER_INSTANCE, name="db"),
    devices=(reports.DeviceReport(name="tap2bc1ec8f-4b", kind="tap"),),
    ports=(reports.PortReport(bridge="br-int", name="tap2bc1ec8f-4b"),),
)
DAMAGED = reports.VifReport(id="71a6ffff-1a1b-4fd9-8f4a-7cab3f9a425b", state="failed")
VIFS = [REPORT, OTHER, DAMAGED]


@pytest.mark.parametrize(
    ("word", "vif_id"),
    [
        (VIF_ID, VIF_ID),
        (VIF_ID.upper(), VIF_ID),
        ("71a6b", VIF_ID),
        ("71A6B0E4-1A", VIF_ID),
        ("2", OTHER_ID),
        ("71a6f", DAMAGED.id),
        ("qbr71a6b0e4-1a", VIF_ID),
        ("qvo71a6b0e4-1a", VIF_ID),
        ("tap71a6b0e4-1a", VIF_ID),  # it waits for this tap
        ("tap2bc1ec8f-4b", OTHER_ID),
        ("FA:16:3E:EB:5E:26", VIF_ID),
        ("vm-1", VIF_ID),
        (INSTANCE.upper(), VIF_ID),
        ("db", OTHER_ID),
    ],
)
def test_word_names_a_vif(word: str, vif_id: str) -> None:
    assert names.resolved([word, vif_id], VIFS) == [vif_id]


@pytest.mark.parametrize("word", ["71a6b0e5", "TAP2bc1ec8f-4b", "Vm-1", "fa:16:3e:eb:5e", "br-int", INSTANCE[:8], "x"])
def test_word_that_names_none_is_refused(word: str) -> None:
    with pytest.raises(errors.UnknownVif, match="names no VIF of this host") as raised:
        names.resolved([OTHER_ID, word], VIFS)
    assert raised.value.subject == word


def test_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(errors.UnknownVif, match=r"\(did you mean 'tap2bc1ec8f-4b'\?\)"):
        names.resolved(["tap2bc1ecBf-4b"], VIFS)


@pytest.mark.parametrize("word", ["71a6", "7"])
def test_ambiguous_word_lists_the_candidates(word: str) -> None:
    with pytest.raises(errors.InputError) as raised:
        names.resolved([word], VIFS)
    assert str(raised.value) == (
        f"{word!r} names 2 VIFs: {VIF_ID} (ovs-hybrid, tap71a6b0e4-1a, vm-1), {DAMAGED.id}; "
        "give more of the id, or a name that only one of them has"
    )


def test_no_kind_of_name_comes_before_another() -> None:
    named = dataclasses.replace(OTHER, instance=reports.InstanceReport(uuid=OTHER_INSTANCE, name="71a6b0e4"))
    with pytest.raises(errors.InputError, match="names 2 VIFs"):
        names.resolved(["71a6b0e4"], [REPORT, named])


def test_many_candidates_are_not_all_listed() -> None:
    many = [dataclasses.replace(REPORT, id=f"{number:08x}-1a1b-4fd9-8f4a-7cab3f9a425b") for number in range(12)]
    with pytest.raises(errors.InputError, match=r"names 12 VIFs: .* and 2 more; ") as raised:
        names.resolved(["vm-1"], many)
    assert str(raised.value).count("4fd9") == 10


def test_uuid_that_names_none_is_an_absent_vif_only_where_that_is_success() -> None:
    unknown = "00000000-0000-4000-8000-000000000009"
    assert names.resolved([unknown], VIFS, absent=True) == [unknown]
    with pytest.raises(errors.UnknownVif):
        names.resolved([unknown], VIFS)


def test_vifs_of_an_instance() -> None:
    second = dataclasses.replace(OTHER, instance=REPORT.instance)
    assert names.of_instance("vm-1", [REPORT, second, DAMAGED]) == [VIF_ID, OTHER_ID]
    assert names.of_instance(INSTANCE.upper(), [REPORT, second]) == [VIF_ID, OTHER_ID]
    assert names.of_instance(OTHER_INSTANCE, [REPORT]) == []
    with pytest.raises(errors.UnknownVif, match=r"named 'vm-2' \(did you mean 'vm-1'\?\)"):
        names.of_instance("vm-2", [REPORT])
    same = dataclasses.replace(OTHER, instance=reports.InstanceReport(uuid=OTHER_INSTANCE, name="vm-1"))
    with pytest.raises(errors.InputError, match=f"2 instances are named 'vm-1': {INSTANCE}, {OTHER_INSTANCE}; "):
        names.of_instance("vm-1", [REPORT, same])


# In the verbs


@pytest.mark.parametrize(
    ("argv", "call"),
    [
        (("show", "tap71a6b0e4-1a"), ("get", VIF_ID)),
        (("unplug", "vm-1", "fa:16:3e:00:00:02"), ("unplug", [VIF_ID, OTHER_ID])),
        (("unplug", "--instance", "db"), ("unplug", [OTHER_ID])),
        (("check", "2bc1", "vm-1"), ("check", [OTHER_ID, VIF_ID])),
        (("repair", "vm-1"), ("repair", [VIF_ID])),
        (("wait", "db", "--timeout", "0"), ("wait", ([OTHER_ID], "wired", 0))),
        (("diagram", "vm-1"), ("path", VIF_ID)),
        (("guest", "qemu", "vm-1"), ("guest", (VIF_ID, "qemu", "virtio", None))),
    ],
)
def test_every_verb_takes_names(run: Run, library: Notes, argv: tuple[str, ...], call: tuple[str, object]) -> None:
    library.answers["list"] = VIFS
    library.answers["unplug"] = [dataclasses.replace(REPORT, state="unplugged")]
    assert run(*argv).code == 0
    assert call in library.calls


@pytest.mark.parametrize("verb", ["show", "unplug", "check", "repair", "diagram", "wait", "guest"])
def test_whole_id_needs_no_list(run: Run, library: Notes, verb: str) -> None:
    library.answers["unplug"] = [dataclasses.replace(REPORT, state="unplugged")]
    words = (verb, "qemu", VIF_ID.upper()) if verb == "guest" else (verb, VIF_ID.upper())
    assert run(*words).code == 0
    assert "list" not in dict(library.calls)


@pytest.mark.parametrize("verb", ["show", "unplug", "check", "repair", "diagram", "wait"])
@pytest.mark.parametrize("word", ["vm-2", "71a6", "net:" + VIF_ID])
def test_name_that_names_none_or_several_touches_nothing(run: Run, library: Notes, verb: str, word: str) -> None:
    library.answers["list"] = VIFS
    words = (verb, word) if verb in ("show", "diagram") else (verb, OTHER_ID, word)
    result = run(*words)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert [call for call, _ in library.calls] == ["open", "list"]


@pytest.mark.parametrize("word", ["", "  "])
def test_empty_name_is_refused_before_the_host_is_opened(run: Run, library: Notes, word: str) -> None:
    assert run("unplug", word).code == 2
    assert library.calls == []


def test_uuid_of_an_instance_names_its_vif(run: Run, library: Notes) -> None:
    library.answers["list"] = VIFS
    asked: list[object] = []

    def get() -> reports.VifReport:
        asked.append("get")
        if len(asked) == 1:
            raise errors.UnknownVif("unknown", INSTANCE)
        return REPORT

    library.answers["get"] = get
    assert run("show", INSTANCE).code == 0
    assert [call for call in library.calls if call[0] == "get"] == [("get", INSTANCE), ("get", VIF_ID)]


def test_uuid_of_nothing_is_the_librarys_error(run: Run, library: Notes) -> None:
    library.answers["get"] = errors.UnknownVif("VIF x is not plugged on this host", OTHER_ID)
    assert run("show", OTHER_ID).err == f"vifplug: error: VIF x is not plugged on this host (at {OTHER_ID})\n"


def test_unplug_of_an_instances_uuid_unplugs_its_vif(run: Run, library: Notes) -> None:
    library.answers["list"] = VIFS
    asked = iter([reports.VifReport(id=INSTANCE, state="unplugged"), dataclasses.replace(REPORT, state="unplugged")])
    library.answers["unplug"] = lambda: [next(asked)]
    result = run("unplug", INSTANCE)
    assert (result.code, [call for call in library.calls if call[0] == "unplug"]) == (
        0,
        [("unplug", [INSTANCE]), ("unplug", [VIF_ID])],
    )
    assert [line.split()[-1] for line in result.out.splitlines()] == ["RESULT", "unplugged"]


def test_unplug_of_an_unknown_id_is_success_though_the_host_cannot_be_listed(run: Run, library: Notes) -> None:
    library.answers["list"] = errors.LinkError("no answer")
    assert run("unplug", VIF_ID).code == 0
