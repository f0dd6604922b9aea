"""The plain way to render phrases: one after the other through kokoro's own `KPipeline`.

What `scripts/bench warm` holds `kokoro-edge warm` against. `warm_plain.py ASKED MEASURED` reads
what to say from one file of JSON and writes how it went to the other. Nothing is cached, trimmed,
checked, encoded or kept.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from synth.audio.check import Samples
from synth.audio.trim import AUDIBLE, trim
from synth.engine import SAMPLE_RATE_HZ
from synth.voices import parse_voice
from synth.weights.sources import CONFIG_FILE, MODEL_FILE, REPOSITORY, voice_file
from synth.worker import NICENESS

_FIRST_TEXT = "Ready."
_WAV_HEADER_BYTES = 44


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something to say."""

    text: str
    """Without marks."""
    voice: str
    """A voice or a blend."""
    language: str
    """A code."""
    speed: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What to do, and with what."""

    weights: Path
    """A folder in the layout of the hub's repository."""
    device: str
    threads: int
    """0 leaves it to torch."""
    phrases: list[Phrase]


@dataclass(frozen=True, slots=True)
class Measured:
    """How it went."""

    phrases: int
    loaded_s: float
    """Until the first phrase: imports, the model, its first pass in every language."""
    took_s: float
    audio_s: float
    """As the model makes it, with silence around each phrase."""
    speech_s: float
    """The same, trimmed as the server does it."""
    wav_bytes: int
    """What it takes as files of 16 bits at 24 kHz."""


ASKED = TypeAdapter(Asked)
MEASURED = TypeAdapter(Measured)


def speak(asked: Asked, began_s: float) -> Measured:
    """Say all of it. `began_s` is when the process began, by `time.perf_counter`."""
    warnings.filterwarnings("ignore", module=r"torch\.nn\.")
    import torch
    from kokoro import KModel, KPipeline

    from synth.text.phonemes import use_installed_spacy_model

    if asked.threads:
        torch.set_num_threads(asked.threads)
    on_gpu = asked.device != "cpu" and torch.cuda.is_available()
    use_installed_spacy_model()
    config, checkpoint = asked.weights / CONFIG_FILE, asked.weights / MODEL_FILE
    model = KModel(REPOSITORY, config=str(config), model=str(checkpoint))
    model = model.to("cuda" if on_gpu else "cpu").eval()
    packs = {
        voice: sum(
            share * torch.load(asked.weights / voice_file(name), weights_only=True)
            for name, share in parse_voice(voice).blend.shares()
        )
        for voice in {phrase.voice for phrase in asked.phrases}
    }
    languages = {phrase.language: phrase.voice for phrase in asked.phrases}
    pipelines = {code: KPipeline(code, repo_id=REPOSITORY, model=model) for code in languages}

    def say(text: str, voice: str, language: str, speed: float) -> Samples:
        results = pipelines[language](text, voice=packs[voice], speed=speed)
        return np.concatenate([result.audio.numpy() for result in results])

    for language, voice in languages.items():
        say(_FIRST_TEXT, voice, language, 1.0)
    loaded_s = time.perf_counter() - began_s
    took_s = audio_s = speech_s = 0.0
    wav_bytes = 0
    for phrase in asked.phrases:
        phrase_began_s = time.perf_counter()
        samples = say(phrase.text, phrase.voice, phrase.language, phrase.speed)
        took_s += time.perf_counter() - phrase_began_s
        audio_s += len(samples) / SAMPLE_RATE_HZ
        speech_s += speech_in(samples, phrase.speed)
        wav_bytes += _WAV_HEADER_BYTES + 2 * len(samples)
    return Measured(len(asked.phrases), loaded_s, took_s, audio_s, speech_s, wav_bytes)


def speech_in(samples: Samples, speed: float) -> float:
    """Seconds, without the silence at both ends."""
    if not (np.abs(samples) > AUDIBLE).any():
        return 0.0
    return len(trim(samples, speed).samples) / SAMPLE_RATE_HZ


def main() -> None:
    began_s = time.perf_counter()
    os.nice(NICENESS)  # As the engine's process has it.
    asked = ASKED.validate_json(Path(sys.argv[1]).read_bytes())
    measured = speak(asked, began_s)
    Path(sys.argv[2]).write_bytes(MEASURED.dump_json(measured))


if __name__ == "__main__":
    main()
