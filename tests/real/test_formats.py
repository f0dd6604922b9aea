"""The real voice in every format, as ffmpeg decodes it: all of it, in time, word for word."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from urllib.request import Request, urlopen

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

from synth.audio.codecs import CODECS
from synth.audio.encode import open_encoder
from synth.audio.formats import FORMATS, format_named
from synth.engine import SAMPLE_RATE_HZ, Pcm
from tests.real.recogniser import Recogniser, word_error_rate
from tests.real.server import Server

TEXT = "Thank you for calling the front desk. Your table is booked for seven. Anything else?"

WRITE_SAMPLES = 30_000
"""A sentence or so at a time, as a reply is made."""

MP3_STREAM_MAY_BE_LONGER_S = {8_000: 0.056}
"""By sample rate in Hz. A stream of MP3 cannot tell its end, and at 8 kHz a frame has 72 ms."""

MP3_STREAM_MAY_BE_SHORTER_S = 0.018
"""A last frame that is nearly all padding is left out, and with it so much of the silence."""

pytestmark = pytest.mark.long

LOWEST_AND_DEFAULT = sorted(
    {
        name
        for codec in CODECS.values()
        for name in (codec.name, f"{codec.name}_{codec.sample_rates_hz[0]}")
    }
    | {"mp3_8000_24k", "opus_8000_12k"}
)

Samples = npt.NDArray[np.float64]
Decode = Callable[[str, str, int], Samples]


@pytest.fixture(scope="module")
def pcm(server: Server) -> Pcm:
    """Three sentences and the pauses between them, as the engine makes them."""
    body = {"input": TEXT, "voice": "af_bella", "response_format": "pcm"}
    request = Request(
        f"{server.url}/v1/audio/speech",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=120) as answer:
        return np.frombuffer(answer.read(), "<i2").astype(np.int16)


@pytest.fixture(scope="module")
def decode(pcm: Pcm) -> Decode:
    """What ffmpeg makes of the stream or of the whole of a format, at a rate in Hz."""
    if shutil.which("ffmpeg") is None:
        pytest.fail("ffmpeg is not installed: apt-get install ffmpeg, or scripts/setup test")

    @cache
    def encoded(name: str) -> dict[str, bytes]:
        encoder = open_encoder(format_named(name))
        cuts = range(WRITE_SAMPLES, len(pcm), WRITE_SAMPLES)
        stream = b"".join(encoder.write(part) for part in np.split(pcm, cuts))
        finished = encoder.finish()
        return {"stream": stream + finished.tail, "whole": finished.whole}

    @cache
    def decoded(name: str, what: str, rate_hz: int) -> Samples:
        return _by_ffmpeg(name, encoded(name)[what], rate_hz)

    return decoded


def _by_ffmpeg(name: str, data: bytes, rate_hz: int) -> Samples:
    format = format_named(name)
    raw = {"pcm": "s16le", "l16": "s16le", "ulaw": "mulaw", "alaw": "alaw"}.get(format.codec)
    told = ["-f", raw, "-ar", str(format.sample_rate_hz), "-ac", "1"] if raw else []
    command = ["ffmpeg", "-v", "fatal", *told, "-i", "-", "-f", "s16le", "-ar", str(rate_hz), "-"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, "<i2").astype(np.float64)


def rate_of(name: str) -> int:
    """The rate that a decoder puts out, in Hz."""
    format = format_named(name)
    return 48_000 if format.codec == "opus" else format.sample_rate_hz


def at_rate(pcm: Pcm, rate_hz: int) -> Samples:
    samples: Samples = soxr.resample(pcm.astype(np.float64), SAMPLE_RATE_HZ, rate_hz)
    return samples


def lag_of(heard: Samples, expected: Samples) -> int:
    """How many samples later it is heard than it went in."""
    length = 1 << (len(heard) + len(expected)).bit_length()
    product = np.fft.rfft(heard, length) * np.conj(np.fft.rfft(expected, length))
    lag = int(np.argmax(np.fft.irfft(product, length)))
    return lag if lag < length // 2 else lag - length


@pytest.mark.parametrize("name", FORMATS)
def test_the_kept_file_lasts_as_long_as_the_speech_and_begins_with_it(
    name: str, pcm: Pcm, decode: Decode
) -> None:
    rate_hz = rate_of(name)
    heard, expected = decode(name, "whole", rate_hz), at_rate(pcm, rate_hz)
    assert len(heard) / rate_hz == pytest.approx(len(pcm) / SAMPLE_RATE_HZ, abs=0.02)
    assert abs(lag_of(heard, expected)) / rate_hz < 0.002


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_has_all_of_the_speech(name: str, pcm: Pcm, decode: Decode) -> None:
    rate_hz = rate_of(name)
    heard, whole = decode(name, "stream", rate_hz), decode(name, "whole", rate_hz)
    spare_s, missing_s = 0.02, 0.005
    if FORMATS[name].codec == "mp3":
        spare_s = MP3_STREAM_MAY_BE_LONGER_S.get(rate_hz, 0.02)
        missing_s = MP3_STREAM_MAY_BE_SHORTER_S
    longer_s = len(heard) / rate_hz - len(pcm) / SAMPLE_RATE_HZ
    assert -missing_s < longer_s < spare_s
    same = min(len(heard), len(whole))
    assert np.abs(heard[:same] - whole[:same]).max() <= 2
    assert np.abs(whole[same:]).max(initial=0) < 330  # Nobody hears it: it is under -40 dBFS.


@pytest.mark.parametrize("name", [*FORMATS, "mp3_8000_24k"])
def test_nothing_clicks_and_nothing_is_missing(name: str, pcm: Pcm, decode: Decode) -> None:
    rate_hz = rate_of(name)
    expected = at_rate(pcm, rate_hz)
    own_hz = format_named(name).sample_rate_hz
    if own_hz < rate_hz:  # Opus of a lower rate is band-limited, and put out at 48 kHz.
        expected = soxr.resample(at_rate(pcm, own_hz), own_hz, rate_hz)
    heard = decode(name, "whole", rate_hz)[: len(expected)]
    # A click is a step that no speech has; a gap is a frame whose sound is gone.
    assert np.abs(np.diff(heard)).max() < 1.4 * np.abs(np.diff(expected)).max() + 200
    frame = rate_hz // 50
    count = len(heard) // frame
    loud = loudness(expected[: count * frame].reshape(count, frame))
    there = loudness(heard[: count * frame].reshape(count, frame))
    audible = loud > 300
    assert audible.sum() > 50
    # LAME leaves out what is above 3 kHz at 8 kHz, whatever its bit rate: half of an "s".
    assert (there[audible] > 0.35 * loud[audible]).all()
    assert (there[loud < 30] < 150).all()


def loudness(frames: Samples) -> Samples:
    rms: Samples = np.sqrt(np.mean(np.square(frames), axis=-1))
    return rms


@pytest.mark.parametrize(
    "name", [name for name in FORMATS if FORMATS[name].sample_rate_hz == 8_000]
)
def test_at_8_khz_there_is_nothing_above_4_khz_and_nothing_that_was_folded_down(
    name: str, pcm: Pcm, decode: Decode
) -> None:
    rate_hz = rate_of(name)
    # Not by ffmpeg: its own resampler lets through what this looks for.
    heard = soxr.resample(decode(name, "whole", rate_hz), rate_hz, 48_000)
    source = at_rate(pcm, 48_000)
    length = min(len(heard), len(source))
    spectrum, expected = (np.abs(np.fft.rfft(each[:length])) ** 2 for each in (heard, source))
    hz = np.fft.rfftfreq(length, 1 / 48_000)
    assert spectrum[hz > 4_200].sum() < 1e-5 * spectrum.sum()
    # What is between 4 and 4.4 kHz would be folded to what is between 3.6 and 4.
    top, over = (hz > 3_600) & (hz < 3_950), hz > 4_050
    assert expected[over].sum() > 1e-4 * expected.sum(), "the voice has nothing there to fold"
    quantised = 1e-3 if "law" in name or FORMATS[name].bitrate_kbps else 1e-6
    assert spectrum[top].sum() < 1.05 * expected[top].sum() + quantised * expected.sum()


@pytest.fixture(scope="module")
def transcribe(recogniser: Recogniser) -> Callable[[bytes], str]:
    """What is heard in 16 kHz samples. The same samples are listened to but once."""

    @cache
    def heard(samples: bytes) -> str:
        file = io.BytesIO()
        soundfile.write(file, np.frombuffer(samples, np.int16), 16_000, format="WAV")
        return recogniser.hear(file.getvalue()).text

    return heard


@pytest.mark.parametrize(
    ("name", "what"), [*((name, "whole") for name in LOWEST_AND_DEFAULT), ("mp3_8000", "stream")]
)
def test_every_codec_is_understood_word_for_word(
    name: str, what: str, decode: Decode, transcribe: Callable[[bytes], str]
) -> None:
    heard = transcribe(decode(name, what, 16_000).astype(np.int16).tobytes())
    assert word_error_rate([TEXT], [heard]) == 0, heard
