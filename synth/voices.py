"""The voices and languages of Kokoro-82M, and blends of voices.

A voice's name says what it is: `af_bella` is American (`a`), female (`f`), Bella.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from importlib.util import find_spec
from math import gcd, lcm

DEFAULT_VOICE = "af_bella"

MAX_BLENDED_VOICES = 8

_MAX_WEIGHT = 999_999_999
"""In lowest terms, so that `parse_voice` reads every canonical spelling back."""


class UnknownVoice(ValueError):
    """The voice named is none of ours, or the blend cannot be read."""


class UnknownLanguage(ValueError):
    """The language code is none of ours, or its extra is not installed."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language that Kokoro speaks."""

    code: str
    """The letter that Kokoro and its voices use."""
    tag: str
    """BCP 47, as `KPipeline` accepts it."""
    name: str
    scripts: tuple[str, ...]
    """Unicode scripts that its G2P reads, beside digits and punctuation."""
    extra: str | None = None
    """The optional dependency of kokoro-edge that its G2P needs."""
    needs: tuple[str, ...] = ()
    """The import packages that this extra brings."""

    def installed(self) -> bool:
        return _importable(self.needs)


@cache
def _importable(packages: tuple[str, ...]) -> bool:
    return all(find_spec(package) is not None for package in packages)


_LATIN = ("Latin", "Greek")

LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("a", "en-us", "American English", _LATIN),
        Language("b", "en-gb", "British English", _LATIN),
        Language("e", "es", "Spanish", _LATIN),
        Language("f", "fr-fr", "French", _LATIN),
        Language("h", "hi", "Hindi", ("Devanagari", *_LATIN)),
        Language("i", "it", "Italian", _LATIN),
        Language(
            "j",
            "ja",
            "Japanese",
            ("Han", "Hiragana", "Katakana", *_LATIN),
            extra="ja",
            needs=("fugashi", "pyopenjtalk", "unidic_lite"),
        ),
        Language("p", "pt-br", "Brazilian Portuguese", _LATIN),
        Language(
            "z", "zh", "Mandarin Chinese", ("Han", *_LATIN), extra="zh", needs=("jieba", "pypinyin")
        ),
    )
}

_GENDERS = {"f": "female", "m": "male"}


@dataclass(frozen=True, slots=True)
class Voice:
    """One of the 54 voices of Kokoro-82M v1.0."""

    name: str

    @property
    def language(self) -> Language:
        return LANGUAGES[self.name[0]]

    @property
    def accent(self) -> str:
        """The language as the voice speaks it, e.g. "British English"."""
        return self.language.name

    @property
    def gender(self) -> str:
        return _GENDERS[self.name[1]]

    @property
    def title(self) -> str:
        """The name for people, e.g. "Bella"."""
        return self.name.partition("_")[2].capitalize()


VOICES: dict[str, Voice] = {
    name: Voice(name)
    for name in (
        "af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river "
        "af_sarah af_sky am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck "
        "am_santa bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis "
        "ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola "
        "jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa "
        "zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang"
    ).split()
}


@dataclass(frozen=True, slots=True)
class Blend:
    """Voices mixed by weight. One voice by itself is a blend of one.

    Two blends that sound the same are equal: parts are sorted by name, a voice named twice is
    added up, and weights are whole numbers in lowest terms.
    """

    parts: tuple[tuple[str, int], ...]

    @property
    def voices(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.parts)

    def shares(self) -> tuple[tuple[str, float], ...]:
        """Each voice with its share of the whole; the shares add up to 1."""
        total = sum(weight for _, weight in self.parts)
        return tuple((name, weight / total) for name, weight in self.parts)

    def __str__(self) -> str:
        """The canonical spelling, which `parse_voice` reads back."""
        if all(weight == 1 for _, weight in self.parts):
            return "+".join(self.voices)
        return "+".join(f"{name}({weight})" for name, weight in self.parts)


@dataclass(frozen=True, slots=True)
class ChosenVoice:
    """What a caller asked for: the blend, and the language that goes with it."""

    blend: Blend
    language: Language
    """That of the voice named first."""


_PART = re.compile(r"(?P<name>[^()+\s]+)(?:\s*\(\s*(?P<weight>\d{1,9}(?:\.\d{1,4})?)\s*\))?")


@lru_cache(maxsize=1024)
def parse_voice(spec: str) -> ChosenVoice:
    """Read `af_bella`, `af_bella+af_sky` or `af_bella(2)+af_sky(1)`.

    Raises:
        UnknownVoice: a name is not one of `VOICES`, a weight is not a positive number, or the
            whole cannot be read. The message says which, and names near matches.
    """
    weights: dict[str, Fraction] = {}
    pieces = spec.split("+")
    if len(pieces) > MAX_BLENDED_VOICES:
        raise UnknownVoice(
            f"A blend may have {MAX_BLENDED_VOICES} voices at most; this one has {len(pieces)}."
        )
    for piece in pieces:
        match = _PART.fullmatch(piece.strip())
        if match is None:
            raise UnknownVoice(
                f"Cannot read the voice {_shown(piece)}. "
                "Write a voice name, or a blend such as 'af_bella(2)+af_sky(1)'."
            )
        name, weight = match["name"], Fraction(match["weight"] or 1)
        if name not in VOICES:
            raise UnknownVoice(f"There is no voice {_shown(name)}.{near(name, VOICES)}")
        if weight <= 0:
            raise UnknownVoice(f"The weight of {name} in a blend must be above 0.")
        weights[name] = weights.get(name, Fraction(0)) + weight
    blend = _lowest_terms(weights)
    if max(weight for _, weight in blend.parts) > _MAX_WEIGHT:
        raise UnknownVoice("The weights of this blend are too far apart. Write simpler ones.")
    return ChosenVoice(blend, VOICES[next(iter(weights))].language)


def parse_language(code: str) -> Language:
    """Read Kokoro's letter (`b`) or its tag (`en-gb`; `fr` for `fr-fr`), in either case.

    Raises:
        UnknownLanguage: it is neither, or the extra it needs is not installed.
    """
    folded = code.strip().lower().replace("_", "-")
    for language in LANGUAGES.values():
        if folded in (language.code, language.tag, _SHORT_TAGS.get(language.code)):
            require_installed(language)
            return language
    known = ", ".join(f"{item.code} ({item.tag})" for item in LANGUAGES.values())
    raise UnknownLanguage(f"There is no language {_shown(code)}. Known are: {known}.")


_SHORT_TAGS = {
    code: language.tag.partition("-")[0]
    for code, language in LANGUAGES.items()
    if not language.tag.startswith("en-")
}
"""`fr` for `fr-fr`. English alone is spoken in two ways."""


def require_installed(language: Language) -> None:
    """Raise `UnknownLanguage` naming the extra to install, where one is missing."""
    if not language.installed():
        raise UnknownLanguage(
            f"{language.name} (lang_code {language.code!r}) is not installed on this server. "
            f"Install it with: pip install 'kokoro-edge[{language.extra}]'"
        )


def near(name: str, known: Iterable[str]) -> str:
    """A sentence, with a leading blank, that offers what `name` may have meant; or nothing."""
    matches = difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""


def _lowest_terms(weights: dict[str, Fraction]) -> Blend:
    scale = lcm(*(weight.denominator for weight in weights.values()))
    whole = {name: int(weight * scale) for name, weight in weights.items()}
    divisor = gcd(*whole.values())
    return Blend(tuple((name, whole[name] // divisor) for name in sorted(whole)))


def _shown(text: str, limit: int = 60) -> str:
    """Quote what the user wrote, without letting it flood the message."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
