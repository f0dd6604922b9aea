"""Every format, streamed and whole, read back by other people's decoders."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from synth.audio.codecs import CODECS
from synth.audio.encode import open_encoder
from synth.audio.formats import FORMATS, format_of
from synth.engine import SAMPLE_RATE_HZ, Pcm
from tests.synth.decoding import (
    decode,
    decode_by_ffmpeg,
    encode,
    resampled,
    samples_of,
    speechlike,
)

every_format = pytest.mark.parametrize("name", FORMATS)
every_codec = pytest.mark.parametrize("name", CODECS)
every_lossy_format = pytest.mark.parametrize(
    "name", [name for name, format in FORMATS.items() if format.bitrate_kbps]
)

MP3_DELAY_SAMPLES = 576 + 529
"""The encoder's and the decoder's. libsndfile hears them in a stream, which has no length."""

MP3_PADDING_SAMPLES = MP3_DELAY_SAMPLES + 2 * 1152
"""What libsndfile may make of a stream of MP3 more than what went in."""

MP3_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)

EMPTY_IS_NO_FILE = {"mp3", "opus", "aac", "flac"}
"""Codecs of which a file that has no frame is nothing that anybody can open."""


def may_be_longer(name: str) -> tuple[int, int]:
    """How many samples the whole may have more than what went in: at least, at most."""
    format = FORMATS[name]
    if format.codec != "aac":
        return 0, 0
    return -round(0.0045 * format.sample_rate_hz), round(0.019 * format.sample_rate_hz)


def assert_lasts(name: str, heard_samples: int, expected: int, padding: int = 0) -> None:
    least, most = may_be_longer(name)
    assert least <= heard_samples - expected <= most + padding


# How long it is.


@every_format
@pytest.mark.parametrize("writes", [1, 17])
@pytest.mark.parametrize("samples", [30_011, 24_576])
def test_the_whole_and_the_stream_last_as_long_as_what_went_in(
    name: str, writes: int, samples: int
) -> None:
    pcm = speechlike(samples)
    stream, finished = encode(name, pcm, writes)
    expected = samples_of(name, pcm)
    assert_lasts(name, len(decode(name, finished.whole)), expected)
    padding = MP3_PADDING_SAMPLES if FORMATS[name].codec == "mp3" else 0
    assert_lasts(name, len(decode(name, stream)), expected, padding)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_aac_of_any_length_is_right_to_20_ms_and_is_never_cut_by_more_than_it_fades(
    rate_hz: int,
) -> None:
    frame = round(1024 * SAMPLE_RATE_HZ / rate_hz)
    for samples in range(12_000, 12_000 + frame, 29):
        name = f"aac_{rate_hz}"
        heard = decode(name, encode(name, speechlike(samples))[0])
        assert -0.0045 < len(heard) / rate_hz - samples / SAMPLE_RATE_HZ < 0.0195


@every_format
@pytest.mark.parametrize("samples", [1, 2, 100, 1_153])
def test_very_short_audio_is_kept(name: str, samples: int) -> None:
    pcm = speechlike(samples)
    stream, finished = encode(name, pcm)
    expected = samples_of(name, pcm)
    codec = FORMATS[name].codec
    if not expected and codec in EMPTY_IS_NO_FILE:
        return
    if codec == "aac":
        assert decode(name, stream).size >= min(expected, 1024)
        return
    assert len(decode(name, finished.whole)) == expected
    assert len(decode(name, stream)) >= expected


@every_format
@pytest.mark.parametrize("writes", [0, 3])
def test_no_audio_at_all_can_be_finished(name: str, writes: int) -> None:
    encoder = open_encoder(FORMATS[name])
    nothing = np.zeros(0, dtype=np.int16)
    stream = b"".join(encoder.write(nothing) for _ in range(writes))
    finished = encoder.finish()
    if FORMATS[name].codec not in EMPTY_IS_NO_FILE:
        assert len(decode(name, stream + finished.tail)) == 0
        assert len(decode(name, finished.whole)) == 0


# A stream of MP3 does not know its length.


@pytest.mark.parametrize("rate_hz", MP3_RATES_HZ)
@pytest.mark.parametrize("container", ["mp3", None])
def test_a_stream_of_mp3_is_as_long_as_the_audio_as_ffmpeg_decodes_it(
    rate_hz: int, container: str | None
) -> None:
    name = f"mp3_{rate_hz}"
    for samples in range(24_000, 24_000 + 1_728, 143):  # A frame of the lowest rate.
        pcm = ended(speechlike(samples))
        heard = decode_by_ffmpeg(encode(name, pcm, 3)[0], rate_hz, container)
        longer_s = (len(heard) - samples_of(name, pcm)) / rate_hz
        assert -0.018 < longer_s < (0.02 if rate_hz > 8_000 else 0.056)
        if rate_hz > 16_000:
            assert longer_s > -0.008


@pytest.mark.parametrize("rate_hz", MP3_RATES_HZ)
def test_a_stream_of_mp3_is_the_whole_to_the_sample_as_ffmpeg_decodes_it(rate_hz: int) -> None:
    for samples in range(24_000, 24_000 + 1_728, 433):
        stream, finished = encode(f"mp3_{rate_hz}", ended(speechlike(samples)), 3)
        frame = finished.whole.index(finished.whole[:3], 1)
        assert finished.whole[frame:].startswith(stream[frame:])
        streamed = decode_by_ffmpeg(stream, rate_hz)
        whole = decode_by_ffmpeg(finished.whole, rate_hz)
        assert distance(whole[: len(streamed)], streamed[: len(whole)]) <= 1


@pytest.mark.parametrize("rate_hz", MP3_RATES_HZ)
def test_a_stream_of_mp3_that_ends_in_sound_has_all_of_it(rate_hz: int) -> None:
    name = f"mp3_{rate_hz}"
    for samples in [2, 100, *range(9_000, 9_000 + 1_728, 143)]:
        pcm = np.full(samples, 8_000, np.int16)
        heard = decode_by_ffmpeg(encode(name, pcm, 3)[0], rate_hz, "mp3")
        assert len(heard) >= samples_of(name, pcm)


@pytest.mark.parametrize("rate_hz", MP3_RATES_HZ)
def test_libsndfile_hears_all_of_a_long_stream_of_mp3(rate_hz: int) -> None:
    name = f"mp3_{rate_hz}"
    pcm = ended(speechlike(20 * SAMPLE_RATE_HZ))
    heard = decode(name, encode(name, pcm, 3)[0])
    longer = len(heard) - samples_of(name, pcm) - MP3_DELAY_SAMPLES
    assert -0.018 < longer / rate_hz < 0.056


def ended(pcm: Pcm) -> Pcm:
    """With 40 ms in which next to nothing is heard, as at the end of a reply."""
    pcm = pcm.copy()
    pcm[-SAMPLE_RATE_HZ // 25 :] //= 200
    return pcm


# What is heard.


@pytest.mark.parametrize("name", ["wav", "pcm", "l16", "flac"])
def test_what_is_not_compressed_with_a_loss_is_not_changed(name: str) -> None:
    pcm = np.random.default_rng(0).integers(-(2**15), 2**15, 5_000).astype(np.int16)
    stream, finished = encode(name, pcm, 3)
    np.testing.assert_array_equal(decode(name, stream), pcm)
    np.testing.assert_array_equal(decode(name, finished.whole), pcm)


@pytest.mark.parametrize("name", ["ulaw", "alaw", "wav_ulaw", "wav_alaw", "wav_ulaw_16000"])
def test_the_steps_of_g711_are_a_thirtieth_of_the_sample_at_most(name: str) -> None:
    pcm = speechlike(30_011)
    stream, finished = encode(name, pcm, 5)
    expected = resampled(name, pcm).astype(np.int64)
    for heard in (decode(name, stream), decode(name, finished.whole)):
        off = np.abs(heard - expected)
        assert (off <= np.abs(expected) / 30 + 8).all()


@every_lossy_format
def test_what_is_compressed_sounds_like_what_went_in_and_begins_with_it(name: str) -> None:
    pcm = speechlike(48_000)
    heard = decode(name, encode(name, pcm, 5)[1].whole).astype(np.float64)
    expected = resampled(name, pcm).astype(np.float64)
    length = min(len(heard), len(expected))
    # Aligned to the sample: the same wave a quarter of a period later has a likeness of 0.
    assert likeness(heard[:length], expected[:length]) > 0.97
    begin = slice(FORMATS[name].sample_rate_hz // 20)
    assert likeness(heard[begin], expected[begin]) > 0.85


@every_lossy_format
@pytest.mark.parametrize("writes", [1, 17])
def test_a_stream_keeps_its_end(name: str, writes: int) -> None:
    pcm = speechlike(30_011)
    heard = decode(name, encode(name, pcm, writes)[0]).astype(np.float64)
    expected = resampled(name, pcm).astype(np.float64)
    length = FORMATS[name].sample_rate_hz // 20
    end = expected[-length:]
    # libsndfile begins a stream of MP3 later, and of AAC the last 4 ms may be missing.
    heard = np.concatenate([heard, np.zeros(length // 10)])
    begins = range(len(expected) - length, len(heard) - length + 1)
    assert max(np.dot(heard[begin : begin + length], end) for begin in begins) > 0.9 * np.dot(
        end, end
    )


@every_format
def test_a_stream_sounds_like_the_whole(name: str) -> None:
    stream, finished = encode(name, speechlike(30_011), 5)
    streamed, whole = decode(name, stream), decode(name, finished.whole)
    if FORMATS[name].codec == "mp3":
        assert distance(streamed[MP3_DELAY_SAMPLES:], whole) <= 1
        return
    np.testing.assert_array_equal(streamed, whole)


def likeness(heard: np.ndarray, expected: np.ndarray) -> float:
    """1 for the same wave, however loud; 0 for another one."""
    return float(np.dot(heard, expected) / np.linalg.norm(heard) / np.linalg.norm(expected))


def distance(heard: np.ndarray, expected: np.ndarray) -> int:
    """The widest that any two samples are apart."""
    return int(np.abs(heard[: len(expected)].astype(int) - expected).max())


# The bytes.


@every_format
def test_a_stream_differs_from_the_whole_in_its_header_alone(name: str) -> None:
    stream, finished = encode(name, speechlike(12_345), 3)
    whole = finished.whole
    match FORMATS[name].codec:
        case "mp3":  # Its one frame that holds no audio.
            frame = whole.index(whole[:3], 1)
            assert stream[:4] == whole[:4]
            assert stream[frame:] == whole[frame:]
        case "wav":
            assert stream[44:] == whole[44:]
            assert stream[:4] + stream[8:40] == whole[:4] + whole[8:40]
        case "wav_ulaw" | "wav_alaw":
            assert stream[58:] == whole[58 : len(stream)]
            assert stream[:4] + stream[8:46] == whole[:4] + whole[8:46]
        case "flac":
            assert stream[42:] == whole[42:]
            assert int.from_bytes(stream[21:26], "big") % 2**36 == 0  # Samples: not known.
        case _:
            assert stream == whole


@pytest.mark.parametrize(("rate_hz", "samples"), [(24_000, 1_000), (8_000, 333), (48_000, 2_000)])
def test_the_header_of_a_whole_wav_is_exact(rate_hz: int, samples: int) -> None:
    whole = encode(format_of("wav", rate_hz).name, speechlike(1_000))[1].whole
    assert len(whole) == 44 + 2 * samples
    assert whole[4:8] == (36 + 2 * samples).to_bytes(4, "little")
    assert whole[28:32] == (2 * rate_hz).to_bytes(4, "little")
    assert whole[40:44] == (2 * samples).to_bytes(4, "little")
    info = soundfile.info(io.BytesIO(whole))
    assert (info.frames, info.samplerate, info.subtype) == (samples, rate_hz, "PCM_16")


@pytest.mark.parametrize(
    ("name", "tag", "subtype"), [("wav_ulaw", 7, "ULAW"), ("wav_alaw", 6, "ALAW")]
)
@pytest.mark.parametrize("samples", [333, 334])
def test_the_header_of_a_whole_wav_of_g711_is_exact(
    name: str, tag: int, subtype: str, samples: int
) -> None:
    whole = encode(name, speechlike(3 * samples))[1].whole
    padding = samples % 2
    assert len(whole) == 58 + samples + padding
    assert int.from_bytes(whole[4:8], "little") == len(whole) - 8
    assert whole[16:22] == bytes([18, 0, 0, 0, tag, 0])
    assert whole[28:38] == bytes([0x40, 0x1F, 0, 0, 1, 0, 8, 0, 0, 0])
    assert whole[38:50] == b"fact" + (4).to_bytes(4, "little") + samples.to_bytes(4, "little")
    assert whole[50:58] == b"data" + samples.to_bytes(4, "little")
    info = soundfile.info(io.BytesIO(whole))
    assert (info.frames, info.samplerate, info.subtype) == (samples, 8_000, subtype)


def test_the_header_of_a_whole_flac_is_exact_and_has_the_digest_of_the_samples() -> None:
    whole = encode("flac", speechlike(12_345))[1].whole
    assert int.from_bytes(whole[21:26], "big") % 2**36 == 12_345
    assert whole[26:42] != bytes(16)
    assert soundfile.info(io.BytesIO(whole)).frames == 12_345


@pytest.mark.parametrize(
    ("name", "preskip"),
    [("opus", 312), ("opus_8000", 312), ("opus_16000", 312), ("opus_48000", 312)],
)
def test_the_pages_of_opus_tell_its_exact_length(name: str, preskip: int) -> None:
    pcm = speechlike(30_011)
    stream, _ = encode(name, pcm, 7)
    pages = [begin for begin in range(len(stream)) if stream.startswith(b"OggS", begin)]
    head = stream.index(b"OpusHead")
    assert int.from_bytes(stream[head + 10 : head + 12], "little") == preskip
    rate_hz = FORMATS[name].sample_rate_hz
    assert int.from_bytes(stream[head + 12 : head + 16], "little") == rate_hz
    end = int.from_bytes(stream[pages[-1] + 6 : pages[-1] + 14], "little")
    assert end - preskip == samples_of(name, pcm) * 48_000 // rate_hz
    assert stream[pages[-1] + 5] == 4  # The last page says that it is the last.


@pytest.mark.parametrize(
    ("name", "kbit_s", "off"),
    [
        # Of 10 s, 3% is four frames of MP3 at 8 kHz: three are full of other things.
        ("mp3_8000", 32, 0.03),
        ("mp3_16000", 48, 0.02),
        *((f"mp3_{rate_hz}", 64, 0.02) for rate_hz in (22_050, 24_000)),
        *((f"mp3_{rate_hz}", 96, 0.02) for rate_hz in (44_100, 48_000)),
        *((f"mp3_8000_{kbps}k", kbps, 0.03) for kbps in (24, 40, 64)),
        *((f"mp3_{kbps}k", kbps, 0.02) for kbps in (80, 112, 160)),
        *((f"mp3_48000_{kbps}k", kbps, 0.02) for kbps in (64, 128, 320)),
        # The pages of Ogg are 4 kbit/s.
        *((f"opus_{kbps}k", kbps + 4.4, 0.05) for kbps in (24, 32, 64, 256)),
        ("opus_8000", 24 + 4.4, 0.05),
        *((f"aac_{kbps}k", kbps, 0.1) for kbps in (32, 64, 96, 160)),
    ],
)
def test_a_format_takes_as_many_bits_as_it_says(name: str, kbit_s: float, off: float) -> None:
    pcm = speechlike(10 * SAMPLE_RATE_HZ)
    rustle = np.random.default_rng(0).normal(0, 400, len(pcm)).astype(np.int16)
    stream, _ = encode(name, pcm + rustle)
    assert len(stream) * 8 / 10 / 1000 == pytest.approx(kbit_s, rel=off)


@pytest.mark.parametrize(
    "name",
    [
        f"{codec.name}_{rate_hz}_{kbps}k"
        for codec in CODECS.values()
        for rate_hz, bitrates in codec.bitrates_kbps.items()
        for kbps in (bitrates[0], bitrates[len(bitrates) // 2], bitrates[-1])
    ],
)
def test_every_bit_rate_gives_all_of_the_audio(name: str) -> None:
    pcm = speechlike(9_001)
    stream, finished = encode(name, pcm, 3)
    expected = resampled(name, pcm).astype(np.float64)
    heard = decode(name, finished.whole).astype(np.float64)
    length = min(len(heard), len(expected))
    assert length > 0.98 * len(expected)
    assert likeness(heard[:length], expected[:length]) > 0.9
    assert len(decode(name, stream)) >= length


# Samples, writes and encodings.


@every_format
@pytest.mark.parametrize("writes", [3, 17])
def test_audio_in_pieces_gives_the_bytes_of_audio_in_one_piece(name: str, writes: int) -> None:
    pcm = speechlike(30_011)
    stream, finished = encode(name, pcm, writes)
    at_once, expected = encode(name, pcm)
    assert stream == at_once
    assert finished.whole == expected.whole


@every_codec
def test_audio_in_a_thousand_pieces_gives_the_bytes_of_audio_in_one_piece(name: str) -> None:
    pcm = speechlike(30_011)
    assert encode(name, pcm, 1_000)[1].whole == encode(name, pcm)[1].whole


@every_format
def test_a_stream_begins_before_the_encoding_ends(name: str) -> None:
    encoder = open_encoder(FORMATS[name])
    sent = [encoder.write(speechlike(SAMPLE_RATE_HZ)) for _ in range(3)]
    assert all(sent)
    encoder.finish()


@every_format
def test_little_of_a_sentence_is_held_back(name: str) -> None:
    encoder = open_encoder(FORMATS[name])
    sent = encoder.write(speechlike(SAMPLE_RATE_HZ * 3 // 2))
    encoder.finish()
    rate_hz = FORMATS[name].sample_rate_hz
    assert 1.5 - len(decode_begun(name, sent)) / rate_hz < 0.21


def decode_begun(name: str, data: bytes) -> np.ndarray:
    """Of a stream that has not come to its end."""
    if FORMATS[name].codec != "opus":
        return decode(name, data)
    last = data.rindex(b"OggS")
    samples = int.from_bytes(data[last + 6 : last + 14], "little") - 312
    return np.zeros(samples * FORMATS[name].sample_rate_hz // 48_000)


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
def test_an_encoder_is_closed_whether_it_was_finished_or_not_and_how_often_it_is_said(
    name: str,
) -> None:
    finished, left, untouched = (open_encoder(FORMATS[name]) for _ in range(3))
    finished.write(speechlike(5_000))
    finished.finish()
    left.write(speechlike(5_000))
    for encoder in (finished, left, untouched) * 2:
        encoder.close()


@every_format
def test_two_encodings_at_a_time_do_not_mix(name: str) -> None:
    pcm, other = speechlike(20_000), speechlike(20_000)[::-1].copy()
    first, second = open_encoder(FORMATS[name]), open_encoder(FORMATS[name])
    for begin in range(0, 20_000, 5_000):
        first.write(pcm[begin : begin + 5_000])
        second.write(other[begin : begin + 5_000])
    assert first.finish().whole == encode(name, pcm)[1].whole
    assert second.finish().whole == encode(name, other)[1].whole


def test_pyav_is_imported_for_the_codecs_that_need_it_and_for_no_others() -> None:
    script = (
        "import sys\n"
        "from synth.audio.encode import open_encoder\n"
        "from synth.audio.formats import FORMATS\n"
        "for name, format in FORMATS.items():\n"
        "    if format.codec not in ('opus', 'aac'): open_encoder(format).finish()\n"
        "assert 'av' not in sys.modules\n"
        "open_encoder(FORMATS['opus']).finish()\n"
        "assert 'av' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
