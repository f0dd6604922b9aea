"""Phrasebooks once they are read. How files say it: `proxy.phrasebook.reading.schema`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synth.audio.recording import Recording
from synth.text.marks import Lexicon
from synth.voices import LANGUAGES, Language, parse_voice


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file, and what to mend."""

    path: Path
    line: int | None
    """From 1; None where it is about the file or folder as a whole."""
    message: str

    def __str__(self) -> str:
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        # One line, whatever is quoted in it.
        return "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode()
            for each in f"{place}: {self.message}"
        )


class PhrasebookError(Exception):
    """Phrasebooks cannot be used. One problem a line: which file, which line, and what to mend."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something that is said, by everyone who says it."""

    text: str
    """With its slots filled in, and with its marks: see `synth.text.marks`."""
    voices: tuple[str, ...]
    """Blends in their canonical spelling."""
    speeds: tuple[float, ...]
    """0.25 to 4.0, of two decimals at most."""
    formats: tuple[str, ...]
    """Names of `synth.audio.formats.Format`s."""
    language: str | None
    """A code; None: that of each voice."""
    tags: tuple[str, ...]
    priority: int
    """-100 to 100; what is higher is rendered first."""
    id: str | None
    recording: Recording | None
    """Heard in place of the engine's voice."""
    path: Path
    line: int
    """Where its text begins."""

    def language_of(self, voice: str) -> Language:
        """What it is said in by one of its voices."""
        return LANGUAGES[self.language] if self.language else parse_voice(voice).language


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """The phrases of a book, with those that it includes."""

    name: str
    path: Path
    phrases: tuple[Phrase, ...]
    """In the order of the files, those of a file before those that it includes."""
    lexicon: Lexicon
    """For English; other languages know no phonemes in the text."""
    files: tuple[Path, ...]
    """The book first, then what it includes, then its recordings."""
    digest: str
    """Of the content of all its files."""


@dataclass(frozen=True, slots=True)
class Books:
    """What a folder holds: the books with which nothing is wrong, and what is wrong with others."""

    books: tuple[Phrasebook, ...]
    problems: tuple[Problem, ...]
    """By file and line."""
    broken: tuple[Path, ...] = ()
    """The files of the books with which something is wrong."""
