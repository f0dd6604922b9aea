"""Replies put together from clips: nothing is heard of the seams."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import numpy as np
import numpy.typing as npt
import pytest

from synth.audio.check import Samples
from synth.audio.join import pause_s
from synth.audio.level import active_level_dbfs
from synth.engine import SAMPLE_RATE_HZ
from tests.real.recogniser import Recogniser, word_error_rate
from tests.real.server import Server, speak

SENTENCES = ("Got it!", "Thanks.", "Your total is $29.99.")
MERGED = " ".join(SENTENCES)
"""As LiveKit sends short sentences: several to a request."""

VOICES = ("af_bella", "am_michael", "bf_emma")

_CLICK_S = 0.004
_MAX_STEP = 0.005
"""From sample to sample, of full scale, so near a seam: speech at its loudest makes forty times
that."""


async def samples_of(
    http: aiohttp.ClientSession, server: Server, text: str, voice: str
) -> npt.NDArray[np.int16]:
    return np.frombuffer(await speak(http, server, text, voice, "pcm"), dtype="<i2")


def in_full_scale(pcm: npt.NDArray[np.int16]) -> Samples:
    return (pcm / 32768).astype(np.float32)


@pytest.mark.parametrize("voice", VOICES)
async def test_a_reply_is_its_sentences_with_pauses_between_them_and_no_click(
    voice: str, server: Server, http: aiohttp.ClientSession
) -> None:
    clips = [await samples_of(http, server, sentence, voice) for sentence in SENTENCES]
    merged = await samples_of(http, server, MERGED, voice)
    silence = np.zeros(round(pause_s("Got it!", 1.0) * SAMPLE_RATE_HZ), dtype=np.int16)
    expected = np.concatenate([clips[0], silence, clips[1], silence, clips[2]])
    # To the sample: what was said before was not made again.
    assert np.array_equal(merged, expected)
    near = round(_CLICK_S * SAMPLE_RATE_HZ)
    for clip in clips:
        for edge in (clip[:near], clip[-near:][::-1]):
            steps = np.abs(np.diff(edge.astype(np.int32), prepend=0)) / 32768
            assert steps.max() <= _MAX_STEP


@pytest.mark.parametrize("voice", VOICES)
async def test_no_sentence_stands_out_by_its_level(
    voice: str,
    server: Server,
    http: aiohttp.ClientSession,
    measured: Callable[[str], None],
) -> None:
    """Without levelling am_michael says "Got it!" 3 dB louder than the sentence after it."""
    levels_dbfs = [
        active_level_dbfs(in_full_scale(await samples_of(http, server, each, voice)))
        for each in SENTENCES
    ]
    step_db = max(levels_dbfs) - min(levels_dbfs)
    measured(f"levels of joined clips, {voice}: at most {step_db:.1f} dB apart")
    assert step_db <= 1.0


@pytest.mark.parametrize("voice", ["af_bella", "bm_george"])
async def test_a_very_short_phrase_is_said_without_added_sounds_and_without_its_carrier(
    voice: str, server: Server, http: aiohttp.ClientSession, recogniser: Recogniser
) -> None:
    """Said alone, bm_george's "Great." is heard as "greater"."""
    for phrase in ("Yes.", "No.", "Oh.", "Sure.", "Great."):
        heard = recogniser.hear(await speak(http, server, phrase, voice, "wav"))
        assert word_error_rate([phrase], [heard.text]) == 0, heard.text
        assert heard.duration_s < 0.8
        assert heard.onset_s() <= 0.05


async def test_a_reply_of_short_sentences_is_understood(
    server: Server, http: aiohttp.ClientSession, recogniser: Recogniser
) -> None:
    text = "Got it! Right away. One moment, please. Your table is booked."
    heard = recogniser.hear(await speak(http, server, text, "af_bella", "wav"))
    assert word_error_rate([text], [heard.text]) == 0
