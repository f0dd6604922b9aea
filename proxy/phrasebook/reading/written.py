"""What one file says, each value checked by itself; nothing is inherited yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxy.phrasebook.book import Problem
from synth.voices import Language


@dataclass(frozen=True, slots=True)
class Place:
    path: Path
    line: int


@dataclass(frozen=True, slots=True)
class NamedVoice:
    """A voice or blend, where it is named."""

    spelling: str
    """The canonical one."""
    language: Language
    """That of the voice which the file names first."""
    place: Place


@dataclass(frozen=True, slots=True)
class Slot:
    """What may stand in place of `{name}`."""

    name: str
    values: tuple[str, ...]
    """None at all where what is given is wrong."""
    place: Place


@dataclass(frozen=True, slots=True)
class Terms:
    """How phrases are said. None is what is not set; empty is what is set and wrong, of which it is
    told already: nothing that depends on it can be checked."""

    language: tuple[Language, ...] | None = None
    """One, where it is right."""
    voices: tuple[NamedVoice, ...] | None = None
    speeds: tuple[float, ...] | None = None
    formats: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    priority: int | None = None
    slots: tuple[Slot, ...] = ()
    """Of two with the same name the last one counts."""

    def within(self, outer: Terms) -> Terms:
        """These, and from `outer` what is not set in them. Tags and slots are added to its own."""
        return Terms(
            outer.language if self.language is None else self.language,
            outer.voices if self.voices is None else self.voices,
            outer.speeds if self.speeds is None else self.speeds,
            outer.formats if self.formats is None else self.formats,
            tuple(dict.fromkeys((*outer.tags, *self.tags))),
            outer.priority if self.priority is None else self.priority,
            (*outer.slots, *self.slots),
        )


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the file, and where it begins."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class WrittenPhrase:
    text: Text
    terms: Terms
    id: Text | None = None
    recording: Text | None = None
    """A path, relative to the file."""


@dataclass(frozen=True, slots=True)
class Pronunciation:
    word: str
    phonemes: str
    """Without slashes."""
    place: Place


@dataclass(frozen=True, slots=True)
class WrittenFile:
    path: Path
    problems: tuple[Problem, ...]
    """What is wrong with it by itself."""
    line: int
    """Where it begins, behind comments."""
    name: Text | None
    terms: Terms
    lexicon: tuple[Pronunciation, ...]
    include: tuple[Text, ...]
    """Paths, relative to the file."""
    phrases: tuple[WrittenPhrase, ...]
    mentions: frozenset[str]
    """Every name in braces, even where the phrase around it is wrong."""
    digest: str
    """Of its content."""
    misnamed: bool = False
    """Whether there is a name, and it is wrong."""
    broken: bool = False
    """Whether it cannot be read at all; then it says nothing."""


def unreadable(path: Path, *problems: Problem) -> WrittenFile:
    return WrittenFile(
        path, problems, 1, None, Terms(), (), (), (), frozenset(), digest="", broken=True
    )
