"""An operator's recordings: whatever the file is, what comes out fits in among the clips."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from synth.audio.level import TARGET_DBFS, active_level_dbfs
from synth.audio.recording import BadRecording, Recording, read_recording
from synth.engine import SAMPLE_RATE_HZ, Pcm

Sound = npt.NDArray[np.float64]
"""Shape (n,) or (n, channels), at `RATE_HZ` if nothing else is said, full scale at 1.0."""

RATE_HZ = 48_000


def noise(level_dbfs: float, seconds: float, rate_hz: int = RATE_HZ) -> Sound:
    random = np.random.default_rng(round(seconds * 1000))
    sound: Sound = random.standard_normal(round(seconds * rate_hz))
    sound *= 10 ** (level_dbfs / 20)
    return sound


def rumble(level_dbfs: float, seconds: float) -> Sound:
    """What air conditioning and traffic make: 6 dB weaker with every octave from 20 Hz on."""
    white = np.fft.rfft(noise(0.0, seconds))
    frequencies_hz = np.fft.rfftfreq(round(seconds * RATE_HZ), 1 / RATE_HZ)
    sound: Sound = np.fft.irfft(white / np.maximum(frequencies_hz, 20), round(seconds * RATE_HZ))
    sound *= 10 ** (level_dbfs / 20) / np.sqrt(np.mean(np.square(sound)))
    return sound


def hum(level_dbfs: float, seconds: float) -> Sound:
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound: Sound = np.sin(2 * np.pi * 50 * times_s)
    sound *= np.sqrt(2) * 10 ** (level_dbfs / 20)
    return sound


def vowel(level_dbfs: float, seconds: float, rate_hz: int = RATE_HZ) -> Sound:
    """A voice at 120 Hz that begins and ends within 10 ms."""
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    sound: Sound = np.zeros(len(times_s))
    for harmonic in range(1, 15):
        sound += np.sin(2 * np.pi * 120 * harmonic * times_s + harmonic**2) / harmonic
    sound *= np.clip(np.minimum(times_s, seconds - times_s) / 0.010, 0, 1)
    sound *= 10 ** (level_dbfs / 20) / np.sqrt(np.mean(np.square(sound)))
    return sound


def consonant(level_dbfs: float, seconds: float, rate_hz: int = RATE_HZ) -> Sound:
    """A hiss like that of an "f"."""
    return noise(level_dbfs, seconds, rate_hz)


def silence(seconds: float, rate_hz: int = RATE_HZ) -> Sound:
    return np.zeros(round(seconds * rate_hz))


def phrase(level_dbfs: float = -20.0, rate_hz: int = RATE_HZ) -> Sound:
    """1.2 s of speech: two words, with a weak consonant at the beginning and a "t" at the end."""
    return np.concatenate(
        [
            consonant(level_dbfs - 27, 0.12, rate_hz),
            vowel(level_dbfs, 0.35, rate_hz),
            silence(0.10, rate_hz),
            vowel(level_dbfs + 2, 0.30, rate_hz),
            vowel(level_dbfs - 6, 0.20, rate_hz),
            silence(0.09, rate_hz),
            consonant(level_dbfs - 18, 0.04, rate_hz),
        ]
    )


PHRASE_S = 1.2
VOICED_FROM_S, VOICED_TO_S = 0.12, 1.07


def voiced() -> Sound:
    """The phrase without its consonants."""
    return phrase()[round(VOICED_FROM_S * RATE_HZ) : round(VOICED_TO_S * RATE_HZ)]


def between_pauses(sound: Sound, before_s: float = 0.8, after_s: float = 1.1) -> Sound:
    return np.concatenate([silence(before_s), sound, silence(after_s)])


def in_a_room(sound: Sound, noise_dbfs: float) -> Sound:
    return sound + noise(noise_dbfs, len(sound) / RATE_HZ)


def write(folder: Path, sound: Sound, rate_hz: int = RATE_HZ, **how: str) -> Path:
    path = folder / "recording"
    soundfile.write(path, sound, rate_hz, **{"format": "WAV", "subtype": "PCM_16", **how})
    return path


def pcm_of(recording: Recording) -> Pcm:
    return recording.clip().pcm


def level_of(recording: Recording) -> float:
    return active_level_dbfs((pcm_of(recording) / 2**15).astype(np.float32))


def place_of(sound: Sound, recording: Recording) -> tuple[float, float]:
    """Where in the recording a sound begins, in seconds, and how much of it is there (up to 1)."""
    pcm = pcm_of(recording) / 2**15
    sound = soxr.resample(sound, RATE_HZ, SAMPLE_RATE_HZ)
    length = 1 << (len(pcm) + len(sound)).bit_length()
    matches = np.fft.irfft(np.fft.rfft(pcm, length) * np.conj(np.fft.rfft(sound, length)), length)
    shift = int(matches.argmax())
    heard = pcm[shift : shift + len(sound)]
    if len(heard) < len(sound):
        heard = np.pad(heard, (0, len(sound) - len(heard)))
    alike = float(np.dot(heard, sound) / np.linalg.norm(heard) / np.linalg.norm(sound))
    return shift / SAMPLE_RATE_HZ, alike


# Every file there is.

FILES = [
    ({"format": "WAV", "subtype": "PCM_16"}, 48_000),
    ({"format": "WAV", "subtype": "PCM_24"}, 44_100),
    ({"format": "WAV", "subtype": "PCM_U8"}, 16_000),
    ({"format": "WAV", "subtype": "PCM_32"}, 96_000),
    ({"format": "WAV", "subtype": "FLOAT"}, 24_000),
    ({"format": "WAV", "subtype": "DOUBLE"}, 22_050),
    ({"format": "WAV", "subtype": "ULAW"}, 8_000),
    ({"format": "WAV", "subtype": "ALAW"}, 8_000),
    ({"format": "WAV", "subtype": "IMA_ADPCM"}, 8_000),
    ({"format": "AIFF", "subtype": "PCM_16"}, 44_100),
    ({"format": "FLAC", "subtype": "PCM_16"}, 32_000),
    ({"format": "FLAC", "subtype": "PCM_24"}, 192_000),
    ({"format": "OGG", "subtype": "VORBIS"}, 44_100),
    ({"format": "OGG", "subtype": "OPUS"}, 48_000),
    ({"format": "MP3", "subtype": "MPEG_LAYER_III"}, 44_100),
]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("how", "rate_hz"), FILES, ids=[it["subtype"] for it, _ in FILES])
def test_whatever_the_file_is_the_phrase_is_in_it_as_loud_as_a_clip(
    tmp_path: Path, how: dict[str, str], rate_hz: int, channels: int
) -> None:
    sound = soxr.resample(between_pauses(phrase()), RATE_HZ, rate_hz)
    recording = read_recording(
        write(tmp_path, np.repeat(sound[:, None], channels, axis=1), rate_hz, **how)
    )
    assert level_of(recording) == pytest.approx(TARGET_DBFS, abs=1.0)
    assert PHRASE_S - 0.02 < recording.duration_s < PHRASE_S + 0.25
    # Its consonants have nothing in common with what 8 kHz and 8 bits leave of them.
    assert place_of(voiced(), recording)[1] > 0.95


def test_a_recording_is_kept_as_flac_like_any_clip(tmp_path: Path) -> None:
    recording = read_recording(write(tmp_path, between_pauses(phrase())))
    (tmp_path / "kept.flac").write_bytes(recording.flac)
    kept = soundfile.info(tmp_path / "kept.flac")
    assert (kept.format, kept.subtype) == ("FLAC", "PCM_16")
    assert (kept.samplerate, kept.channels) == (SAMPLE_RATE_HZ, 1)
    clip = recording.clip()
    assert clip.pcm.dtype == np.int16 and clip.pcm.shape == (kept.frames,)
    assert clip.duration_s == recording.duration_s == kept.frames / SAMPLE_RATE_HZ
    assert clip.words == ()


@pytest.mark.parametrize("name", ["hello.wav", "hello.raw", "hello.txt", "hello"])
def test_a_name_says_nothing_of_what_is_in_a_file(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, between_pauses(phrase())).rename(tmp_path / name)
    assert read_recording(path).duration_s > PHRASE_S


def test_the_same_file_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    path = write(tmp_path, between_pauses(phrase()))
    first, second = read_recording(path), read_recording(path)
    assert first == second
    assert first.flac == second.flac
    assert len(first.digest) == 32 and int(first.digest, 16)
    other = read_recording(write(tmp_path, between_pauses(phrase()[::-1])))
    assert other.digest != first.digest


def test_one_speaker_in_one_ear_is_heard(tmp_path: Path) -> None:
    sound = between_pauses(phrase())
    for silent in (silence(3.1), -sound):
        recording = read_recording(write(tmp_path, np.stack([sound, silent], axis=1)))
        assert place_of(phrase(), recording)[1] > 0.99
        assert level_of(recording) == pytest.approx(TARGET_DBFS, abs=1.0)


# How loud.


@given(st.floats(-50.0, -14.0), st.sampled_from(["PCM_24", "FLOAT"]))
@hypothesis_settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_recording_is_as_loud_as_the_voices_however_it_was_recorded(
    tmp_path: Path, level_dbfs: float, subtype: str
) -> None:
    path = write(tmp_path, between_pauses(phrase(level_dbfs)), subtype=subtype)
    recording = read_recording(path)
    assert level_of(recording) == pytest.approx(TARGET_DBFS, abs=1.0)
    assert place_of(phrase(), recording)[1] > 0.99


def test_floats_over_full_scale_are_turned_down_and_not_clipped(tmp_path: Path) -> None:
    sound = between_pauses(phrase(level_dbfs=40.0))
    assert np.abs(sound).max() > 100
    recording = read_recording(write(tmp_path, sound, subtype="FLOAT"))
    assert level_of(recording) == pytest.approx(TARGET_DBFS, abs=1.0)
    assert place_of(phrase(), recording)[1] > 0.99


def test_a_sharp_peak_holds_the_gain_down_and_is_not_clipped(tmp_path: Path) -> None:
    sound = phrase(-40.0)
    pop = round(0.3 * RATE_HZ)
    sound[pop : pop + 40] += 0.4 * np.hanning(40)
    recording = read_recording(write(tmp_path, between_pauses(sound)))
    assert np.abs(pcm_of(recording)).max() == pytest.approx(0.98 * 2**15, rel=0.01)
    assert level_of(recording) < TARGET_DBFS - 3


@pytest.mark.parametrize("offset", [-0.3, 0.05])
def test_an_offset_is_taken_away(tmp_path: Path, offset: float) -> None:
    plain = read_recording(write(tmp_path, between_pauses(phrase())))
    shifted = read_recording(write(tmp_path, between_pauses(phrase()) + offset))
    assert shifted.duration_s == pytest.approx(plain.duration_s, abs=0.011)
    assert abs(float(pcm_of(shifted).mean())) < 5
    assert level_of(shifted) == pytest.approx(level_of(plain), abs=0.1)


# Where it is cut.


@pytest.mark.parametrize("before_s", [0.0, 0.02, 0.3, 2.0])
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.4, 3.0])
def test_the_pauses_at_both_ends_are_cut_and_nothing_else(
    tmp_path: Path, before_s: float, after_s: float
) -> None:
    recording = read_recording(write(tmp_path, between_pauses(phrase(), before_s, after_s)))
    begins_s, alike = place_of(phrase(), recording)
    assert alike > 0.999
    assert begins_s == pytest.approx(min(before_s, 0.045), abs=0.006)
    tail_s = recording.duration_s - begins_s - PHRASE_S
    assert tail_s == pytest.approx(min(after_s, 0.105), abs=0.006)


@pytest.mark.parametrize("noise_dbfs", [-80.0, -65.0, -55.0, -50.0])
@pytest.mark.parametrize("room", [noise, hum, rumble])
def test_a_noisy_room_is_no_speech(
    tmp_path: Path, noise_dbfs: float, room: Callable[[float, float], Sound]
) -> None:
    sound = between_pauses(phrase())
    recording = read_recording(write(tmp_path, sound + room(noise_dbfs, len(sound) / RATE_HZ)))
    voiced_from_s, alike = place_of(voiced(), recording)
    assert alike > 0.95
    # A first consonant as weak as the room cannot be told from it.
    least_s = VOICED_FROM_S if noise_dbfs <= -55 else 0.0
    assert least_s + 0.03 <= voiced_from_s <= VOICED_FROM_S + 0.055
    after_s = recording.duration_s - voiced_from_s - (PHRASE_S - VOICED_FROM_S)
    assert 0.09 <= after_s <= 0.12
    assert level_of(recording) == pytest.approx(TARGET_DBFS, abs=1.0)


def test_a_room_louder_than_any_consonant_costs_no_vowel(tmp_path: Path) -> None:
    sound = in_a_room(between_pauses(phrase()), -38.0)
    recording = read_recording(write(tmp_path, sound))
    voiced_from_s, alike = place_of(voiced(), recording)
    assert alike > 0.9
    assert 0.03 <= voiced_from_s <= VOICED_FROM_S + 0.055
    assert recording.duration_s - voiced_from_s > VOICED_TO_S - VOICED_FROM_S


@pytest.mark.parametrize("under_db", [10, 20, 30])
def test_weak_consonants_at_both_ends_are_kept_whole(tmp_path: Path, under_db: int) -> None:
    hiss = consonant(-20.0 - under_db, 0.15)
    sound = np.concatenate([hiss, vowel(-20.0, 0.5), hiss])
    recording = read_recording(write(tmp_path, in_a_room(between_pauses(sound), -75.0)))
    begins_s, _ = place_of(sound, recording)
    assert 0.03 <= begins_s <= 0.055
    assert recording.duration_s - begins_s - 0.8 >= 0.09


def test_a_final_plosive_is_no_click(tmp_path: Path) -> None:
    sound = np.concatenate([vowel(-20.0, 0.4), silence(0.2), consonant(-40.0, 0.03)])
    recording = read_recording(write(tmp_path, between_pauses(sound)))
    assert recording.duration_s > 0.63 + 0.1


@pytest.mark.parametrize("level_dbfs", [-50.0, -30.0, -6.0])
def test_clicks_of_a_mouse_are_cut_off(tmp_path: Path, level_dbfs: float) -> None:
    click = noise(level_dbfs - 6, 0.015)
    sound = between_pauses(phrase())
    for at_s in (0.1, 0.19, 0.5, 2.5):
        at = round(at_s * RATE_HZ)
        sound[at : at + len(click)] += click
    recording = read_recording(write(tmp_path, sound))
    clean = read_recording(write(tmp_path, between_pauses(phrase())))
    assert recording.duration_s == pytest.approx(clean.duration_s, abs=0.011)
    assert level_of(recording) == pytest.approx(TARGET_DBFS, abs=1.0)


def test_a_pause_within_the_phrase_stays(tmp_path: Path) -> None:
    sound = np.concatenate([phrase(), silence(2.0), phrase()])
    recording = read_recording(write(tmp_path, in_a_room(between_pauses(sound), -60.0)))
    assert recording.duration_s == pytest.approx(2 * PHRASE_S + 2.0 + 0.15, abs=0.03)


def test_one_short_phrase_in_a_long_noisy_recording_is_found(tmp_path: Path) -> None:
    sound = in_a_room(between_pauses(vowel(-26.0, 0.3), 20.0, 20.0), -58.0)
    recording = read_recording(write(tmp_path, sound))
    assert recording.duration_s == pytest.approx(0.3 + 0.15, abs=0.03)
    assert level_of(recording) == pytest.approx(TARGET_DBFS, abs=1.0)


def test_both_ends_are_at_zero_and_rise_slowly(tmp_path: Path) -> None:
    for sound in (in_a_room(between_pauses(phrase()), -50.0), vowel(-20.0, 1.0)[4_000:-4_000]):
        pcm = pcm_of(read_recording(write(tmp_path, sound))).astype(np.int64)
        assert pcm[0] == pcm[-1] == 0
        for end in (pcm, pcm[::-1]):
            assert np.abs(end[:24]).max() < 0.15 * np.abs(pcm).max()


# What is refused.


def clipped(over: float) -> Sound:
    return np.clip(between_pauses(phrase()) * over, -0.9, 0.9)


REFUSED = [
    (silence(1.0), "silent"),
    (silence(1.0) + 0.5, "silent"),
    (noise(-80.0, 1.0), "silent"),
    (between_pauses(phrase(-70.0)), "silent"),
    (silence(0.0), "empty"),
    (phrase()[:4_700], "shorter than 0.1 s"),
    (between_pauses(vowel(-20.0, 0.05)), "of it is sound"),
    (np.tile(vowel(-20.0, 1.0), 121), "longer than 120 s"),
    (np.where(np.arange(RATE_HZ) == 99, np.nan, phrase()[:RATE_HZ]), "not numbers"),
    (np.where(np.arange(RATE_HZ) == 99, -np.inf, phrase()[:RATE_HZ]), "not numbers"),
    (phrase() * 1e300, "not numbers"),
    (clipped(100.0), "clipped"),
    (np.stack([silence(3.1), clipped(100.0)], axis=1), "clipped"),
]


@pytest.mark.parametrize(
    ("sound", "says"), REFUSED, ids=[f"{i}-{says}" for i, (_, says) in enumerate(REFUSED)]
)
def test_what_is_no_speech_is_refused_in_one_line(tmp_path: Path, sound: Sound, says: str) -> None:
    assert says in problem(write(tmp_path, sound, subtype="DOUBLE"))


def problem(path: Path) -> str:
    """What is said of a file: one line without its name."""
    with pytest.raises(BadRecording) as refused:
        read_recording(path)
    said = str(refused.value)
    assert said and "\n" not in said and path.name not in said and len(said) < 160
    return said


def test_a_little_clipping_is_let_pass(tmp_path: Path) -> None:
    assert read_recording(write(tmp_path, clipped(3.5))).duration_s > PHRASE_S


@pytest.mark.parametrize("rate_hz", [1, 3_999])
def test_a_rate_that_holds_no_speech_is_refused(tmp_path: Path, rate_hz: int) -> None:
    assert f"{rate_hz} Hz" in problem(write(tmp_path, phrase(), rate_hz))


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"not audio at all\n" * 100, b"\x89PNG\r\n\x1a\n" + bytes(1000), bytes(5000)],
    ids=["nothing", "4 bytes", "text", "a picture", "zeros"],
)
def test_a_file_that_is_no_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "nothing.wav").write_bytes(content)
    assert "decoded" in problem(tmp_path / "nothing.wav")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in problem(tmp_path / "gone.wav")
    assert "cannot be read: Is a directory" in problem(tmp_path)


def test_a_file_that_is_cut_short_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write(tmp_path, between_pauses(phrase()))
    os.truncate(path, 44 + 2 * round((0.8 + 0.5) * RATE_HZ))
    assert 0.5 < read_recording(path).duration_s < 0.6


@given(st.binary(max_size=300), st.integers(0, 60))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_file_is_heard_or_refused(tmp_path: Path, damage: bytes, at: int) -> None:
    path = write(tmp_path, phrase())
    content = bytearray(path.read_bytes())
    content[at : at + len(damage)] = damage
    path.write_bytes(content)
    try:
        recording = read_recording(path)
    except BadRecording:
        return
    assert 0.1 <= recording.duration_s <= 120.2


def test_more_channels_than_a_voice_is_recorded_with_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "wide.wav", np.zeros((8_000, 9)), 8_000)
    with pytest.raises(BadRecording, match="9 channels; 8 at most"):
        read_recording(tmp_path / "wide.wav")
