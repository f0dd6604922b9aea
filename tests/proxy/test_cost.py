"""What rendering comes to, before it is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from proxy.phrasebook.cost import LastWarmUp, file_bytes, speech_s
from synth.audio.encode import open_encoder
from synth.audio.formats import FORMATS
from synth.engine import SAMPLE_RATE_HZ


@pytest.mark.parametrize("format", FORMATS)
def test_the_size_of_a_file_is_foreseen(format: str) -> None:
    times_s = np.arange(4 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    pcm = (8_000 * np.sin(2 * np.pi * 440 * times_s)).astype(np.int16)
    encoder = open_encoder(FORMATS[format])
    encoder.write(pcm)
    size_bytes = len(encoder.finish().whole)
    if FORMATS[format].codec == "flac":  # It makes more of speech than of a tone.
        size_bytes = 2 * 4 * FORMATS[format].sample_rate_hz // 2
        assert file_bytes(4.0, format) == pytest.approx(size_bytes, rel=0.45)
        return
    assert file_bytes(4.0, format) == pytest.approx(size_bytes, rel=0.1)


def test_the_size_of_a_file_is_foreseen_by_its_bit_rate() -> None:
    assert file_bytes(10.0, "mp3_160k") - file_bytes(10.0, "mp3_80k") == 100_000


@pytest.mark.parametrize(
    ("text", "measured_s"),
    [  # af_bella, bf_emma, ff_siwis and if_sara, as they say it.
        ("Okay.", 0.6),
        ("Thank you for your patience.", 1.7),
        ("Merci de votre appel. Comment puis-je vous aider ?", 2.5),
        ("Grazie per la pazienza.", 1.6),
    ],
)
def test_the_length_of_speech_is_foreseen_roughly(text: str, measured_s: float) -> None:
    assert speech_s(text) == pytest.approx(measured_s, rel=0.35)
    assert speech_s(text, speed=2.0) == speech_s(text) / 2


def test_what_is_remembered_of_a_warm_up_is_read_back(tmp_path: Path) -> None:
    last = LastWarmUp(ended_at_s=1.5, took_s=2.0, audio_s=0.0, pace=None)
    last.save(tmp_path / "last.json")
    assert LastWarmUp.load(tmp_path / "last.json") == last


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"ended_at_s": "now"}', b"\xff"])
def test_what_is_not_is_as_good_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.json").write_bytes(content)
    assert LastWarmUp.load(tmp_path / "last.json") is None
    assert LastWarmUp.load(tmp_path / "nowhere.json") is None
