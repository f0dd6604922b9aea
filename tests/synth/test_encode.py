"""Every format, streamed and whole, read back by other people's decoders."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

import numpy as np
import pytest
import soundfile

from synth.audio.encode import FORMATS, Finished, Format, open_encoder
from synth.engine import SAMPLE_RATE_HZ, Pcm

every_format = pytest.mark.parametrize("name", FORMATS)

MP3_PADDING_SAMPLES = 3 * 1152
"""What a stream of MP3 may be longer than what went in: the codec's delay and its last frame."""


def speechlike(samples: int) -> Pcm:
    """A tone that swells and falls, so that a piece which is lost or moved is noticed."""
    times_s = np.arange(samples) / SAMPLE_RATE_HZ
    loudness = 4_000 + 8_000 * np.abs(np.sin(2 * np.pi * 1.3 * times_s))
    return np.asarray(loudness * np.sin(2 * np.pi * 330 * times_s), dtype=np.int16)


def encode(name: str, pcm: Pcm, writes: int = 1) -> tuple[bytes, Finished]:
    """The stream as a client gets it, and the end of the encoding."""
    encoder = open_encoder(FORMATS[name])
    stream = b"".join(encoder.write(part) for part in uneven(pcm, writes))
    finished = encoder.finish()
    return stream + finished.tail, finished


def uneven(pcm: Pcm, writes: int) -> Sequence[Pcm]:
    cuts = (np.linspace(0, 1, writes + 1)[1:-1] ** 2 * len(pcm)).astype(int)
    return np.split(pcm, cuts)


def decode(name: str, data: bytes) -> Pcm:
    if name == "pcm":
        return np.frombuffer(data, dtype="<i2").astype(np.int16)
    if name == "wav":
        with wave.open(io.BytesIO(data)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            assert file.getframerate() == SAMPLE_RATE_HZ
            frames = file.readframes(file.getnframes())
        return np.frombuffer(frames, dtype="<i2").astype(np.int16)
    pcm, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == SAMPLE_RATE_HZ and pcm.ndim == 1
    return np.asarray(pcm, dtype=np.int16)


def loudness(pcm: Pcm) -> float:
    return float(np.sqrt(np.mean(np.square(pcm.astype(np.float64)))))


def test_mp3_is_the_default() -> None:
    assert list(FORMATS) == ["mp3", "wav", "pcm"]


def test_a_format_without_an_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="'ogg'"):
        open_encoder(Format("ogg", "audio/ogg"))


@every_format
@pytest.mark.parametrize("writes", [1, 3, 17])
def test_the_whole_has_exactly_the_samples_that_went_in(name: str, writes: int) -> None:
    pcm = speechlike(30_011)
    _, finished = encode(name, pcm, writes)
    assert len(decode(name, finished.whole)) == len(pcm)


@every_format
@pytest.mark.parametrize("writes", [1, 3, 17])
def test_the_stream_has_all_samples_that_went_in(name: str, writes: int) -> None:
    pcm = speechlike(30_011)
    stream, _ = encode(name, pcm, writes)
    padding = MP3_PADDING_SAMPLES if name == "mp3" else 0
    assert 0 <= len(decode(name, stream)) - len(pcm) <= padding


@pytest.mark.parametrize("name", ["wav", "pcm"])
def test_what_is_not_compressed_is_not_changed(name: str) -> None:
    pcm = np.random.default_rng(0).integers(-(2**15), 2**15, 5_000).astype(np.int16)
    stream, finished = encode(name, pcm, 3)
    np.testing.assert_array_equal(decode(name, stream), pcm)
    np.testing.assert_array_equal(decode(name, finished.whole), pcm)


def test_mp3_sounds_like_what_went_in_and_begins_with_it() -> None:
    pcm = speechlike(48_000)
    _, finished = encode("mp3", pcm, 5)
    assert loudness(decode("mp3", finished.whole) - pcm) < 0.08 * loudness(pcm)


@pytest.mark.parametrize("writes", [1, 3, 17])
def test_a_stream_of_mp3_keeps_its_end(writes: int) -> None:
    pcm = speechlike(30_011)
    stream, _ = encode("mp3", pcm, writes)
    heard = decode("mp3", stream).astype(np.float64)
    shifts = range(MP3_PADDING_SAMPLES)
    end = pcm[-1_200:].astype(np.float64)
    matches = [
        np.dot(heard[len(pcm) - 1_200 + shift :][:1_200], end)
        for shift in shifts
        if len(pcm) + shift <= len(heard)
    ]
    assert max(matches) > 0.9 * np.dot(end, end)


def test_the_header_of_a_whole_wav_is_exact() -> None:
    pcm = speechlike(1_000)
    _, finished = encode("wav", pcm)
    assert len(finished.whole) == 44 + 2_000
    assert finished.whole[4:8] == (36 + 2_000).to_bytes(4, "little")
    assert finished.whole[40:44] == (2_000).to_bytes(4, "little")
    info = soundfile.info(io.BytesIO(finished.whole))
    assert (info.frames, info.samplerate, info.subtype) == (1_000, SAMPLE_RATE_HZ, "PCM_16")


def test_a_stream_differs_from_the_whole_in_its_header_alone() -> None:
    pcm = speechlike(12_345)
    stream, finished = encode("wav", pcm, 3)
    assert stream[44:] == finished.whole[44:]
    stream, finished = encode("mp3", pcm, 3)
    assert finished.whole.endswith(stream)
    assert encode("pcm", pcm, 3)[0] == encode("pcm", pcm, 3)[1].whole


@every_format
def test_a_stream_begins_before_the_encoding_ends(name: str) -> None:
    encoder = open_encoder(FORMATS[name])
    sent = [encoder.write(speechlike(SAMPLE_RATE_HZ)) for _ in range(3)]
    assert all(sent)
    encoder.finish()


@every_format
@pytest.mark.parametrize("samples", [1, 2, 100, 1_151, 1_152, 1_153])
def test_very_short_audio_is_kept(name: str, samples: int) -> None:
    pcm = speechlike(samples)
    stream, finished = encode(name, pcm)
    assert len(decode(name, finished.whole)) == samples
    assert len(decode(name, stream)) >= samples


@every_format
@pytest.mark.parametrize("writes", [0, 1, 3])
def test_no_audio_at_all_can_be_finished(name: str, writes: int) -> None:
    encoder = open_encoder(FORMATS[name])
    nothing = np.zeros(0, dtype=np.int16)
    stream = b"".join(encoder.write(nothing) for _ in range(writes))
    finished = encoder.finish()
    if name != "mp3":  # An MP3 of no frames is no file that anybody can open.
        assert len(decode(name, stream + finished.tail)) == 0
        assert len(decode(name, finished.whole)) == 0


@every_format
def test_empty_writes_change_nothing(name: str) -> None:
    pcm, nothing = speechlike(5_000), np.zeros(0, dtype=np.int16)
    encoder = open_encoder(FORMATS[name])
    stream = b"".join(encoder.write(part) for part in (nothing, pcm[:2_000], nothing, pcm[2_000:]))
    finished = encoder.finish()
    expected, expected_end = encode(name, pcm)
    assert stream + finished.tail == expected
    assert finished.whole == expected_end.whole


@every_format
def test_the_same_samples_give_the_same_bytes(name: str) -> None:
    pcm = speechlike(20_000)
    assert encode(name, pcm, 3) == encode(name, pcm, 3)


@every_format
def test_two_encodings_at_a_time_do_not_mix(name: str) -> None:
    pcm, other = speechlike(20_000), speechlike(20_000)[::-1].copy()
    first, second = open_encoder(FORMATS[name]), open_encoder(FORMATS[name])
    for begin in range(0, 20_000, 5_000):
        first.write(pcm[begin : begin + 5_000])
        second.write(other[begin : begin + 5_000])
    assert first.finish().whole == encode(name, pcm)[1].whole
    assert second.finish().whole == encode(name, other)[1].whole
