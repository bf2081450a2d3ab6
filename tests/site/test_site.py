"""The site of docs/, built: without a warning, without other sites, and with pages that its search finds."""

from __future__ import annotations

import html.parser
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.site import site_search

REPOSITORY = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Built once; a warning of mkdocs fails the build."""
    directory = tmp_path_factory.mktemp("site")
    command = ["mkdocs", "build", "--strict", "--config-file", str(REPOSITORY / "docs/site/mkdocs.yml"), "--site-dir"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, "-m", *command, str(directory)], env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return directory


class _Loaded(html.parser.HTMLParser):
    """What a page makes a browser load: scripts, styles, pictures, frames; no links that a reader may follow."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "link"):
            self.addresses += [value for value in (values.get("src"), values.get("href")) if value]


def test_pages_load_nothing_from_another_site(site: pathlib.Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        loaded = _Loaded()
        loaded.feed(page.read_text())
        assert loaded.addresses
        for address in loaded.addresses:
            assert not re.match(r"(\w+:)?//", address), f"{page.name}: {address}"
            if page.name != "404.html":
                assert (page.parent / address.partition("#")[0].partition("?")[0]).exists(), f"{page.name}: {address}"


def test_search_works_without_a_server(site: pathlib.Path) -> None:
    text = (site / "search" / "search_index.js").read_text()
    index: dict[str, Any] = json.loads(text.removeprefix("var __index = "))
    assert any(entry["location"].startswith("how-to/install.html") for entry in index["docs"])
    assert "iframe-worker" in (site / "index.html").read_text()


# What a user types, and the page that must be among the first three.
TASKS = {
    "change the MTU of a plugged VIF": "how-to/change",
    "what does exit 4 mean": "reference/errors",
    "exit code 3": "reference/errors",
    "rate limit events": "faq",
    "install": "how-to/install",
    "upgrade vifplug": "how-to/upgrade",
    "remove vifplug": "how-to/upgrade",
    "backup store": "how-to/back-up",
    "restore backup": "how-to/back-up",
    "smallest document": "reference/formats",
    "neutron port format": "reference/formats",
    "contended": "how-to/troubleshooting",
    "repairs failed": "how-to/troubleshooting",
    "orphans delete": "how-to/troubleshooting",
    "integration bridge missing": "how-to/troubleshooting",
    "disk full": "how-to/troubleshooting",
    "repair_interval": "reference/configuration",
    "vxlan peers": "how-to/uplinks",
    "spoofing filter": "how-to/filters",
    "VLAN of a guest": "how-to/vlans",
    "sr-iov virtual function": "how-to/sr-iov",
    "vdpa": "how-to/sr-iov",
    "vhost-user socket": "how-to/vhost-user",
    "libvirt interface element": "how-to/start-guests",
    "qemu arguments": "how-to/start-guests",
    "wait until wired": "how-to/wait",
    "follow events": "how-to/events",
    "prometheus metrics": "reference/metrics",
    "alerts": "reference/metrics",
    "permissions operator": "reference/permissions",
    "socket permission denied": "how-to/troubleshooting",
    "nova os-vif": "how-to/os-vif",
    "migrate from os-vif": "how-to/migrate-from-os-vif",
    "switch back to os-vif": "how-to/migrate-from-os-vif",
    "write a driver": "how-to/write-a-vif-driver",
    "test without root": "how-to/test-a-driver",
    "trunk subports": "how-to/ovs-ports",
    "curl api": "reference/http",
    "openapi": "reference/http",
    "json log": "reference/logs",
    "tested versions kernel": "reference/tested-versions",
    "report security": "SECURITY",
    "retryable error": "reference/errors",
    "doctor firewall": "reference/doctor",
    "linux bridge agent": "how-to/linux-bridge-agent",
    "notify nova": "how-to/nova-events",
    "without root sudo": "how-to/other-user",
    "guest is gone": "how-to/troubleshooting",
    "where frames stop": "how-to/find-where-frames-stop",
    "trace": "how-to/find-where-frames-stop",
    "packets are lost": "faq",
    "history of a VIF": "faq",
    "setup-host": "how-to/setup-host",
    "debian package": "how-to/packages",
    "completion": "how-to/command-line",
    "yaml": "how-to/command-line",
    "smallest example document": "reference/formats",
    "naming a VIF": "how-to/command-line",
    "asyncio": "reference/library-asyncio",
    "watch top": "how-to/watch",
    "web page browser": "how-to/watch",
    "what is stable": "explanation/stability",
    "eventlet threads fork": "reference/library-concurrency",
    "neutron agent linux bridge": "how-to/neutron-agent",
    "openstack tutorial": "tutorials/openstack",
    "two hosts vxlan": "tutorials/two-hosts",
}


def test_search_finds_the_page_of_each_task_among_the_first_three(site: pathlib.Path) -> None:
    search = site_search.Search(site)
    missed = []
    for query, page in TASKS.items():
        first = search.pages(query)[:3]
        if f"{page}.html" not in first:
            missed.append(f"{query!r}: {page} is not among {first}")
    assert not missed, "\n".join(missed)
