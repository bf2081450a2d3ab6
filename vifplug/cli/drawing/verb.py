"""The verb diagram."""

from __future__ import annotations

import socket

from vifplug import errors
from vifplug.cli import diagram as paths
from vifplug.cli import inputs
from vifplug.cli.arguments import Options
from vifplug.cli.drawing import formats, graph, svg
from vifplug.cli.layout import Screen
from vifplug.cli.verb import Opener, Outcome

_DRAWERS = {"dot": formats.dot, "mermaid": formats.mermaid, "svg": svg.svg}


def diagram(options: Options, opener: Opener) -> Outcome:
    """Draw a VIF's path; without an id, the host: its bridges, their uplinks and VIFs."""
    if len(options.ids) > 1:
        raise errors.InputError("diagram draws one VIF, or without an ID the host; see `vifplug diagram --help`")
    return _path(options, opener) if options.ids else _host(options, opener)


def _path(options: Options, opener: Opener) -> Outcome:
    with opener(options) as host:
        path = inputs.with_id(host, options.ids[0], host.path)

    def text(screen: Screen) -> str:
        if options.format == "dot":
            return paths.as_dot(path)
        if options.format in _DRAWERS:
            return _DRAWERS[options.format](graph.of_path(path))
        return paths.as_text(path, unicode=screen.unicode, color=screen.color)

    return Outcome(document=paths.as_json(path), text=text, warnings=path.vif.warnings)


def _host(options: Options, opener: Opener) -> Outcome:
    with opener(options) as host:
        groups = graph.groups(host.list(), host.host_info().bridges)
    name = socket.gethostname()

    def text(screen: Screen) -> str:
        if options.format in _DRAWERS:
            return _DRAWERS[options.format](graph.of_host(name, groups))
        return formats.host_text(groups, unicode=screen.unicode)

    bridges = [group.as_json() for group in groups]
    return Outcome(document={"host": name, "bridges": bridges, "claims": graph.HOST_CLAIMS.as_json()}, text=text)
