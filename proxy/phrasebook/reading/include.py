"""Which files a book is made of, and what each inherits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.phrasebook.book import Problem
from proxy.phrasebook.reading.folder import Folder
from proxy.phrasebook.reading.written import Terms, Text, WrittenFile

MAX_DEPTH = 20
"""Of files that include files."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file in its place in a book."""

    file: WrittenFile
    terms: Terms
    """With what it inherits."""
    parts: tuple[Part, ...]
    """What it includes."""

    def __iter__(self) -> Iterator[Part]:
        """Itself, and everything below it, in order."""
        yield self
        for part in self.parts:
            yield from part


def included_by(file: WrittenFile, folder: Folder) -> Iterator[WrittenFile]:
    """The files that it names and that are there."""
    for link in file.include:
        try:
            yield folder.read(folder.find(link.text, file.path))
        except ValueError:
            continue


def put_together(file: WrittenFile, folder: Folder) -> tuple[Part, tuple[Problem, ...]]:
    """The book that begins with this file, and what is wrong with what is included."""
    reader = _Includes(folder)
    return reader.part(file, Terms(), ()), tuple(reader.problems)


class _Includes:
    """Follows the includes of one book."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._included: dict[Path, str] = {}
        """Where each file is included."""
        self.problems: list[Problem] = []

    def part(self, file: WrittenFile, outer: Terms, above: tuple[WrittenFile, ...]) -> Part:
        terms = file.terms.within(outer)
        above = (*above, file)
        parts = []
        for link in file.include:
            try:
                inner = self._follow(link, above)
            except ValueError as error:
                self.problems.append(Problem(file.path, link.line, f"include: {error}"))
            else:
                parts.append(self.part(inner, terms, above))
        return Part(file, terms, tuple(parts))

    def _follow(self, link: Text, above: tuple[WrittenFile, ...]) -> WrittenFile:
        """Raises ValueError: the file cannot be included here."""
        file = self._folder.read(self._folder.find(link.text, above[-1].path))
        shown = self._folder.shown
        # One file is one object, however it is named.
        for place, outer in enumerate(above):
            if outer is file:
                circle = " → ".join(shown(each.path) for each in (*above[place:], file))
                raise ValueError(f"this is a circle: {circle}. Take one of the includes out")
        if file.path in self._included:
            raise ValueError(
                f"{link.text!r} is included already, {self._included[file.path]}: a book has each "
                "file once"
            )
        if len(above) > MAX_DEPTH:
            raise ValueError(
                f"more than {MAX_DEPTH} files include each other: include it higher up"
            )
        self._included[file.path] = f"on line {link.line} of {shown(above[-1].path)}"
        return file
