"""Values of a file, checked one by one against `proxy.phrasebook.reading.schema`.

What is wrong is told in plain words, once, and left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import pydantic
from pydantic import TypeAdapter

from proxy.phrasebook.reading.document import (
    TEXT,
    UNKNOWN,
    Mapping,
    Node,
    Scalar,
    Sequence,
    told_as,
)
from proxy.phrasebook.reading.schema import (
    MAX_NAME_CHARS,
    MAX_PRIORITY,
    MAX_SPEED,
    MIN_PRIORITY,
    MIN_SPEED,
)

_T = TypeVar("_T")

Tell = Callable[[int, str], None]
"""Takes the line of a mistake, and what it is."""

_RANGES = {
    "speeds": f"from {MIN_SPEED} to {MAX_SPEED}",
    "priority": f"from {MIN_PRIORITY} to {MAX_PRIORITY}",
}


def checked(kind: TypeAdapter[_T], node: Node, key: str, tell: Tell) -> _T | None:
    """The value of a scalar; None where it is wrong, and told of."""
    if not isinstance(node, Scalar):
        tell(node.line, f"{key}: {_no_scalar(node)}")
        return None
    if node.kind == UNKNOWN:
        return None
    try:
        return kind.validate_python(node.value, strict=True)
    except pydantic.ValidationError as invalid:
        tell(node.line, f"{key}: {_told(invalid, node, key)}")
        return None


def each(
    kind: TypeAdapter[_T], node: Node, key: str, tell: Tell, may_be_empty: bool = False
) -> Iterator[tuple[_T, int]]:
    """What is right in a list, each with its line."""
    for item in items(node, key, tell, may_be_empty):
        value = checked(kind, item, key, tell)
        if value is not None:
            yield value, item.line


def items(node: Node, key: str, tell: Tell, may_be_empty: bool = False) -> tuple[Node, ...]:
    """What a list holds. Nothing where it is none, which is told."""
    match node:
        case Sequence(items=()) if not may_be_empty:
            tell(node.line, f"{key}: the list is empty: fill it, or take it out")
        case Sequence():
            return node.items
        case Scalar(kind="unknown"):
            pass
        case Scalar(written="") if node.kind != TEXT:
            tell(node.line, f"{key}: there is nothing here: write a list, or take it out")
        case Scalar() if key != "phrases":
            tell(node.line, f"{key}: must be a list: write [{_shortened(node.written)}]")
        case _:
            tell(node.line, f"{key}: must be a list, one entry a line, each after '- '")
    return ()


def entries(node: Node, key: str, example: str, tell: Tell) -> tuple[tuple[Scalar, Node], ...]:
    """What a mapping holds. Nothing where it is none, which is told."""
    if isinstance(node, Mapping):
        return node.entries
    if not (isinstance(node, Scalar) and node.kind == UNKNOWN):
        tell(node.line, f"{key}: must be a mapping, as in {example}")
    return ()


def refuse_unknown(mapping: Mapping, known: Collection[str], tell: Tell) -> frozenset[str]:
    """Tell of the keys that are not known. Returns what was meant by them, as it seems."""
    meant = set()
    for key, _ in mapping.entries:
        if key.value in known:
            continue
        near = nearest(key.written, known)
        meant.update(near)
        guess = "".join(f" Did you mean {each!r}?" for each in near)
        fix = guess or f" Take it out; there are {', '.join(sorted(known))}."
        tell(key.line, f"there is no key {_shortened(key.written)!r}.{fix}")
    return frozenset(meant)


def nearest(name: str, known: Collection[str]) -> list[str]:
    """What a misspelt name is most like; nothing where it is like none."""
    return difflib.get_close_matches(name[:60].lower(), known, n=1, cutoff=0.6)


def as_mapping_told(mapping: Mapping) -> str:
    """Of a text that is a mapping to YAML."""
    key = mapping.entries[0][0].written if mapping.entries else ""
    shown = f"{_shortened(key)}: …" if key else "{}"
    return (
        f"YAML reads {shown!r} as a mapping, not as text, since it holds ': ' or is in braces: put "
        "it in quotes"
    )


def _no_scalar(node: Mapping | Sequence) -> str:
    if isinstance(node, Mapping):
        return as_mapping_told(node)
    return (
        "YAML reads this as a list, not as one value: take the brackets or '- ' out, or put it in "
        "quotes"
    )


def _told(invalid: pydantic.ValidationError, scalar: Scalar, key: str) -> str:
    """What is wrong with a scalar, and what to mend."""
    error = invalid.errors(include_url=False)[0]
    shown = repr(_shortened(scalar.written))
    match error["type"]:
        case "string_type" if not scalar.written:
            return "there is nothing here: write a text, or take it out"
        case "string_type":
            return f"{told_as(scalar)}, not as text: put it in quotes"
        case "string_pattern_mismatch":
            return f"{shown} must be of 1 to {MAX_NAME_CHARS} letters, digits, - and _ alone"
        case "string_too_short":
            return "there is nothing between the quotes"
        case "float_type" | "int_type":
            kind = "a number" if error["type"] == "float_type" else "a whole number"
            quoted = ", without quotes" if scalar.kind == TEXT else ""
            return f"{shown} is not {kind}: write one{quoted}"
        case "greater_than_equal" | "less_than_equal" | "finite_number":
            return f"{scalar.written} must be {_RANGES[key]}"
        case "value_error":
            return str(error["ctx"]["error"])
    raise AssertionError(error["type"])


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
