"""vifplug, in this process through a privileged helper forked as root (``local``), or through vifplugd (``daemon``).

Arguments: local or daemon, vifplug's configuration file, and optionally ``--count`` or ``--trace``; or
``--once DOCUMENT``.
"""

from __future__ import annotations

import contextlib
import cProfile
import io
import json
import pstats
import sys
from collections.abc import Sequence
from typing import Any

from tests.bench import serving, tally

_PROFILE_LINES = 25


class Vifplug:
    """Plugs a batch in one request."""

    def __init__(self, via: str, config_file: str, watched: str, closing: contextlib.ExitStack) -> None:
        self._counts = tally.Tally(tally.COUNTED) if watched == "--count" else None
        if self._counts is not None:
            tally.count_sockets(self._counts)
        import vifplug

        if self._counts is not None:
            tally.count_calls(self._counts)
        self._tracer: Any = None
        if watched == "--trace":
            from tests.bench.tracing import Tracer

            self._tracer = Tracer()
        opened = vifplug.local(config_file) if via == "local" else vifplug.connect(config_file=config_file)
        self._host: Any = closing.enter_context(opened)
        self._load = vifplug.load
        self._vifs: dict[str, Any] = {}
        self._profile: cProfile.Profile | None = None

    def prepare(self, documents: Sequence[dict[str, Any]]) -> None:
        self._vifs |= {document["id"]: self._load(document) for document in documents}

    def plug(self, ids: Sequence[str]) -> None:
        with self._profile or contextlib.nullcontext():
            self._host.plug([self._vifs[vif_id] for vif_id in ids])

    def unplug(self, ids: Sequence[str]) -> None:
        self._host.unplug(ids)

    def check(self) -> None:
        report = self._host.check()
        if not report.clean:
            raise RuntimeError("something is not right")

    def command(self, what: str) -> Any:
        match what:
            case "counts":
                assert self._counts is not None
                return {name: count for name, (count, _seconds) in self._counts.taken().items()}
            case "is_clean":
                return bool(self._host.check().clean)
            case "repair":
                return bool(self._host.repair())
            case "list":
                return serving.timed(lambda _ids: self._host.list(), [])
            case "trace":
                return self._tracer.taken()
            case "profile":
                return self._profiled()
            case _:
                raise ValueError(what)

    def _profiled(self) -> str | None:
        """The first call starts a profile of this thread's plugs, the second ends it and returns it."""
        if self._profile is None:
            self._profile = cProfile.Profile()
            return None
        text = io.StringIO()
        pstats.Stats(self._profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(_PROFILE_LINES)
        self._profile = None
        return text.getvalue()


def main() -> None:
    """Serve; or plug once, and print the duration of the call itself."""
    out = serving.output()
    via, config_file, *rest = sys.argv[1:]
    with contextlib.ExitStack() as closing:
        contestant = Vifplug(via, config_file, rest[0] if rest else "", closing)
        if rest and rest[0] == "--once":
            document = json.loads(rest[1])
            contestant.prepare([document])
            print(json.dumps(serving.timed(contestant.plug, [document["id"]])), file=out, flush=True)
            return
        serving.serve(contestant, out)


if __name__ == "__main__":
    main()
