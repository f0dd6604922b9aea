"""A phrasebook that is proposed, what it would have been worth, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from math import prod
from typing import Literal

import yaml

from synth.voices import parse_voice

Reason = Literal["rare", "rare_value", "private", "braces", "known", "combinations", "limit"]

REASONS: Mapping[Reason, str] = {
    "rare": "heard in too few requests",
    "rare_value": "with a number or a name that was heard in too few requests",
    "private": "with a card number, a long run of digits, or an e-mail address",
    "braces": "with braces, which are slots to a phrasebook",
    "known": "in a phrasebook already",
    "combinations": "with numbers and names that were hardly ever heard together",
    "limit": "beyond the number of phrases asked for",
}
"""Why sentences are left out, as it is told to people."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A line of the phrasebook."""

    text: str
    """With slots in it, as in "{name} opens at {number}."."""
    slots: Mapping[str, tuple[str, ...]]
    """What goes into each slot, heard most first. Empty: it is said as it stands."""
    voices: tuple[str, ...]
    speeds: tuple[float, ...]
    language: str
    """A code."""
    requests: int
    """In how many it was heard, at least, with whatever is in its slots."""
    characters: int
    """Of all those sentences."""
    saved_s: float
    """About how many seconds of speech need not have been made."""

    @property
    def clips(self) -> int:
        """How many the engine makes for it."""
        wordings = prod(len(values) for values in self.slots.values())
        return wordings * len(self.voices) * len(self.speeds)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not proposed for one reason."""

    reason: Reason
    sentences: int
    """Different ones."""
    requests: int
    """In how many these were heard, at least."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of everything that was asked for, which share came from where. 0 to 1."""

    in_phrasebooks: float
    """The phrasebooks of that time had it."""
    missed: float
    """The engine had to make it."""
    proposed: float
    """The proposed phrasebook has it: this much at least."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A phrasebook to look through. What saves most comes first."""

    phrases: tuple[Phrase, ...]
    left_out: tuple[LeftOut, ...] = ()
    sentences: Rates = field(default=Rates(0, 0, 0))
    """Shares of the sentences asked for."""
    characters: Rates = field(default=Rates(0, 0, 0))
    """Shares of their characters."""


def to_yaml(proposal: Proposal, name: str) -> str:
    """The phrasebook's file. Who says it most is the rule; other voices, speeds and languages
    are told phrase by phrase. Without a single phrase it is no valid phrasebook."""
    groups = _grouped(proposal.phrases)
    usual = groups[0][0].voices if groups else ()
    lines = [f"name: {_scalar(name)}", f"voices: {_flow(usual)}", "formats: [mp3]"]
    lines.append("phrases:" if groups else "phrases: []")
    for group in groups:
        if len(groups) > 1:
            lines += ["", f"  # {_who(group[0])}"]
        for phrase in group:
            lines += _entry(phrase, usual)
    return "\n".join(lines) + "\n"


def _grouped(phrases: tuple[Phrase, ...]) -> list[list[Phrase]]:
    """By voices and speeds; first the group that saves most."""

    def who(phrase: Phrase) -> tuple[tuple[str, ...], tuple[float, ...]]:
        return phrase.voices, phrase.speeds

    groups = [list(group) for _, group in groupby(sorted(phrases, key=who), key=who)]
    return sorted(groups, key=lambda group: -sum(phrase.saved_s for phrase in group))


def _who(phrase: Phrase) -> str:
    pace = "" if phrase.speeds == (1.0,) else f" at speed {_speeds(phrase)}"
    return f"{', '.join(phrase.voices)}{pace}"


def _speeds(phrase: Phrase) -> str:
    return ", ".join(str(speed) for speed in phrase.speeds)


def _entry(phrase: Phrase, usual: tuple[str, ...]) -> Iterator[str]:
    clips = f", {phrase.clips} clips" if phrase.clips > 1 else ""
    yield f"  # {phrase.requests} requests, {phrase.saved_s:.0f} s{clips}"
    differences = []
    if phrase.voices != usual:
        differences.append(f"    voices: {_flow(phrase.voices)}")
    if phrase.speeds != (1.0,):
        differences.append(f"    speeds: [{_speeds(phrase)}]")
    if any(parse_voice(voice).language.code != phrase.language for voice in phrase.voices):
        differences.append(f"    language: {_scalar(phrase.language)}")
    if not (phrase.slots or differences):
        yield f"  - {_scalar(phrase.text)}"
        return
    yield f"  - text: {_scalar(phrase.text)}"
    if phrase.slots:
        yield "    slots:"
        for slot, values in phrase.slots.items():
            yield f"      {slot}:"
            yield from (f"        - {_scalar(value)}" for value in values)
    yield from differences


def _scalar(text: str) -> str:
    """On one line, in quotes where YAML would read something else."""
    return _dumped([text])[2:]


def _flow(texts: tuple[str, ...]) -> str:
    return f"[{', '.join(_dumped([text], flow=True)[1:-1] for text in texts)}]"


def _dumped(texts: list[str], flow: bool = False) -> str:
    dumped = yaml.safe_dump(texts, allow_unicode=True, width=1 << 30, default_flow_style=flow)
    return str(dumped).rstrip("\n")
