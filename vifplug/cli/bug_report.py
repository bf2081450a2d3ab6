"""The files of ``doctor --report``: what a maintainer needs to know of a host, as far as this user can see it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vifplug import errors, version
from vifplug.cli.arguments import Options
from vifplug.cli.verb import Opener
from vifplug.doctor.answer import bundle
from vifplug.doctor.findings import Diagnosis
from vifplug.model import printable, reports

if TYPE_CHECKING:
    from vifplug.api.contract import Host

_EVENTS_MAX, _TRACES_MAX, _TRACE_SECONDS = 1000, 5, 0.5
_README = """\
Written by `vifplug doctor --report`, vifplug {version}, for a bug report.

doctor.txt, doctor.json  what is wrong with the host
host.json                versions, bridges, what can be plugged
vifs.json                every VIF: ids, MACs, instances, devices, ports, states
check.json               drift and orphans
events.json              the last {events} events
traces.json              where frames stop, of the first {traces} VIFs that are not right
vifplug.conf             the configuration, without the values of tokens, passwords, secrets and keys, and without
                         credentials in URLs
system.json              kernel, Python

It has names, ids, MACs and addresses of guests and of this host. Read it before you send it.
"""


def files(diagnosis: Diagnosis, text: str, options: Options, opener: Opener) -> dict[str, str]:
    """The contents by name; of what cannot be read, the error."""
    collected = {
        "README.txt": _README.format(version=version.installed(), events=_EVENTS_MAX, traces=_TRACES_MAX),
        "doctor.txt": f"{text}\n",
        "doctor.json": _json(diagnosis.as_json()),
        "system.json": _json({"kernel": platform.platform(), "python": platform.python_version()}),
        "vifplug.conf": _configuration(options),
    }
    try:
        with opener(options) as host:
            collected |= {f"{name}.json": _answer(ask) for name, ask in _questions(host).items()}
    except (errors.VifplugError, OSError) as error:
        collected["host.json"] = _json({"error": str(error)})
    return collected


def _questions(host: Host) -> Mapping[str, Callable[[], Any]]:
    return {
        "host": lambda: host.host_info().as_json(),
        "vifs": lambda: [vif.as_json() for vif in host.list()],
        "check": lambda: host.check().as_json(),
        "events": lambda: [event.as_json() for event in list(host.events())[-_EVENTS_MAX:]],
        "traces": lambda: [_trace(host, vif.id) for vif in host.list() if _is_wrong(vif.state)][:_TRACES_MAX],
    }


def _is_wrong(state: str) -> bool:
    return state in (reports.DRIFTED, reports.FAILED, reports.CONTENDED)


def _trace(host: Host, vif_id: str) -> Any:
    return host.trace(vif_id, interval=_TRACE_SECONDS).as_json()


def _answer(ask: Callable[[], Any]) -> str:
    try:
        return _json(ask())
    except (errors.VifplugError, OSError) as error:
        return _json({"error": str(error)})


def _configuration(options: Options) -> str:
    from vifplug.api import local_doctor

    try:
        return bundle.without_secrets(local_doctor.configuration(options.config_file))
    except OSError as error:
        return f"# {error.filename}: {error.strerror}\n"


def _json(document: Any) -> str:
    return json.dumps(json.loads(printable.dumps(document)), indent=2) + "\n"
