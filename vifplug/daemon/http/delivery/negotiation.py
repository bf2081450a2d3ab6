"""The headers of a request that change how its answer is delivered (RFC 9110). Pure."""

from __future__ import annotations

import hashlib
import re

GZIP_MIN_BYTES = 4096
"""A shorter body is sent as it is: one VIF has some 800 bytes, and on a Unix socket nothing is gained below a page."""
GZIP_LEVEL = 1
"""Level 6 takes three times as long for a sixth less (docs/reference/http.md has the measurement)."""

_TAG_DIGITS = 32
_ENTITY_TAG = re.compile(r'(?:W/)?("[!#-~\x80-\xff]*")')
_ENTITY_TAGS = re.compile(rf"\s*(?:{_ENTITY_TAG.pattern}\s*(?:,\s*)*)+")
_WEIGHT = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def entity_tag(body: bytes) -> str:
    """The tag of a body. It is weak, because the compressed form has the same."""
    return f'W/"{hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]}"'


def is_not_modified(if_none_match: str, tag: str) -> bool:
    """Whether a client already has the body of this tag (section 13.1.2: the comparison is weak).

    :param if_none_match: the header; one that is malformed matches nothing.
    """
    if if_none_match.strip() == "*":
        return True
    if not _ENTITY_TAGS.fullmatch(if_none_match):
        return False
    return tag.removeprefix("W/") in _ENTITY_TAG.findall(if_none_match)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client takes a gzip body (section 12.5.3). Without the header it gets the body as it is."""
    weights: dict[str, float] = {}
    for item in accept_encoding.split(","):
        coding, *parameters = (part.strip().lower() for part in item.split(";"))
        weighed = _WEIGHT.fullmatch(parameters[0]) if parameters else None
        weights[coding] = float(weighed[1]) if weighed else 0.0 if parameters else 1.0
    return max(weights.get("gzip", -1.0), weights.get("x-gzip", -1.0), -1.0) > 0 or (
        "gzip" not in weights and weights.get("*", 0.0) > 0
    )
