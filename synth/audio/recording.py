"""Recordings of an operator's own, made to stand among the clips of the voices.

A person in a room is recorded at any level, with a noise floor, a click of the mouse and a second
of nothing at both ends. So what is speech is decided by comparison: with the level of the speech
itself, and with the quietest stretch of the recording.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from synth.audio.check import to_pcm
from synth.audio.level import TARGET_DBFS, active_level_dbfs
from synth.engine import SAMPLE_RATE_HZ, Clip

MIN_SOUND_S = 0.1
MAX_S = 120.0
MAX_GAIN_DB = 30.0
"""Up. What would have to be raised by more is taken for silence. Down there is no limit."""

_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 4_000, 768_000
_LARGEST = 2.0**31
"""Floating-point files may be scaled in any way; nobody scales them by more than this."""

_HIGHEST_PEAK = 0.98
_DIGEST_BYTES = 16

# Where speech begins and ends. Levels are in dB under that of the speech.
_FRAME_S = 0.010
_SILENCE_DB = 35.0
"""A frame this much weaker is silence: an "f" or "th" is 20 to 30 dB under the vowels."""
_NOISE_MARGIN_DB = 6.0
"""What a frame has to rise above the room's noise, where that is louder than silence."""
_LOUDEST_NOISE_DB = 20.0
"""What is nearer to the speech than this is never taken for noise."""
_RUMBLE_HZ = 150.0
"""Below this the room is loudest, and of speech there is little but the pitch."""
_PAUSE_S = 0.050
"""The room is heard where it is quietest for so long: in the pauses, or before a plosive."""
_CLICK_MAX_S = 0.060
"""Of both, where it is that of a button pressed and let go."""
_CLICK_MIN_GAP_S = 0.250
"""Longer than the closure before any plosive."""

_LEAD_PAD_S = 0.040
_TAIL_PAD_S = 0.100
_FADE_S = 0.005

# What is cut off at full scale stands still there, for several samples at a time.
_CLIPPED_RUN_SAMPLES = 3
_CLIPPED_SPAN = 0.001
"""As a share of the peak: so near to it counts as standing still."""
_CLIPPED_MAX_SHARE = 0.05

# How the gain is found.
_LOUDEST_FRAMES = 10
_MAX_STEPS = 20
_SMALLEST_STEP_DB = 0.01

_Channels = npt.NDArray[np.float64]
"""Shape (n, channels), full scale at -1.0 and 1.0, at the rate of the file."""
_Mono = npt.NDArray[np.float64]
"""Shape (n,), full scale at -1.0 and 1.0, at 24 kHz if nothing else is said."""


_MOST_CHANNELS = 8
"""Nobody records a voice with more, and a small file can claim a thousand."""


class BadRecording(ValueError):
    """A file cannot stand in for speech. One line for users, without the file's name."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording as it is said: trimmed, and as loud as the voices."""

    flac: bytes = field(repr=False)
    """24 kHz, mono, 16-bit."""
    duration_s: float
    digest: str = field(init=False)
    """BLAKE2b-128 of `flac`, 32 hex digits."""

    def __post_init__(self) -> None:
        digest = hashlib.blake2b(self.flac, digest_size=_DIGEST_BYTES).hexdigest()
        object.__setattr__(self, "digest", digest)

    def clip(self) -> Clip:
        """Blocking: it is decoded every time."""
        pcm, _ = soundfile.read(io.BytesIO(self.flac), dtype="int16")
        return Clip(pcm)


def read_recording(path: Path) -> Recording:
    """Read a recording in any format that libsndfile knows (wav, FLAC, Ogg, MP3 and others), at any
    rate, with any number of channels, and make a clip of it. Blocking.

    The same file gives the same bytes.

    Raises:
        BadRecording: it cannot be read, or is no recording that could be heard.
    """
    channels, rate_hz = _decode(path)
    mono = _mixed(channels)
    samples = soxr.resample(mono - mono.mean(), rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    gain_db = _gain_db(samples)
    if gain_db > MAX_GAIN_DB:
        raise BadRecording("it is silent, or nearly so")
    _check_clipping(channels)
    begin, end = _speech(_louder(samples, gain_db))
    if end - begin < _samples(MIN_SOUND_S):
        raise BadRecording(
            f"only {(end - begin) / SAMPLE_RATE_HZ:.2f} s of it is sound; "
            f"at least {MIN_SOUND_S} s is needed"
        )
    spoken = samples[max(begin - _samples(_LEAD_PAD_S), 0) : end + _samples(_TAIL_PAD_S)]
    # Again, since a click that was cut off counts no more.
    pcm = to_pcm(_faded(_levelled(spoken)).astype(np.float32))
    file = io.BytesIO()
    soundfile.write(file, pcm, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return Recording(file.getvalue(), len(pcm) / SAMPLE_RATE_HZ)


def _decode(path: Path) -> tuple[_Channels, int]:
    """The samples and their rate in Hz."""
    try:
        # By its descriptor: by its name, a file `.raw` would be taken for bare samples.
        with path.open("rb") as opened, soundfile.SoundFile(opened.fileno(), closefd=False) as file:
            rate_hz = file.samplerate
            if not _LOWEST_RATE_HZ <= rate_hz <= _HIGHEST_RATE_HZ:
                raise BadRecording(
                    f"its sample rate is {rate_hz} Hz; "
                    f"it must be from {_LOWEST_RATE_HZ} to {_HIGHEST_RATE_HZ} Hz"
                )
            if file.channels > _MOST_CHANNELS:
                raise BadRecording(f"it has {file.channels} channels; {_MOST_CHANNELS} at most")
            channels = file.read(int(MAX_S * rate_hz) + 1, dtype="float64", always_2d=True)
    except OSError as error:
        raise BadRecording(f"it cannot be read: {error.strerror}") from None
    except soundfile.LibsndfileError as error:
        raise BadRecording(f"it is no audio that can be decoded: {_told(error)}") from None
    if not len(channels):
        raise BadRecording("it is empty: there is no audio in it")
    if len(channels) < MIN_SOUND_S * rate_hz:
        raise BadRecording(f"it is shorter than {MIN_SOUND_S} s")
    if len(channels) > MAX_S * rate_hz:
        raise BadRecording(f"it is longer than {MAX_S:.0f} s")
    if not (np.abs(channels) < _LARGEST).all():  # Of nan, nothing is true.
        raise BadRecording("it holds values that are not numbers")
    return channels, rate_hz


def _told(error: soundfile.LibsndfileError) -> str:
    """libsndfile's reason, on one line."""
    return " ".join(str(error.error_string).split()).rstrip(".")


def _mixed(channels: _Channels) -> _Mono:
    """The mean of all channels; or the loudest of them, where they cancel out, as those of a
    microphone do that was wired the wrong way round."""
    mean: _Mono = channels.mean(axis=1)
    loudest = _loudest(channels)
    cancelled = mean.std() < loudest.std() / (2 * channels.shape[1])
    return loudest if cancelled else mean


def _loudest(channels: _Channels) -> _Mono:
    return np.ascontiguousarray(channels[:, channels.std(axis=0).argmax()])


def _check_clipping(channels: _Channels) -> None:
    """Raises `BadRecording` where much of the sound stands still at the peaks."""
    loudest = _loudest(channels)
    centred = loudest - loudest.mean()
    clipped = 0
    for half in (centred, -centred):
        at_limit = half >= half.max() * (1 - _CLIPPED_SPAN)
        edges = np.flatnonzero(np.diff(at_limit.astype(np.int8), prepend=0, append=0))
        runs = edges[1::2] - edges[::2]
        clipped += int(runs[runs >= _CLIPPED_RUN_SAMPLES].sum())
    # Of the sound, not of the pauses.
    share = clipped / np.count_nonzero(np.abs(centred) > 0.1 * np.abs(centred).max())
    if share > _CLIPPED_MAX_SHARE:
        raise BadRecording(
            f"it is clipped: {share:.0%} of its sound is cut off at the peaks; "
            "record it again at a lower level"
        )


def _gain_db(samples: _Mono) -> float:
    """What brings it to `TARGET_DBFS`, measured as the level of clips is; inf for silence.

    Which frames count as speech depends on the gain, and the gain on these frames: it is found in a
    few steps, from the loudest tenth of a second on, so that noise does not count.
    """
    powers = _frame_powers(samples)
    powers = np.convolve(powers, np.full(_LOUDEST_FRAMES, 1 / _LOUDEST_FRAMES))
    if not (loudest := float(powers.max())):
        return np.inf
    gain_db = TARGET_DBFS - 10 * float(np.log10(loudest))
    for _ in range(_MAX_STEPS):
        step_db = TARGET_DBFS - active_level_dbfs(_louder(samples, gain_db).astype(np.float32))
        gain_db += step_db
        if abs(step_db) < _SMALLEST_STEP_DB:
            break
    return gain_db


def _levelled(samples: _Mono) -> _Mono:
    """At the voices' level, or as near to it as the peaks allow."""
    levelled = _louder(samples, min(_gain_db(samples), MAX_GAIN_DB))
    return levelled * min(1.0, _HIGHEST_PEAK / float(np.abs(levelled).max()))


def _louder(samples: _Mono, gain_db: float) -> _Mono:
    return samples * float(10 ** (gain_db / 20))


def _speech(levelled: _Mono) -> tuple[int, int]:
    """Where the first sound begins and the last one ends, in samples, to the frame. Clicks far from
    anything else are no sound. `levelled` is at `TARGET_DBFS`."""
    frame = _samples(_FRAME_S)
    powers = _frame_powers(_without_rumble(levelled))
    active = np.flatnonzero(powers > _silence_power(powers))
    gap, longest_click = round(_CLICK_MIN_GAP_S / _FRAME_S), round(_CLICK_MAX_S / _FRAME_S)
    sounds = np.split(active, np.flatnonzero(np.diff(active) > gap) + 1)
    while len(sounds) > 1 and len(sounds[0]) <= longest_click:
        sounds = sounds[1:]
    while len(sounds) > 1 and len(sounds[-1]) <= longest_click:
        sounds = sounds[:-1]
    return int(sounds[0][0]) * frame, min((int(sounds[-1][-1]) + 1) * frame, len(levelled))


def _without_rumble(samples: _Mono) -> _Mono:
    """Faded out below `_RUMBLE_HZ`, the hum of the mains by 20 dB. Nothing is moved in time."""
    padded = 1 << len(samples).bit_length()
    frequencies_hz = np.fft.rfftfreq(padded, 1 / SAMPLE_RATE_HZ)
    kept = frequencies_hz**2 / (frequencies_hz**2 + _RUMBLE_HZ**2)
    heard: _Mono = np.fft.irfft(np.fft.rfft(samples, padded) * kept, padded)[: len(samples)]
    return heard


def _frame_powers(samples: _Mono) -> _Mono:
    """The mean square of every frame of `_FRAME_S`."""
    frame = _samples(_FRAME_S)
    whole_frames = np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)
    powers: _Mono = np.square(whole_frames).mean(axis=1)
    return powers


def _silence_power(powers: _Mono) -> float:
    """Up to which power a frame is silence. `powers` are those of all frames."""
    pause = round(_PAUSE_S / _FRAME_S)
    noise = 0.0
    if len(powers) >= pause:
        noise = float(np.convolve(powers, np.full(pause, 1 / pause), "valid").min())
    silence, loudest_noise = (
        10 ** ((TARGET_DBFS - under_db) / 10) for under_db in (_SILENCE_DB, _LOUDEST_NOISE_DB)
    )
    return min(max(silence, noise * 10 ** (_NOISE_MARGIN_DB / 10)), loudest_noise)


def _faded(samples: _Mono) -> _Mono:
    """A copy that rises from zero and falls to it, so that the room does not begin with a click."""
    faded = samples.copy()
    length = min(_samples(_FADE_S), len(faded) // 2)
    ramp = np.sin(np.linspace(0.0, np.pi / 2, length)) ** 2
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)
