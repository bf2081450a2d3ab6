"""What a face may not do between two versions: lose something, or say something else. Pure; each function returns the
breaks as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_PROSE = {"description", "summary", "title", "examples", "example"}
_REQUEST, _ANSWER = "request", "answer"


def lost(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Breaks of JSON answers and of plain tables: a key or value of the old one that the new one does not have."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key, value in old.items():
            if key in new:
                yield from lost(value, new[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is gone"
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{path} had {len(old)} items and has {len(new)}"
        for place, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from lost(before, after, f"{path}[{place}]")
    elif old != new:
        yield f"{path} was {old!r:.200} and is {new!r:.200}"


def lost_names(old: Sequence[str], new: Sequence[str], path: str) -> Iterator[str]:
    """Breaks of a set of names, which may grow."""
    yield from (f"{path}: {name} is gone" for name in old if name not in new)


def lost_parameters(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], path: str) -> Iterator[str]:
    """Breaks of a signature: a call of before that is no longer possible, or means something else."""
    known = {each["name"]: each for each in new}
    for each in old:
        now = known.get(each["name"])
        if now is None:
            yield f"{path}: parameter {each['name']} is gone"
        elif now["kind"] != each["kind"] and now["kind"] != "POSITIONAL_OR_KEYWORD":
            yield f"{path}: parameter {each['name']} was {each['kind']} and is {now['kind']}"
        elif each.get("default") != now.get("default"):
            yield f"{path}: the default of {each['name']} was {each.get('default')} and is {now.get('default')}"
    names = {each["name"] for each in old}
    yield from (
        f"{path}: the new parameter {each['name']} is required"
        for each in new
        if each["name"] not in names and "default" not in each and not each["kind"].startswith("VAR_")
    )
    by_place = [each["name"] for each in old if each["kind"] == "POSITIONAL_OR_KEYWORD"]
    now_by_place = [each["name"] for each in new if each["kind"] == "POSITIONAL_OR_KEYWORD"]
    if now_by_place[: len(by_place)] != by_place:
        yield f"{path}: the places of {by_place} are now those of {now_by_place}"


class Description:
    """An OpenAPI document, or a JSON schema."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """A schema itself, where it is a reference."""
        while "$ref" in schema:
            found: Any = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema


def lost_operations(old: Description, new: Description) -> Iterator[str]:
    """Breaks of an API: for each operation its parameters, bodies, statuses and answers."""
    for path, operations in old.document["paths"].items():
        for method, operation in operations.items():
            now = new.document["paths"].get(path, {}).get(method)
            name = f"{method.upper()} {path}"
            if now is None:
                yield f"{name} is gone"
            else:
                yield from _lost_operation(old, new, operation, now, name)


def _lost_operation(
    old: Description, new: Description, was: Mapping[str, Any], now: Mapping[str, Any], name: str
) -> Iterator[str]:
    if was["operationId"] != now["operationId"]:
        yield f"{name}: operationId was {was['operationId']} and is {now['operationId']}"
    before = {(each["in"], each["name"]): each for each in was.get("parameters", ())}
    after = {(each["in"], each["name"]): each for each in now.get("parameters", ())}
    for key, parameter in before.items():
        if key not in after:
            yield f"{name}: parameter {key} is gone"
        else:
            if after[key].get("required") and not parameter.get("required"):
                yield f"{name}: parameter {key} is now required"
            pair = (parameter["schema"], after[key]["schema"])
            yield from lost_schema(old, new, *pair, f"{name} {key}", _REQUEST, frozenset())
    yield from (
        f"{name}: the new parameter {key} is required"
        for key, each in after.items()
        if each.get("required") and key not in before
    )
    if now.get("requestBody", {}).get("required") and not was.get("requestBody", {}).get("required"):
        yield f"{name}: a body is now required"
    for kind, content in was.get("requestBody", {}).get("content", {}).items():
        body = now["requestBody"]["content"][kind]["schema"]
        yield from lost_schema(old, new, content["schema"], body, f"{name} body", _REQUEST, frozenset())
    for status, answer in was["responses"].items():
        answers = now["responses"].get(status, {})
        if not answers:
            yield f"{name}: status {status} is gone"
            continue
        yield from lost_names([*answer.get("headers", ())], [*answers.get("headers", ())], f"{name} {status} headers")
        for kind, content in answer.get("content", {}).items():
            if kind not in answers.get("content", {}):
                yield f"{name} {status}: {kind} is gone"
            else:
                schema = answers["content"][kind]["schema"]
                yield from lost_schema(old, new, content["schema"], schema, f"{name} {status}", _ANSWER, frozenset())


def lost_schema(
    old: Description,
    new: Description,
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    path: str,
    direction: str,
    seen: frozenset[str],
) -> Iterator[str]:
    """Breaks of a schema. A request may be allowed more, and an answer promise more; never the reverse.

    :param direction: ``request`` or ``answer``.
    :param seen: the references on the way, which may lead back to themselves.
    """
    forms_now, forms = new.resolved(now).get("anyOf", ()), old.resolved(was).get("anyOf", ())
    if direction == _ANSWER and forms_now and not forms and "null" not in _kinds(new, new.resolved(now)):
        # One more form of answer, to requests that there were not: one of the forms must be the former one.
        yield from min(([*lost_schema(old, new, was, each, path, direction, seen)] for each in forms_now), key=len)
        return
    reference = was.get("$ref")
    if reference in seen:
        return
    seen |= {reference} if reference else set()
    was, now = old.resolved(was), new.resolved(now)
    for key, value in was.get("properties", {}).items():
        if key not in now.get("properties", {}):
            yield f"{path}.{key} is gone"
        else:
            yield from lost_schema(old, new, value, now["properties"][key], f"{path}.{key}", direction, seen)
    before, after = set(was.get("required", ())), set(now.get("required", ()))
    if direction == _REQUEST:
        yield from (f"{path}.{key} is now required" for key in sorted(after - before))
        yield from lost_names(was.get("enum", ()), now.get("enum", was.get("enum", ())), f"{path} values")
        yield from _narrowed(was, now, path)
    else:
        yield from (f"{path}.{key} is no longer always there" for key in sorted(before - after))
    kinds, kinds_now = _kinds(old, was), _kinds(new, now)
    if direction == _REQUEST and not kinds <= kinds_now:
        yield f"{path} was {sorted(kinds)} and is {sorted(kinds_now)}"
    if direction == _ANSWER and kinds and not kinds_now <= kinds:
        yield f"{path} was {sorted(kinds)} and may now be {sorted(kinds_now - kinds)}"
    for key in ("items", "additionalProperties"):
        if isinstance(was.get(key), Mapping) and isinstance(now.get(key), Mapping):
            yield from lost_schema(old, new, was[key], now[key], f"{path}[]", direction, seen)
    for each in was.get("anyOf", ()):
        if "$ref" in each and {"$ref": each["$ref"]} in now.get("anyOf", ()):
            yield from lost_schema(old, new, each, each, path, direction, seen)


def _narrowed(was: Mapping[str, Any], now: Mapping[str, Any], path: str) -> Iterator[str]:
    """Bounds that now refuse what they took."""
    for key in ("minimum", "exclusiveMinimum", "minLength", "minItems"):
        if key in now and now[key] > was.get(key, float("-inf")):
            yield f"{path}: {key} was {was.get(key)} and is {now[key]}"
    for key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems"):
        if key in now and now[key] < was.get(key, float("inf")):
            yield f"{path}: {key} was {was.get(key)} and is {now[key]}"
    if "pattern" in now and now["pattern"] != was.get("pattern"):
        yield f"{path}: pattern was {was.get('pattern')} and is {now['pattern']}"


def _kinds(description: Description, schema: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema takes."""
    if "anyOf" in schema:
        return set().union(*(_kinds(description, description.resolved(each)) for each in schema["anyOf"]))
    kind = schema.get("type", ())
    return {kind} if isinstance(kind, str) else set(kind)


def without_prose(value: Any) -> Any:
    """A document without the texts that are for people."""
    if isinstance(value, Mapping):
        return {
            key: without_prose(each) for key, each in value.items() if key not in _PROSE or not isinstance(each, str)
        }
    return [without_prose(each) for each in value] if isinstance(value, list) else value
