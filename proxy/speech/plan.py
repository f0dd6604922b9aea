"""From a request to what has to be said: segments, their keys, the key of the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

from proxy.cache.key import Key, clip_key, rendition_key, seed_of, text_digest
from proxy.cache.private import NeverStored
from synth.audio.encode import ENCODER_VERSION, FORMATS, Format
from synth.audio.join import JOIN_VERSION, pause_s
from synth.engine import CannotSay, EngineLoading, Segment
from synth.fingerprint import fingerprint
from synth.text.normalise import check_script, normalise
from synth.text.sentences import split
from synth.voices import (
    Blend,
    Language,
    UnknownVoice,
    parse_language,
    parse_voice,
    require_installed,
)
from synth.weights import Weights, WeightsError

DEFAULT_FORMAT = next(iter(FORMATS))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to hear, as they put it."""

    text: str
    voice: str
    speed: float = 1.0
    """0.25 to 4.0; two decimals count."""
    language: str | None = None
    """None: that of the voice."""
    format: str = DEFAULT_FORMAT
    """A name in `synth.audio.encode.FORMATS`."""


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """One segment, with what makes it a part of this reply."""

    key: Key
    segment: Segment
    pause_s: float
    """The silence after it; 0 after the last."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A reply before it is made."""

    key: Key
    """Of the finished reply: see `proxy.cache.key.rendition_key`."""
    clips: tuple[PlannedClip, ...]
    """At least one."""
    format: Format
    private: bool = False
    """Whether it holds something that is never to be stored."""

    @property
    def voice(self) -> str:
        """The blend in its canonical spelling."""
        return str(self.clips[0].segment.blend)

    @property
    def text(self) -> str:
        """What is said, as it was understood."""
        return " ".join(planned.segment.text for planned in self.clips)

    @property
    def says(self) -> tuple[str, ...]:
        """Stands for the text of each segment: see `proxy.cache.key.text_digest`."""
        return tuple(text_digest(planned.segment.text) for planned in self.clips)

    def duration_s(self, clips_s: float) -> float:
        """Of the finished reply, where its clips last so long together."""
        return clips_s + sum(planned.pause_s for planned in self.clips)


class Planner:
    """Plans replies for the weights that are installed. Pure: no I/O, a tenth of a millisecond."""

    def __init__(self, never_stored: NeverStored | None = None) -> None:
        self._never_stored = never_stored or NeverStored()
        self.weights: Weights | None = None
        """What clips are made with; None as long as nothing is installed."""

    def plan(self, wanted: Wanted) -> Plan:
        """What has to be said, in order.

        Raises:
            UnknownVoice, UnknownLanguage: see `synth.voices`.
            CannotSay: nothing in the text can be said, or it is in another script.
            EngineLoading: the weights are not here yet, so nothing can have been cached either.
        """
        chosen = parse_voice(wanted.voice)
        if wanted.language is None:
            language = chosen.language
            require_installed(language)
        else:
            language = parse_language(wanted.language)
        text = normalise(wanted.text, language)
        check_script(text, language)
        pieces = split(text, language)
        if not pieces:
            raise CannotSay("There is nothing to say in this text: it has no letters or digits.")
        # Rounded before it is used, not only in the key: what shares a key must sound the same.
        speed = round(wanted.speed, 2)
        shaped_by = self._fingerprint(chosen.blend, language)
        clips = []
        for index, piece in enumerate(pieces):
            segment = Segment(piece, chosen.blend, language.code, speed, seed=0)
            key = clip_key(shaped_by, segment)
            pause = 0.0 if index == len(pieces) - 1 else pause_s(piece, speed)
            clips.append(PlannedClip(key, replace(segment, seed=seed_of(key)), pause))
        whole = rendition_key(
            ((clip.key, clip.pause_s) for clip in clips),
            wanted.format,
            ENCODER_VERSION,
            JOIN_VERSION,
        )
        # Both, since what is said is not what was written: 0800 becomes "zero eight hundred".
        private = self._never_stored.matches(wanted.text, text)
        return Plan(whole, tuple(clips), FORMATS[wanted.format], private)

    def _fingerprint(self, blend: Blend, language: Language) -> tuple[str, ...]:
        if self.weights is None:
            raise EngineLoading("The model is still being fetched.", retry_after_s=10)
        try:
            return fingerprint(self.weights, blend, language.code)
        except WeightsError:
            # A folder of the operator's own need not hold every voice there is.
            raise UnknownVoice(f"The voice '{blend}' is not installed on this server.") from None
