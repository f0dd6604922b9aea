"""What a warm-up tells while it works, and at the end. All of it serialises to JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator, TypeAdapter


@dataclass(frozen=True, slots=True)
class BookProblem:
    """Something in a phrasebook that keeps it, or its last edit, from being used."""

    path: str
    line: int | None
    message: str
    step: Literal["problem"] = "problem"

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{where}: {self.message}"


@dataclass(slots=True)
class BookCost:
    """What rendering a book comes to, or what of it is still to be done."""

    name: str
    takes: int = 0
    """Phrases, each once for every voice and speed."""
    cached: int = 0
    stale: int = 0
    """Not cached, but kept as an earlier model, version or wording made it."""
    missing: int = 0
    """Not cached, stale ones not counted."""
    clips: int = 0
    """Sentences that the engine has to make."""
    files: int = 0
    """Replies that have to be encoded: a phrase in a voice, speed and format."""
    audio_s: float = 0.0
    """Of these sentences, as estimated from their text."""
    size_bytes: int = 0
    """Of all these on disk, estimated likewise."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done, before any of it is."""

    directory: str
    """The folder of the books."""
    books: list[BookCost]
    time_s: float
    """How long it should take, estimated."""
    pace: float
    """Seconds of work for each second of audio."""
    pace_measured: bool
    """Whether that is what the last warm-up on this machine took. Otherwise it is a guess."""
    unnamed: int
    """Entries kept for phrasebooks that no book names any more."""
    unnamed_bytes: int
    step: Literal["planned"] = "planned"

    def total(self) -> BookCost:
        """Of all books together."""
        return BookCost(
            "all",
            takes=sum(book.takes for book in self.books),
            cached=sum(book.cached for book in self.books),
            stale=sum(book.stale for book in self.books),
            missing=sum(book.missing for book in self.books),
            clips=sum(book.clips for book in self.books),
            files=sum(book.files for book in self.books),
            audio_s=sum(book.audio_s for book in self.books),
            size_bytes=sum(book.size_bytes for book in self.books),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is, counted in takes."""

    done: int
    total: int
    failed: int
    audio_s: float
    """Rendered so far."""
    eta_s: float | None
    """None before anything was rendered."""
    took_s: float = 0.0
    """Since rendering began; what it took to load the model is not counted."""
    step: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Failed:
    """A phrase that could not be rendered in this voice, and is not stored."""

    book: str
    path: str
    line: int
    text: str
    voice: str
    speed: float
    why: str
    id: str | None = None
    step: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Warmed:
    """The end of a warm-up."""

    takes: int
    rendered: int
    cached: int
    """Before it began."""
    failed: int
    not_judged: int
    """Sentences rendered with `verify` that the recogniser is no judge of."""
    pruned: int
    pruned_bytes: int
    audio_s: float
    """Rendered."""
    took_s: float
    """From when the engine was up."""
    ended_at_s: float
    """In seconds since 1970."""
    problems: int
    """Of phrasebooks: see `BookProblem`."""
    not_pruned: str | None = None
    """Why nothing was pruned though it was asked for."""
    step: Literal["warmed"] = "warmed"

    @property
    def well(self) -> bool:
        """Whether everything that the books name is cached now."""
        return not (self.failed or self.problems)


@dataclass(slots=True)
class Report:
    """A warm-up as it is written to a file."""

    planned: Planned | None = None
    warmed: Warmed | None = None
    """None where it was a dry run, or ended early."""
    failed: list[Failed] = field(default_factory=list)
    problems: list[BookProblem] = field(default_factory=list)
    broke_off: str | None = None
    """Why it ended early."""


Step = BookProblem | Planned | Progress | Failed | Warmed

_STEP: TypeAdapter[Step] = TypeAdapter(Annotated[Step, Discriminator("step")])
_REPORT = TypeAdapter(Report)


def to_json(step: Step) -> bytes:
    """One line, without its end."""
    return _STEP.dump_json(step)


def from_json(line: bytes) -> Step:
    """Raises ValueError: it is not what `to_json` wrote."""
    return _STEP.validate_json(line)


def report_to_json(report: Report) -> bytes:
    return _REPORT.dump_json(report, indent=2) + b"\n"
