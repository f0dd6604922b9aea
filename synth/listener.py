"""The listening process: `python -m synth.listener`, started and asked by `synth.verify`.

It writes down what is said in a clip, one at a time, over `synth.wire`. Its parent's end is its own
end.

A question is `{"language": "a"}`, the code of one of `synth.voices.LANGUAGES`, and the clip's
samples. It is answered with `{"event": "heard", "text": "...", "until_s": 1.2}`, with
`{"event": "unknown language"}`, or with `{"event": "failed", "message": "..."}`.
"""

from __future__ import annotations

import argparse
import logging
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr

from synth import wire
from synth.child import Parent
from synth.engine import SAMPLE_RATE_HZ, Pcm
from synth.voices import LANGUAGES

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

NICENESS = 10
"""Behind the engine processes: a clip that is waited for goes before one that is checked."""

_RATE_HZ = 16_000
_FULL_SCALE = 32_768
_SILENCE_S = 0.5
_THREADS = 2
_BEAMS = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """What the model made of a clip."""

    text: str
    """Empty where it heard no speech."""
    until_s: float
    """When the last word ends, from the clip's first sample. Nothing that follows was words."""


class Listener:
    """A Whisper model, loaded. Blocking; not thread-safe."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model

    def knows(self, language: str) -> bool:
        """Whether the model was trained on the language, by its code."""
        return _tag(language) in self._model.supported_languages

    def hear(self, pcm: Pcm, language: str) -> Heard:
        """What is said, as the model spells it."""
        samples = soxr.resample(pcm.astype(np.float32) / _FULL_SCALE, SAMPLE_RATE_HZ, _RATE_HZ)
        # A clip begins and ends with its first and last sound; Whisper is used to more.
        padded = np.pad(samples, round(_SILENCE_S * _RATE_HZ))
        found, _ = self._model.transcribe(
            padded,
            language=_tag(language),
            beam_size=_BEAMS,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        parts = list(found)
        ends_s = [word.end for part in parts for word in part.words if _is_said(word.word)]
        until_s = float(max(ends_s, default=_SILENCE_S)) - _SILENCE_S
        return Heard(" ".join(part.text.strip() for part in parts), until_s)


def main() -> None:
    options = _parse_options()
    parent = Parent.on_standard_streams(NICENESS)
    listener = _load(options.model, parent)
    while True:
        parent.send(_answer(listener, *parent.next_request()))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="synth.listener", description=__doc__)
    parser.add_argument(
        "--model", required=True, help="a folder with a model, or a name that faster-whisper knows"
    )
    return parser.parse_args()


def _load(model: str, parent: Parent) -> Listener:
    """Load the model; tell the parent how it went."""
    try:
        if Path(model).is_absolute() and not Path(model).is_dir():
            # It would be taken for a name, and asked for on the network.
            raise FileNotFoundError(f"there is no folder {model}")
        from faster_whisper import WhisperModel  # Slow, and the parent waits for what goes wrong.

        # It tells of every clip, and of what it downloads, which the parent's log has no use for.
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        listener = Listener(
            WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=_THREADS)
        )
    except Exception as error:
        parent.fail(_one_line(error))
    parent.send(wire.pack({"event": "ready", "device": "cpu"}))
    return listener


def _answer(listener: Listener, question: wire.Header, body: bytes) -> bytes:
    language = question["language"]
    if not listener.knows(language):
        return wire.pack({"event": "unknown language"})
    try:
        heard = listener.hear(np.frombuffer(body, dtype=np.int16), language)
    except Exception as error:
        traceback.print_exc()
        return wire.pack({"event": "failed", "message": _one_line(error)})
    return wire.pack({"event": "heard", **asdict(heard)})


def _is_said(word: str) -> bool:
    """Dots are written for what is no word."""
    return any(character.isalnum() for character in word)


def _tag(language: str) -> str:
    """As Whisper names languages: without the country."""
    return LANGUAGES[language].tag.partition("-")[0]


def _one_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


if __name__ == "__main__":
    main()
