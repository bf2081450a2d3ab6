"""A contestant's end: a process that receives commands, one JSON object per line, and answers with their duration.

Only the standard library: os-vif's contestant imports this before anything of its own.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Contestant(Protocol):
    """A program that plugs and unplugs."""

    def prepare(self, documents: Sequence[dict[str, Any]]) -> None:
        """Take VIFs as they come from Nova; converting them into objects is not measured, on either side."""

    def plug(self, ids: Sequence[str]) -> None:
        """One request for these if possible; else one after the other."""

    def unplug(self, ids: Sequence[str]) -> None:
        """The same."""

    def check(self) -> None:
        """Check that all VIFs match."""

    def command(self, what: str) -> Any:
        """Any other command."""


def timed(act: Callable[[Sequence[str]], None], ids: Sequence[str]) -> float:
    began = time.perf_counter()
    act(ids)
    return time.perf_counter() - began


def _crowd(act: Callable[[Sequence[str]], None], ids: Sequence[str], callers: int) -> dict[str, Any]:
    """That many threads, which begin at once and take the next VIF until there is none."""
    left, latencies, errors = list(reversed(ids)), [], []
    lock, start = threading.Lock(), threading.Barrier(callers + 1)

    def work() -> None:
        start.wait()
        while True:
            with lock:
                if not left:
                    return
                vif_id = left.pop()
            try:
                latencies.append(timed(act, [vif_id]))
            except Exception as error:
                errors.append(f"{vif_id}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work) for _number in range(callers)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(ids)} failed: {errors[0]}")
    return {"seconds": [seconds], "latencies": latencies}


def _answer(contestant: Contestant, call: dict[str, Any]) -> Any:
    act: Any = {"plug": contestant.plug, "unplug": contestant.unplug}.get(call.get("of", ""))
    match call["call"]:
        case "prepare":
            return contestant.prepare(call["vifs"])
        case "each":
            return {"seconds": [timed(act, [vif_id]) for vif_id in call["ids"]]}
        case "one":
            began = time.monotonic()
            return {"began": began, "seconds": timed(act, call["ids"])}
        case "together":
            return {"seconds": [timed(act, call["ids"])]}
        case "crowd":
            return _crowd(act, call["ids"], call["callers"])
        case "check":
            return {"seconds": [timed(lambda _ids: contestant.check(), [])]}
        case "pid":
            return os.getpid()
        case other:
            return contestant.command(other)


def serve(contestant: Contestant, out: Any) -> None:
    """Answer until standard input ends.

    :param out: the original standard output: a library's output must not be mistaken for an answer.
    """
    print(json.dumps({"answer": "ready"}), file=out, flush=True)
    for line in sys.stdin:
        call = json.loads(line)
        gc.collect()
        try:
            answer: dict[str, Any] = {"answer": _answer(contestant, call)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=out, flush=True)


def output() -> Any:
    """Standard output is for answers; output of any other code goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out
