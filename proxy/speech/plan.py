"""From a request to what has to be said: segments, their keys, the key of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from proxy.cache.key import Key, clip_key, recording_key, rendition_key, seed_of, text_digest
from proxy.cache.private import NeverStored
from proxy.speech.wording import Piece, Who, Wordings, read_pieces
from synth.audio.encode import ENCODER_VERSION
from synth.audio.formats import FORMATS, Format, format_named
from synth.audio.join import JOIN_VERSION, pause_s
from synth.audio.recording import Recording
from synth.engine import EngineLoading, Segment
from synth.fingerprint import fingerprint
from synth.voices import (
    Blend,
    ChosenVoice,
    Language,
    UnknownVoice,
    parse_language,
    parse_voice,
    require_installed,
)
from synth.weights import Weights, WeightsError

DEFAULT_FORMAT = next(iter(FORMATS))

_NO_WEIGHTS = ("no weights",)


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
    """The name of a `synth.audio.formats.Format`."""
    phrasebook: str | None = None
    """The book by whose lexicon it is said."""


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """One segment, with what makes it a part of this reply."""

    key: Key
    segment: Segment
    pause_s: float
    """The silence after it; 0 after the last, unless a pause is written there."""
    says: tuple[str, ...]
    """Stands for the sentences that it is, or is a part of: see `proxy.cache.key.text_digest`."""
    recording: Recording | None = None
    """What is heard in place of the engine's voice."""


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
    provisional: bool = False
    """Whether the weights are not here yet. Then its keys stand for nothing, and only somebody else
    can say it."""

    def in_format(self, format: str) -> Plan:
        """The same reply in another format, by its `Format.name`."""
        return replace(self, key=_whole_key(self.clips, format), format=format_named(format))

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
        return tuple(dict.fromkeys(each for planned in self.clips for each in planned.says))

    def duration_s(self, clips_s: float) -> float:
        """Of the finished reply, where its clips last so long together."""
        return clips_s + sum(planned.pause_s for planned in self.clips)


class Planner:
    """Plans replies for the weights that are installed and the phrasebooks that are in use. Pure:
    no I/O, a tenth of a millisecond."""

    def __init__(
        self,
        never_stored: NeverStored | None = None,
        aliases: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`aliases` are names that stand for voices or blends."""
        self._never_stored = never_stored or NeverStored()
        self._aliases = aliases
        self._weights: Weights | None = None
        self._wordings = Wordings()
        self.generation = 0
        """How often the same text may have come to be planned otherwise."""

    @property
    def weights(self) -> Weights | None:
        """What clips are made with; None as long as nothing is installed."""
        return self._weights

    @weights.setter
    def weights(self, weights: Weights | None) -> None:
        changed = self._weights is not weights
        self._weights = weights
        self.generation += changed

    @property
    def wordings(self) -> Wordings:
        """What the phrasebooks in use say of how things are said."""
        return self._wordings

    @wordings.setter
    def wordings(self, wordings: Wordings) -> None:
        self._wordings = wordings
        self.generation += 1

    def voice(self, name: str) -> ChosenVoice:
        """The voice or blend that a name stands for. Raises UnknownVoice: there is none."""
        return parse_voice(self._aliases.get(name, name))

    def plan(self, wanted: Wanted, provisionally: bool = False) -> Plan:
        """What has to be said, in order; `provisionally`, also where the weights are not here.

        Raises:
            UnknownVoice, UnknownLanguage: see `synth.voices`.
            UnknownPhrasebook: see `proxy.speech.wording`.
            CannotSay: nothing in the text can be said, it is in another script, or a pause in it
                cannot be read.
            EngineLoading: the weights are not here yet, so nothing can have been cached either.
                Not `provisionally`.
        """
        chosen = self.voice(wanted.voice)
        if wanted.language is None:
            language = chosen.language
            require_installed(language)
        else:
            language = parse_language(wanted.language)
        # Rounded before it is used, not only in the key: what shares a key must sound the same.
        speed = round(wanted.speed, 2)
        lexicon = self._wordings.lexicon(wanted.phrasebook)
        who = Who(str(chosen.blend), language.code, speed)
        pieces = read_pieces(wanted.text, language, who, self._wordings, lexicon)
        provisional = provisionally and self._weights is None
        shaped_by = _NO_WEIGHTS if provisional else self._fingerprint(chosen.blend, language)
        clips = []
        for index, piece in enumerate(pieces):
            segment = Segment(piece.text, chosen.blend, language.code, speed, seed=0)
            key = _key(piece, segment, shaped_by)
            pause = piece.pause_s
            if pause is None:
                pause = 0.0 if index == len(pieces) - 1 else pause_s(piece.text, speed)
            says = tuple(text_digest(sentence) for sentence in piece.sentences)
            segment = replace(segment, seed=seed_of(key))
            clips.append(PlannedClip(key, segment, pause, says, piece.recording))
        whole = _whole_key(clips, wanted.format)
        # Both, since what is said is not what was written: 0800 becomes "zero eight hundred".
        said = " ".join(piece.text for piece in pieces)
        private = self._never_stored.matches(wanted.text, said)
        return Plan(whole, tuple(clips), format_named(wanted.format), private, provisional)

    def _fingerprint(self, blend: Blend, language: Language) -> tuple[str, ...]:
        if self._weights is None:
            raise not_fetched()
        try:
            return fingerprint(self._weights, blend, language.code)
        except WeightsError:
            # A folder of the operator's own need not hold every voice there is.
            raise UnknownVoice(f"The voice '{blend}' is not installed on this server.") from None


def not_fetched() -> EngineLoading:
    """Why the engine cannot be asked while a plan is provisional."""
    return EngineLoading("The model is still being fetched.", retry_after_s=10)


def _whole_key(clips: Iterable[PlannedClip], format: str) -> Key:
    joined = ((clip.key, clip.pause_s) for clip in clips)
    return rendition_key(joined, format, ENCODER_VERSION, JOIN_VERSION)


def _key(piece: Piece, segment: Segment, shaped_by: tuple[str, ...]) -> Key:
    if piece.recording is None:
        return clip_key(shaped_by, segment)
    return recording_key(piece.recording.digest, segment)
