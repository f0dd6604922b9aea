"""What may stand in a phrasebook's file: the keys, their values, and a JSON Schema for editors.

Values are checked one by one by `proxy.phrasebook.reading.checked`: one mistake hides no other.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from synth.audio.codecs import CODECS, SAMPLE_RATES_HZ
from synth.audio.formats import FORMATS, NoSuchFormat, format_named
from synth.text.normalise import has_speech
from synth.voices import LANGUAGES, VOICES, near, parse_language, parse_voice

MAX_TEXT_CHARS = 4096
"""As many as a request may have; slots filled in."""
MAX_NAME_CHARS = 64
MIN_SPEED, MAX_SPEED = 0.25, 4.0
MIN_PRIORITY, MAX_PRIORITY = -100, 100

_NOT_IN_PHONEMES = "/()[]"


def _known_voice(voice: str) -> str:
    parse_voice(voice)
    return voice


def _known_language(language: str) -> str:
    parse_language(language)
    return language


def _known_format(name: str) -> str:
    try:
        return format_named(name).name
    except NoSuchFormat as error:
        if error.field != "codec":
            raise
        raise ValueError(
            f"there is no format {name[:60]!r}.{near(name[:60], FORMATS)} There are "
            f"{', '.join(CODECS)}, and most at other rates, as in wav_8000"
        ) from None


def _known_codec(codec: str) -> str:
    if codec not in CODECS:
        known = ", ".join(CODECS)
        raise ValueError(f"there is no codec {codec[:60]!r}: there are {known}")
    return codec


def _known_rate(rate_hz: int) -> int:
    if rate_hz not in SAMPLE_RATES_HZ:
        known = ", ".join(str(rate) for rate in SAMPLE_RATES_HZ)
        raise ValueError(f"there is no sample rate of {rate_hz} Hz: there are {known}")
    return rate_hz


def _word(word: str) -> str:
    if not has_speech(word) or any(mark in word for mark in "[]{}"):
        raise ValueError(f"{word[:60]!r} is no word: it needs letters, and no brackets")
    return word


def _slot_name(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(
            f"{name[:60]!r} cannot be the name of a slot: it may have letters, digits and _, and "
            "begins with no digit"
        )
    return name


def _slot_value(value: str) -> str:
    if not value.strip():
        raise ValueError("this value is empty: write what is said, or take it out")
    if "{" in value or "}" in value:
        raise ValueError(f"{value[:60]!r} has braces in it, but a slot holds no other slot")
    return value


def _without_slashes(phonemes: str) -> str:
    bare = phonemes.strip()
    if len(bare) >= 2 and bare[0] == bare[-1] == "/":
        bare = bare[1:-1].strip()
    if not bare:
        raise ValueError("there are no phonemes: write them as in 'kˈOkəɹO'")
    for character in bare:
        if character in _NOT_IN_PHONEMES or not character.isprintable():
            raise ValueError(f"{character!r} is no phoneme: take it out")
    return bare


_WITH_BITRATE = (
    rf"^({'|'.join(codec.name for codec in CODECS.values() if codec.bitrates_kbps)})"
    r"(_[0-9]+)?_[0-9]+k$"
)

_WORD_PATTERN = rf"^[A-Za-z0-9_-]{{1,{MAX_NAME_CHARS}}}$"

Name = Annotated[str, Field(pattern=_WORD_PATTERN)]
Voice = Annotated[
    str, AfterValidator(_known_voice), Field(examples=[*VOICES, "af_bella(2)+af_sky(1)"])
]
Speed = Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False)]
FormatName = Annotated[
    str,
    AfterValidator(_known_format),
    Field(json_schema_extra={"anyOf": [{"enum": [*FORMATS]}, {"pattern": _WITH_BITRATE}]}),
]
Codec = Annotated[str, AfterValidator(_known_codec), Field(json_schema_extra={"enum": [*CODECS]})]
SampleRateHz = Annotated[
    int, AfterValidator(_known_rate), Field(json_schema_extra={"enum": [*SAMPLE_RATES_HZ]})
]
BitrateKbps = Annotated[int, Field(json_schema_extra={"minimum": 1})]
Priority = Annotated[int, Field(ge=MIN_PRIORITY, le=MAX_PRIORITY)]
LanguageName = Annotated[
    str,
    AfterValidator(_known_language),
    Field(examples=[name for each in LANGUAGES.values() for name in (each.tag, each.code)]),
]
Word = Annotated[str, AfterValidator(_word)]
Phonemes = Annotated[str, AfterValidator(_without_slashes), Field(examples=["kˈOkəɹO"])]
SlotName = Annotated[str, AfterValidator(_slot_name)]
SlotValue = Annotated[str, AfterValidator(_slot_value)]
RelativePath = Annotated[str, Field(min_length=1)]


def _without_nulls(schema: dict[str, Any]) -> None:
    """What is left out is not null."""
    for described in schema["properties"].values():
        if described.get("default", ...) is None:
            del described["default"]


_CONFIG = ConfigDict(
    frozen=True,
    extra="forbid",
    strict=True,
    use_attribute_docstrings=True,
    json_schema_extra=_without_nulls,
)


class FormatEntry(BaseModel):
    """A codec at a sample rate and a bit rate."""

    model_config = _CONFIG

    codec: Codec
    """What the audio is encoded as."""
    sample_rate: SampleRateHz | SkipJsonSchema[None] = None
    """In Hz. Telephones use 8000 and 16000. The codec's default where nothing is written."""
    bitrate_kbps: BitrateKbps | SkipJsonSchema[None] = None
    """In kbit/s, for mp3, opus and aac. The codec's default where nothing is written."""


class _Terms(BaseModel):
    """What a file says for all of its phrases, and a phrase for itself."""

    model_config = _CONFIG

    language: LanguageName | SkipJsonSchema[None] = None
    """What it is read as: a tag such as en-us, or a letter of Kokoro's. By default that of each
    voice."""
    voices: Annotated[tuple[Voice, ...], Field(min_length=1)] | SkipJsonSchema[None] = None
    """Who says it, each of them: names of voices, or blends such as af_bella(2)+af_sky(1)."""
    speeds: Annotated[tuple[Speed, ...], Field(min_length=1)] | SkipJsonSchema[None] = None
    """How fast, each of them; 1.0 is the voice's own pace, and the default. Two decimals count."""
    formats: (
        Annotated[tuple[FormatName | FormatEntry, ...], Field(min_length=1)] | SkipJsonSchema[None]
    ) = None
    """What it is kept as, each of them: mp3, wav_8000, or {codec: wav, sample_rate: 8000}."""
    tags: tuple[Name, ...] | SkipJsonSchema[None] = None
    """Words to choose phrases by. They are added to those that are inherited."""
    priority: Priority | SkipJsonSchema[None] = None
    """What is higher is rendered first; 0 is the default."""
    slots: (
        dict[SlotName, Annotated[tuple[SlotValue, ...], Field(min_length=1)]] | SkipJsonSchema[None]
    ) = None
    """What is said in place of {name}, by name: the phrase is rendered with each of them."""


class PhraseEntry(_Terms):
    """A phrase, and what is different about it. All but `text` may be left out."""

    text: str
    """What is said. {name} is a slot, [pause:0.5s] a pause, [Kokoro](/kˈOkəɹO/) a word with its
    phonemes."""
    id: Name | SkipJsonSchema[None] = None
    """A name for it that no other phrase of the book has."""
    recording: RelativePath | SkipJsonSchema[None] = None
    """A file of audio to be heard in place of the engine's voice. Its path is relative to this
    file."""


class PhrasebookFile(_Terms):
    """A phrasebook of kokoro-edge, or a file that a phrasebook includes."""

    name: Name | SkipJsonSchema[None] = None
    """The book's name: letters, digits, - and _. A file that is only included needs none."""
    lexicon: dict[Word, Phonemes] | SkipJsonSchema[None] = None
    """Words and their phonemes, with or without slashes, for the whole book. English only."""
    include: Annotated[tuple[RelativePath, ...], Field(min_length=1)] | SkipJsonSchema[None] = None
    """Other files whose phrases come after those of this one. They inherit what they do not say
    themselves. Paths are relative to this file."""
    phrases: (
        Annotated[tuple[str | PhraseEntry, ...], Field(min_length=1)] | SkipJsonSchema[None]
    ) = None
    """What is said: texts, or mappings with a text and what is different about it."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a phrasebook's file, for editors."""
    described = PhrasebookFile.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **described,
        "title": "kokoro-edge phrasebook",
    }
