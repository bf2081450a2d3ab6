"""What the Debian packages are made of: pins, control, copyright, the bill of materials, the image's privileges."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import subprocess
import sys
from types import ModuleType

import pytest

REPOSITORY = pathlib.Path(__file__).parents[3]
PACKAGING = REPOSITORY / "tools" / "package.d"


def _module(name: str) -> ModuleType:
    """A script of tools/package.d, which is no package."""
    spec = importlib.util.spec_from_file_location(name, PACKAGING / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


describe = _module("describe")


@pytest.fixture
def source(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A source tree as a build root has it, for Debian 13."""
    (tmp_path / "setup.cfg").write_text((REPOSITORY / "setup.cfg").read_text())
    debian = tmp_path / "debian"
    debian.mkdir()
    (debian / "pins").write_text((PACKAGING / "debian13.pins").read_text())
    (debian / "control.in").write_text((PACKAGING / "control.in").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _versions(lines: list[str], separator: str) -> dict[str, list[int]]:
    pairs = (line.split(separator) for line in lines if separator in line and not line.startswith("#"))
    return {
        name.lower().replace("_", "-"): [int(part) for part in re.findall("[0-9]+", version)] for name, version in pairs
    }


def _requirements() -> dict[str, list[int]]:
    text = (REPOSITORY / "setup.cfg").read_text()
    section = text.partition("\ninstall_requires =\n")[2].partition("\n\n")[0]
    return _versions([line.strip() for line in section.splitlines()], ">=")


@pytest.mark.parametrize("debian", ["debian12", "debian13"])
def test_bundled_libraries_are_as_new_as_they_have_to_be(debian: str) -> None:
    pins = _versions((PACKAGING / f"{debian}.pins").read_text().splitlines(), "==")
    needed = {name: lowest for name, lowest in _requirements().items() if debian == "debian12" or name in pins}
    assert len(needed) >= 3
    assert not needed.keys() - pins.keys(), "pin them, or the next build takes whatever is newest"
    assert not [name for name, lowest in needed.items() if pins[name] < lowest]


def test_package_of_debian_13_depends_on_every_library_that_it_does_not_bundle(source: pathlib.Path) -> None:
    describe.control("13", "1.0-1", "Tue, 01 Dec 2026 00:00:00 +0000")
    control = (source / "debian" / "control").read_text()
    assert "@" not in control.replace("@vifplug.invalid", "")
    bundled = describe.bundled_names()
    assert bundled
    for name, lowest in _requirements().items():
        package = f"python3-{describe.PREFIXES.get(name, name)}"
        version = ".".join(map(str, lowest))
        assert bool(re.search(rf"\b{re.escape(package)} \(>= (1:)?{version}\)", control)) == (name not in bundled), name
    assert "vifplug (1.0-1) unstable" in (source / "debian" / "changelog").read_text()


def test_copyright_has_each_bundled_library_with_its_license(source: pathlib.Path) -> None:
    site = source / "site"
    info = site / "mini-1.0.dist-info"
    (info / "licenses").mkdir(parents=True)
    (site / "mini.py").write_text("")
    (info / "METADATA").write_text("Name: mini\nAuthor: Ada\nLicense-Expression: MIT\n\n")
    (info / "licenses" / "LICENSE").write_text("MIT License\n\nCopyright (c) 2020 Ada\n\nDo what you like.\n")
    (info / "RECORD").write_text("mini.py,,\nmini-1.0.dist-info/METADATA,,\n../../bin/mini,,\n")
    text = describe.copyright_of(site)
    assert "Files: usr/lib/vifplug/*/mini-1.0.dist-info*\n       usr/lib/vifplug/*/mini.py*\n" in text
    assert "Copyright: Copyright (c) 2020 Ada\nLicense: mini\n It declares: MIT\n" in text
    assert "\n .\n Do what you like.\n" in text


def test_bill_of_materials_names_vifplug_and_what_it_needs_alone(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "bill.json"
    components = [{"name": name, "bom-ref": name} for name in ("vifplug", "direct", "indirect", "pip")]
    needs = [
        {"ref": "vifplug", "dependsOn": ["direct"]},
        {"ref": "direct", "dependsOn": ["indirect"]},
        {"ref": "indirect"},
        {"ref": "pip", "dependsOn": ["indirect"]},
    ]
    file.write_text(json.dumps({"metadata": {}, "components": components, "dependencies": needs}))
    subprocess.run([sys.executable, PACKAGING / "sbom.py", file], check=True)
    bill = json.loads(file.read_text())
    assert [component["name"] for component in bill["components"]] == ["direct", "indirect"]
    assert bill["metadata"]["component"]["name"] == "vifplug"
    assert [entry["ref"] for entry in bill["dependencies"]] == ["vifplug", "direct", "indirect"]


def test_programs_of_debian_13_find_the_bundled_libraries_first(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "vifplug"
    program.write_text("#!/usr/bin/python3\nimport sys\n\nfrom vifplug.cli.front import main\n\nsys.exit(main())\n")
    subprocess.run([sys.executable, PACKAGING / "programs.py", tmp_path], check=True)
    lines = program.read_text().splitlines()
    compile(program.read_text(), "vifplug", "exec")
    assert lines[0] == "#!/usr/bin/python3 -sP"
    assert lines.index('sys.path.insert(0, "/usr/lib/vifplug/vendor")') < lines.index(
        "from vifplug.cli.front import main"
    )
    assert program.stat().st_mode & 0o111


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm", "install-files"])
def test_maintainer_scripts_are_plain_shell(script: str) -> None:
    subprocess.run(["sh", "-n", PACKAGING / script], check=True)


def test_container_has_the_capabilities_of_the_unit() -> None:
    unit = (REPOSITORY / "etc" / "systemd" / "vifplugd.service").read_text()
    (bounding,) = re.findall("^CapabilityBoundingSet=(.*)$", unit, flags=re.MULTILINE)
    (added,) = re.findall(r"--cap-add (\S+)", (REPOSITORY / "etc" / "container" / "README.md").read_text())
    assert {f"CAP_{name}" for name in added.split(",")} == set(bounding.split())
