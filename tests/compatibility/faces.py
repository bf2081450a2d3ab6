"""What vifplug's faces say, as JSON: of the release that is recorded, and of the present one.

``record.py`` runs this against an older commit; so it imports nothing of the tests, and of vifplug only what both have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import json
import os
import pathlib
import re
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import vifplug
from vifplug.testing import FakeHost

HYBRID, TAP, BRIDGE = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
UNKNOWN = "99999999-0000-4000-8000-000000000000"
NETWORK, INSTANCE = "14ec4c8b-001b-49c3-89fb-bf84c4f41e24", "c0ffee00-1111-4222-8333-000000000011"
DOCUMENTS: dict[str, dict[str, Any]] = {
    "ovs-hybrid": {
        **{"id": HYBRID, "vif_type": "ovs-hybrid", "address": "fa:16:3e:00:00:01"},
        **{"network": {"id": NETWORK, "mtu": 1450}, "instance": {"uuid": INSTANCE, "name": "web-1"}},
    },
    "ovs": {
        **{"id": TAP, "vif_type": "ovs", "address": "fa:16:3e:00:00:02", "create_tap": True},
        **{"network": {"id": NETWORK, "bridge": "br-int"}, "tap_owner": {"uid": 0, "gid": 0}, "multiqueue": True},
    },
    "bridge": {
        **{"id": BRIDGE, "vif_type": "bridge", "address": "fa:16:3e:00:00:03", "create_tap": True},
        "network": {"id": NETWORK},
    },
    "macvtap": {
        **{"id": "44444444-0000-4000-8000-000000000000", "vif_type": "macvtap", "address": "fa:16:3e:00:00:04"},
        "macvtap": {"source": "eth1", "mode": "bridge"},
    },
    "vhost-user": {
        **{"id": "55555555-0000-4000-8000-000000000000", "vif_type": "vhost-user", "address": "fa:16:3e:00:00:05"},
        "vhost_user": {"socket": "/var/lib/vhost_sockets/vhu55555555-00", "mode": "server"},
    },
    "vf": {
        **{"id": "66666666-0000-4000-8000-000000000000", "vif_type": "vf", "address": "fa:16:3e:00:00:06"},
        "pci_device": {"address": "0000:3b:10.2", "vlan": 5, "trusted": True},
    },
}
_DATAPATH = {"vhost-user": "netdev"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)")


def host_for(vif_type: str) -> FakeHost:
    """A fake host that takes VIFs of that type."""
    return FakeHost(
        datapath=_DATAPATH.get(vif_type, "system"),
        physical_devices=["eth1"],
        virtual_functions=["0000:3b:10.2"],
    )


def stable(text: str) -> str:
    """A text without what differs from run to run."""
    text = re.sub(r"\b(0[.]\d+|\d+) s\b", "N s", _TIME.sub("TIME", text))
    text = re.sub(r'"pid": \d+', '"pid": 1', text)
    return re.sub(r"/tmp/[\w./-]+", "/tmp/DIRECTORY", text)


# -- the library ------------------------------------------------------------------------------------------


def _parameters(called: Callable[..., Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "kind": each.kind.name,
            **({} if each.default is each.empty else {"default": repr(each.default)}),
        }
        for each in inspect.signature(called).parameters.values()
    ]


def _methods(cls: type) -> dict[str, Any]:
    return {
        name: _parameters(method)
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


def _fields(cls: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(cls):
        missing = dataclasses.MISSING
        return {
            each.name: {
                "required": each.default is missing and each.default_factory is missing,
                "type": _type(each.type),
            }
            for each in dataclasses.fields(cls)
        }
    return {
        name: {"required": each.is_required(), "type": _type(each.annotation)}
        for name, each in cls.model_fields.items()
    }


def _type(annotation: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", str(annotation))


def library() -> dict[str, Any]:
    """Names, signatures, fields of values, errors."""
    public = {name: getattr(vifplug, name) for name in vifplug.__all__}
    values = {name: value for name, value in public.items() if dataclasses.is_dataclass(value)}
    models = {name: value for name, value in public.items() if hasattr(value, "model_fields")}
    errors = {
        name: value
        for name, value in vars(vifplug.errors).items()
        if inspect.isclass(value) and issubclass(value, vifplug.errors.VifplugError)
    }
    return {
        "names": sorted(vifplug.__all__),
        "functions": {name: _parameters(value) for name, value in public.items() if inspect.isfunction(value)},
        "Host": _methods(vifplug.Host),
        "FakeHost": {"FakeHost": _parameters(FakeHost), **_methods(FakeHost)},
        "values": {name: _fields(value) for name, value in {**values, **models}.items()},
        "guest": sorted(name for name in dir(vifplug.guest) if name[0] not in "_" and name in vifplug.guest.__all__),
        "errors": {
            name: {
                "bases": [each.__name__ for each in value.__mro__[1:] if each is not object],
                "exit_code": value.exit_code,
                "retryable": value.retryable,
            }
            for name, value in errors.items()
        },
    }


def formats(samples: pathlib.Path) -> dict[str, Any]:
    """What is read of documents: of this module's, and of Neutron's, Nova's and os-vif's own."""
    read: dict[str, Any] = {}
    for name, document in {**DOCUMENTS, **_of_others(samples)}.items():
        try:
            read[name] = [vif.model_dump(mode="json", exclude_none=True) for vif in vifplug.load_all(document)]
        except vifplug.errors.VifplugError as error:
            read[name] = {"error": type(error).__name__}
    return read


def _of_others(samples: pathlib.Path) -> dict[str, Any]:
    return {
        path.name: json.loads(path.read_text())
        for path in sorted(samples.glob("*.json"))
        if path.name.startswith(("nova_network_info", "osvif_", "openstack_port", "ovn_port"))
    }


def reports() -> dict[str, Any]:
    """What each method answers, by vif_type."""
    return {vif_type: dict(_reports(vif_type)) for vif_type in DOCUMENTS}


def _reports(vif_type: str) -> Iterator[tuple[str, Any]]:
    (vif,) = vifplug.load_all(DOCUMENTS[vif_type])
    with host_for(vif_type) as host:
        yield "plan", host.plan([vif]).as_json()
        yield "plug", _json([each.as_json() for each in host.plug([vif])])
        yield "get", _json(host.get(vif.id).as_json())
        yield "path", _json(host.path(vif.id).as_json())
        for format in ("libvirt", "qemu"):
            with contextlib.suppress(vifplug.errors.VifplugError):
                yield f"guest {format}", _json(host.guest(vif.id, format).as_json())
        with contextlib.suppress(vifplug.errors.InputError):  # of a macvtap nothing is on the host
            host.drift(vif.id)
        yield "check", _json(host.check().as_json())
        yield "repair", _json([each.as_json() for each in host.repair()])
        yield "unplug", _json([each.as_json() for each in host.unplug([vif.id])])
        yield "events", [_json(event.as_json()) for event in host.events()]


def _json(value: Any) -> Any:
    return json.loads(stable(json.dumps(value)))


# -- the configuration, the metrics, the input schema -------------------------------------------------------


def configuration() -> dict[str, Any]:
    """Every option of vifplug's, with type and default."""
    from vifplug.config import options

    return {
        str(group or "DEFAULT"): {
            each.name: {"type": type(each.type).__name__, "default": repr(each.default)} for each in listed
        }
        for group, listed in options.list_opts()
    }


def metrics() -> dict[str, Any]:
    """Every metric, with its type and labels."""
    from vifplug.daemon.metrics import Metrics

    found = Metrics()
    labels = {each._name: list(each._labelnames) for each in vars(found).values() if hasattr(each, "_labelnames")}
    return {
        family.name: {"type": family.type, "labels": labels.get(family.name, [])} for family in found.registry.collect()
    }


def schema() -> Any:
    """The JSON schema of vifplug's own format."""
    return vifplug.schema()


# -- the command line -------------------------------------------------------------------------------------

VERBS = (
    *("plug", "unplug", "list", "show", "check", "repair", "gc", "events", "wait", "guest", "diagram", "schema"),
    *("doctor", "host-info"),
)
COMMANDS: list[list[str]] = json.loads(pathlib.Path(__file__).with_name("commands.json").read_text())
"""Commands in their order, on one host; in capitals what happens between them."""


def command_line() -> dict[str, Any]:
    """Options of each verb; exit codes and JSON of commands."""
    return {"options": _options(), "commands": list(_commands())}


def _options() -> dict[str, list[str]]:
    return {
        verb: sorted(set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", _run((verb, "--help"), None)["output"])))
        for verb in VERBS
    }


def _commands() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory, FakeHost() as host:
        files = {name: os.path.join(directory, f"{name}.json") for name in ("FILE", "OTHER", "MISSING")}
        pathlib.Path(files["FILE"]).write_text(json.dumps(DOCUMENTS["ovs-hybrid"]))
        pathlib.Path(files["OTHER"]).write_text(json.dumps(DOCUMENTS["ovs"]))
        for words in COMMANDS:
            if words == ["DRIFT"]:
                host.drift(HYBRID)
            elif words == ["CONFLICT"]:
                host.hold("tap22222222-00")
            else:
                done = _run([files.get(word, word) for word in words], host)
                yield {"command": words, "exit": done["exit"], **_shown(words, done)}


def _shown(words: list[str], done: dict[str, Any]) -> dict[str, Any]:
    if "json" not in words:
        return {}
    text = done["output"] or done["errors"]
    try:
        return {"json": _json(json.loads(text))}
    except ValueError:
        return {"json": [_json(json.loads(line)) for line in text.splitlines() if line.startswith("{")]}


def _run(words: Any, host: FakeHost | None) -> dict[str, Any]:
    from vifplug.cli.main import main

    @contextlib.contextmanager
    def opened(*_arguments: Any) -> Iterator[Any]:
        yield host

    # Files, not strings: the command line may look at the streams' descriptors.
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = main([*words], opener=opened)
    return {"exit": status, "output": output.getvalue(), "errors": errors.getvalue()}


# -- HTTP -------------------------------------------------------------------------------------------------

_ONE = f"/v1/vifs/{HYBRID}"
REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/healthz", None),
    ("PUT", f"{_ONE}?dry_run=true", DOCUMENTS["ovs-hybrid"]),
    ("PUT", f"{_ONE}?format=vif&mtu=1400&instance_name=x&instance_uuid={INSTANCE}", DOCUMENTS["ovs-hybrid"]),
    ("POST", "/v1/batch", {"plug": [DOCUMENTS["ovs-hybrid"]], "format": "auto", "mtu": 1400}),
    ("POST", "/v1/batch", {"plug": [DOCUMENTS["ovs"]], "dry_run": True}),
    ("POST", "/v1/batch", {}),
    ("GET", _ONE, None),
    ("GET", "/v1/vifs", None),
    ("GET", "/v1/vifs?absent_for=3600", None),
    ("GET", "/v1/vifs?nonsense=1", None),
    ("GET", f"{_ONE}/path", None),
    ("GET", f"{_ONE}/progress", None),
    ("GET", f"{_ONE}/guest/qemu?model=virtio&queues=1", None),
    ("GET", f"{_ONE}/guest/libvirt", None),
    ("GET", "/v1/host", None),
    ("GET", "/v1/doctor", None),
    ("POST", "/v1/wait", {"ids": [HYBRID], "for": "wired", "timeout": 0}),
    ("POST", "/v1/check", {}),
    ("POST", "/v1/check", {"ids": [HYBRID]}),
    ("POST", "/v1/repair", {"ids": [HYBRID]}),
    ("POST", "/v1/gc", {"delete": False}),
    ("POST", "/v1/gc", {"keep": [HYBRID], "absent_for": 0}),
    ("GET", "/v1/events?follow=false", None),
    ("GET", "/v1/events?follow=false&since=1000", None),
    ("GET", f"/v1/vifs/{UNKNOWN}", None),
    ("GET", "/v1/nonsense", None),
    ("PATCH", _ONE, None),
    ("PUT", _ONE, {**DOCUMENTS["ovs-hybrid"], "address": "no"}),
    ("PUT", _ONE, {**DOCUMENTS["ovs-hybrid"], "vif_type": "ovs"}),
    ("DELETE", _ONE, None),
    ("DELETE", _ONE, None),
)
"""Requests in their order, to one daemon."""


def http() -> dict[str, Any]:
    """The OpenAPI description, and what requests are answered."""
    import asyncio

    from vifplug.daemon.http import vifs
    from vifplug.daemon.http.event_stream import Hub
    from vifplug.daemon.http.protocol import Access, Members
    from vifplug.daemon.metrics import Metrics

    class Reconciling:
        def status(self) -> dict[str, Any]:
            return {"ovsdb_connected": True, "ovsdb_missed": False, "compared_at": None, "queue": 0}

    nobody = Members()
    with FakeHost() as host:
        access = Access(admins=Members(uids=frozenset({0})), operators=nobody, readers=nobody)
        metrics = Metrics()
        app = vifs.create_app(host, access, Reconciling(), Hub(host._context.store, metrics), metrics)
        return {"openapi": app.openapi(), "answers": asyncio.run(_answers(app))}


async def _answers(app: Any) -> list[dict[str, Any]]:
    import httpx

    from vifplug.daemon.http.protocol import Peer

    async def known(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"peer": Peer(pid=42, uid=0, gid=0)}
        await app(scope, receive, send)

    answers = []
    transport = httpx.ASGITransport(app=known)
    async with httpx.AsyncClient(transport=transport, base_url="http://vifplug") as client:
        for method, path, body in REQUESTS:
            answer = await client.request(method, path, json=body, headers={"X-Request-Id": "recorded"})
            kind = answer.headers["content-type"].partition(";")[0]
            answers.append(
                {
                    "request": [method, path, body],
                    "status": answer.status_code,
                    "type": kind,
                    "body": _json(answer.json()) if kind.endswith("json") else stable(answer.text),
                }
            )
    return answers


# -- the store --------------------------------------------------------------------------------------------


def store() -> dict[str, Any]:
    """The database of each store with one VIF, as SQL, and what ``get`` and ``events`` said of it."""
    kept: dict[str, Any] = {}
    for vif_type, document in DOCUMENTS.items():
        with host_for(vif_type) as host:
            host.plug(vifplug.load_all(document))
            files = pathlib.Path(host._settings.state_dir).glob("*")
            (path,) = [path for path in files if path.is_file() and path.read_bytes().startswith(b"SQLite format 3")]
            with contextlib.closing(sqlite3.connect(path)) as connection:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                script = [f"PRAGMA user_version = {version};", *connection.iterdump()]
            kept[vif_type] = {"file": path.name, "sql": script, "vifs": [_json(vif.as_json()) for vif in host.list()]}
    return kept


SAMPLES = pathlib.Path(__file__).parents[1] / "samples"
FACES: dict[str, Callable[[], Any]] = {
    "library": library,
    "formats": lambda: formats(SAMPLES),
    "reports": reports,
    "configuration": configuration,
    "metrics": metrics,
    "schema": schema,
    "command_line": command_line,
    "http": http,
    "store": store,
}


if __name__ == "__main__":
    said = FACES[sys.argv[1]]()
    json.dump(said, sys.stdout, indent=1)
