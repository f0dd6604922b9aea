"""Which entries are meant: by kind, voice, tier, age, and by what they say. Pure."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from proxy.cache.entry import Kind
from proxy.cache.key import text_digest
from proxy.cache.store import Row, Tier
from synth.engine import CannotSay
from synth.text.marks import cut_pauses, without_marks, without_pronunciations
from synth.text.normalise import normalise
from synth.text.sentences import split
from synth.voices import LANGUAGES, parse_voice

_VOICE_NAME = re.compile(r"[a-z]{2}_[a-z]+")


class NothingToSay(ValueError):
    """Nothing in the text could be said, so no entry can say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What an entry must be. Without any condition every entry is."""

    kind: Kind | None = None
    voice: str | None = None
    """In its canonical spelling. One voice means blends with it, too."""
    tier: Tier | None = None
    before_s: float | None = None
    """Made before then, in seconds since 1970."""
    says: frozenset[str] | None = field(default=None, repr=False)
    """Digests of segments, of which it says one at least."""

    def holds(self, row: Row) -> bool:
        if self.tier is not None and row.tier != self.tier:
            return False
        if self.before_s is not None and row.stored_at_s >= self.before_s:
            return False
        if self.kind is None and self.voice is None and self.says is None:
            return True
        about = row.about
        return (
            about is not None
            and (self.kind is None or about.kind == self.kind)
            and (self.voice is None or self._has_voice(about.voice))
            and (self.says is None or not self.says.isdisjoint(about.says))
        )

    def _has_voice(self, blend: str) -> bool:
        return blend == self.voice or self.voice in _VOICE_NAME.findall(blend)


def select(
    *,
    kind: Kind | None = None,
    voice: str | None = None,
    tier: Tier | None = None,
    older_than_s: float | None = None,
    text: str | None = None,
) -> Selection:
    """All of what is given must hold.

    Raises:
        UnknownVoice: see `synth.voices.parse_voice`.
        NothingToSay: the text has no letters or digits.
    """
    return Selection(
        kind=kind,
        voice=None if voice is None else str(parse_voice(voice).blend),
        tier=tier,
        before_s=None if older_than_s is None else time.time() - older_than_s,
        says=None if text is None else digests_of(text),
    )


def digests_of(text: str) -> frozenset[str]:
    """What stands for each segment of the text, whatever language it is said in.

    Raises:
        NothingToSay: there is none.
    """
    digests = frozenset(
        text_digest(without_pronunciations(sentence))
        for part in _parts(text)
        for language in LANGUAGES.values()
        for sentence in split(normalise(part, language), language)
    )
    if not digests:
        raise NothingToSay("There is nothing to say in this text: it has no letters or digits.")
    return digests


def _parts(text: str) -> list[str]:
    try:
        return [without_marks(text), *(part.text for part in cut_pauses(text))]
    except CannotSay:  # Then nobody can have said it in parts.
        return [text]
