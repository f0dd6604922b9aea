"""Slots: `{name}` in a text, and the values that take its place. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod

import regex

MAX_COMBINATIONS = 1000
"""Of one phrase."""

_SLOT = regex.compile(r"\{([^{}]*)\}")
_MENTION = regex.compile(r"\{\s*([^\s{}]+)")


def mentions(text: str) -> list[str]:
    """Whatever stands after a brace, even where the text is wrong."""
    return _MENTION.findall(text)


def unused(name: str) -> str:
    """What is wrong with a slot that is given values, and is in no text."""
    return f"slots: {{{name}}} is given values, but is in no text: use it, or take it out"


def slots_in(text: str) -> tuple[str, ...]:
    """The names in braces, in the order in which they first come.

    Raises:
        ValueError: a brace is not one of a pair, or what is between two cannot be a name.
    """
    names: list[str] = _SLOT.findall(text)
    for brace in "{}":
        if brace in _SLOT.sub("", text):
            raise ValueError(
                f"there is a {brace} without its counterpart: a slot is {{name}}, and no other "
                "braces can be said"
            )
    for name in names:
        if not name.isidentifier():
            raise ValueError(
                f"'{{{name}}}' cannot be a slot: write its name between the braces, of letters, "
                "digits and _, and no digit first"
            )
    return tuple(dict.fromkeys(names))


def combinations(values: Sequence[Sequence[str]]) -> int:
    """How many texts come of a text with so many values for its slots."""
    return prod(len(each) for each in values)


def longest(text: str, values: Mapping[str, Sequence[str]]) -> int:
    """How many characters the longest of those texts has."""
    names: list[str] = _SLOT.findall(text)
    filled = sum(max(map(len, values[name]), default=0) for name in names)
    return len(_SLOT.sub("", text)) + filled


def expand(text: str, values: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The text with each combination of values. Those of the last slot change fastest; a slot that
    comes twice has the same value in both places."""
    for chosen in product(*values.values()):
        filled = dict(zip(values, chosen, strict=True))
        yield _SLOT.sub(lambda slot, filled=filled: filled[slot[1]], text)  # type: ignore[misc]
