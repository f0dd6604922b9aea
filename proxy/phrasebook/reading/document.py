"""YAML text to values that know their lines. Plain YAML only: no aliases, no tags, no key twice.

What is wrong is noted, and reading goes on as well as it can; after a mistake of syntax it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import regex
import yaml

from proxy.phrasebook.reading.syntax import syntax_problem

MAX_DEPTH = 12
"""More than any phrasebook needs: the values of a phrase's slots lie at 5."""

_MAX_NUMBER_CHARS = 40
"""Longer ones take long to read, and are none that anybody means."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

TEXT = "text"
NOTHING = "nothing"
UNKNOWN = "unknown"
"""Of a scalar of which it is told already that it cannot be read."""

_ONE_BLANK_AND_A_COMMENT = regex.compile(r" #")

_KINDS = {
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:null": NOTHING,
    "tag:yaml.org,2002:timestamp": "a date",
}

# As YAML has it.
_UNPRINTABLE = regex.compile(
    r"[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, a number, true or false, a date, or nothing."""

    line: int
    """Where it begins, from 1."""
    written: str
    """As it stands in the file, without quotes."""
    value: str | int | float | bool | None
    """What YAML makes of it; None as well where it is a date, or unknown."""
    kind: str = TEXT
    """What that is, for people: "a number"."""
    cut_short: bool = False
    """Whether a `#` follows it, after one blank alone: a comment to YAML, and to people hardly."""


@dataclass(frozen=True, slots=True)
class Sequence:
    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    line: int
    entries: tuple[tuple[Scalar, Node], ...]
    """Keys are texts. No two are the same."""
    dropped: tuple[Node, ...] = ()
    """The values of keys that stood there already."""

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.entries if name.value == key), None)

    def line_of(self, key: str) -> int:
        """The line of the key; that of the whole where there is none."""
        return next((name.line for name, _ in self.entries if name.value == key), self.line)


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Document:
    """A file's content."""

    root: Node | None
    """None: there is nothing in it, or nothing that can be read."""
    problems: tuple[tuple[int, str], ...]
    """Lines, and what is wrong there."""
    broken: bool = False
    """Whether what is wrong keeps it from being read."""


def read_document(text: str) -> Document:
    """Never raises: what is wrong is in the document's `problems`."""
    if match := _UNPRINTABLE.search(text):
        line = len((text[: match.start()] + ".").splitlines())
        why = f"the character U+{ord(match[0]):04X} is not allowed in YAML: take it out"
        return Document(None, ((line, why),), broken=True)
    lines = text.splitlines()
    composer = _Composer(text, lines)
    try:
        root = composer.read()
    except _Unreadable as unreadable:
        problem = unreadable.line, unreadable.why
    except yaml.MarkedYAMLError as error:
        problem = syntax_problem(error, lines)
    except yaml.YAMLError as error:
        problem = 1, f"this is not YAML: {' '.join(str(error).split())}"
    else:
        return Document(root, tuple(composer.problems))
    return Document(None, (*composer.problems, problem), broken=True)


def texts_in(node: Node) -> Iterator[str]:
    """Everything that is written anywhere in it; `{name}` too, which is a mapping to YAML."""
    match node:
        case Scalar():
            yield node.written
        case Sequence():
            for item in node.items:
                yield from texts_in(item)
        case Mapping():
            for key, value in node.entries:
                empty = value == Scalar(value.line, "", None, NOTHING)
                yield f"{{{key.written}}}" if empty else key.written
                yield from texts_in(value)
            for value in node.dropped:
                yield from texts_in(value)


class _Unreadable(Exception):
    """Nothing further can be read."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line
        self.why = why


class _Composer:
    """Puts values together from YAML's events, which still tell what is an alias."""

    def __init__(self, text: str, lines: list[str]) -> None:
        self._loader = _LOADER(text)
        self._lines = lines
        self._last_line = max(1, len(lines))
        self.problems: list[tuple[int, str]] = []

    def read(self) -> Node | None:
        """Raises _Unreadable, yaml.YAMLError."""
        self._next()  # The stream begins.
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        root = self._node(self._next(), depth=0)
        self._next()  # The document ends.
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            why = "a second document begins here, and a file holds one: take the '---' out"
            raise _Unreadable(self._line(event), why)
        return None if isinstance(root, Scalar) and not root.written else root

    def _next(self) -> yaml.Event:
        event: yaml.Event = self._loader.get_event()
        return event

    def _line(self, event: yaml.Event) -> int:
        assert event.start_mark is not None  # As of everything that is read from text.
        return min(event.start_mark.line + 1, self._last_line)

    def _tell(self, line: int, message: str) -> None:
        self.problems.append((line, message))

    def _node(self, event: yaml.Event, depth: int) -> Node:
        line = self._line(event)
        if depth > MAX_DEPTH:
            raise _Unreadable(line, "this is nested deeper than anything in a phrasebook is")
        self._refuse_what_is_not_plain(event, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(line, depth)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(line, depth)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, line)
        return Scalar(line, "", None, UNKNOWN)

    def _refuse_what_is_not_plain(self, event: yaml.Event, line: int) -> None:
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            message = f"'*{anchor}' is an alias to YAML, and there are none here: write it out"
        elif anchor is not None:
            message = f"'&{anchor}' is an anchor to YAML, and there are none here: take it out"
        elif tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            message = f"'{shown}' is a tag to YAML, and there are none here: take it out"
        else:
            return
        self._tell(line, message + ", or put the text in quotes if it is one")

    def _sequence(self, line: int, depth: int) -> Sequence:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Sequence(line, tuple(items))

    def _mapping(self, line: int, depth: int) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        dropped = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(self._next(), depth + 1)
            if not isinstance(key, Scalar):
                self._tell(key.line, "a key must be a word: put it in quotes")
                dropped.append(value)
            elif not isinstance(key.value, str):
                if key.kind != UNKNOWN:
                    self._tell(
                        key.line, told_as(key) + ", and a key must be text: put it in quotes"
                    )
                dropped.append(value)
            elif key.value in entries:
                first = entries[key.value][0].line
                why = f"{key.written!r} stands here twice, the first time on line {first}"
                self._tell(key.line, f"{why}: keep one of them")
                dropped.append(value)
            else:
                entries[key.value] = key, value
        return Mapping(line, tuple(entries.values()), tuple(dropped))

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Scalar:
        written = event.value
        if event.tag is not None or not event.implicit[0]:
            return Scalar(line, written, written)
        tag = self._loader.resolve(yaml.ScalarNode, written, (True, False))
        kind = _KINDS.get(tag, TEXT)
        if kind == TEXT:
            return Scalar(line, written, written, cut_short=self._is_cut_short(event))
        if len(written) > _MAX_NUMBER_CHARS:
            return Scalar(line, written, None, kind)
        try:
            value = self._loader.construct_object(yaml.ScalarNode(tag, written))
        except (ValueError, LookupError, OverflowError):  # As of a 31st of June, and of "0x".
            value = None
        return Scalar(line, written, value if isinstance(value, int | float) else None, kind)

    def _is_cut_short(self, event: yaml.ScalarEvent) -> bool:
        end = event.end_mark
        if end is None or end.line >= len(self._lines):
            return False
        return _ONE_BLANK_AND_A_COMMENT.match(self._lines[end.line], end.column) is not None


def told_as(scalar: Scalar) -> str:
    """What YAML reads it as, which is not text."""
    shown = scalar.written if len(scalar.written) <= 60 else scalar.written[:60] + "…"
    if not shown:
        return "there is nothing here"
    return f"YAML reads {shown} as {scalar.kind}"
