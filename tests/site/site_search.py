"""The site's search, in Python: queries, weights and grouping as in mkdocs-material's script, over its index."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import lunr.stop_word_filter
from lunr.builder import Builder
from lunr.query import QueryPresence


def _is_indexed(word: str) -> bool:
    """Words as "the" are not in the index; the beginning of another word may be."""
    return lunr.stop_word_filter.stop_word_filter(word) is not None


_SCRIPT = pathlib.Path(__file__).parents[2] / "docs" / "site" / "theme" / "assets" / "iframe-worker.js"
_TAG = re.compile(r"<[^>]*>")


class Search:
    """The search of a built site."""

    def __init__(self, site: pathlib.Path) -> None:
        index: dict[str, Any] = json.loads((site / "search" / "search_index.json").read_text())
        self._separator = re.compile(index["config"]["separator"])
        self._ignored = set(re.findall(r'IGNORED = "([^"]+)"', _SCRIPT.read_text())[0].split())
        self._fields = tuple(index["config"]["fields"])
        builder = Builder()
        builder.ref("location")
        builder.b(0)
        builder.pipeline.add(lunr.stop_word_filter.stop_word_filter)
        for name, field in index["config"]["fields"].items():
            builder.field(name, boost=field["boost"])
        for entry in index["docs"]:
            words = {name: self._words(entry.get(name, "")) for name in self._fields}
            builder.add({"location": entry["location"], **words}, {"boost": entry.get("boost", 1)})
        self._index = builder.build()

    def pages(self, query: str) -> list[str]:
        """The pages that are shown, the best first."""
        words = self._words(query)
        words = [word for word in words if word not in self._ignored] or words
        scores: dict[str, float] = {}
        built = self._index.create_query()
        for word in words:
            built.clause(word + "*", use_pipeline=False, presence=QueryPresence.OPTIONAL)
        for result in self._index.query(built):
            terms = list(result["match_data"].metadata)
            matched = {word for word in words if any(term.startswith(word) for term in terms)}
            counted = matched | {word for word in words if _is_indexed(word)}
            boost = ("#" not in result["ref"]) + len(matched) / len(counted)
            page = result["ref"].partition("#")[0]
            scores[page] = max(scores.get(page, 0), result["score"] * (1 + boost**2))
        return sorted(scores, key=lambda page: -scores[page])

    def _words(self, text: Any) -> list[str]:
        parts = text if isinstance(text, list) else [_TAG.sub(" ", text)]
        return [word.lower() for part in parts for word in self._separator.split(part) if word]
