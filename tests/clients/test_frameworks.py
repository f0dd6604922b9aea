"""livekit-plugins-openai, pipecat's OpenAITTSService and LiteLLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synth.audio.join import pause_s
from synth.engine import SAMPLE_RATE_HZ
from tests.clients.client import LITELLM, LIVEKIT_1_6, LIVEKIT_1_8, PIPECAT, Client
from tests.clients.conftest import KEY, TEXT, VOICE, Real
from tests.faults.conftest import StartServer
from tests.proxy.conftest import Barrier

HELLO = "How can I help you?"

SENTENCES = ("Got it!", "Thanks.", "Your total is $29.99.")
MERGED = " ".join(SENTENCES)

LIVEKIT_VOICE = "ash"
"""Its own default."""

VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx"),
    *("sage", "shimmer", "verse"),
)
"""pipecat refuses any other by itself."""

LIVEKIT: dict[str, dict[str, Any]] = {
    "default": {},
    "pcm": {"response_format": "pcm"},
    "tts-1": {"model": "tts-1"},
}


def of_livekit(*cases: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("client", "options"),
        [
            pytest.param(
                client,
                LIVEKIT[case],
                id=f"{client.name}-{case}",
                marks=pytest.mark.case(client, case),
            )
            for client in (LIVEKIT_1_8, LIVEKIT_1_6)
            for case in cases
        ],
    )


def both_livekits(case: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "client",
        [
            pytest.param(client, id=client.name, marks=pytest.mark.case(client, case))
            for client in (LIVEKIT_1_8, LIVEKIT_1_6)
        ],
    )


@of_livekit("default", "pcm", "tts-1")
async def test_livekit_plays_all_of_a_reply(
    client: Client, options: dict[str, Any], real: Real, tmp_path: Path
) -> None:
    done = client.drive(
        "one", text=TEXT, options=options, save=str(tmp_path / "reply"), **real.job()
    )
    assert "error" not in done
    reply = (tmp_path / "reply").read_bytes()
    await real.check(reply, TEXT, LIVEKIT_VOICE, "pcm", done["rate_hz"])


@both_livekits("streamed")
async def test_livekit_plays_while_the_rest_is_made(
    client: Client, start_server: StartServer, barrier: Barrier, tmp_path: Path
) -> None:
    server = start_server()
    job = {"base_url": f"{server.url}/v1", "key": KEY, "options": LIVEKIT["pcm"]}
    # What it plays first it wants a fraction of a second of.
    text = f"This is a sentence that takes a while to say. {barrier.text}"
    with client.driving("one", text=text, save=str(tmp_path / "reply"), **job) as drive:
        drive.wait_for("chunk")
        await barrier.release()
        assert "error" not in drive.wait_for("done")


@both_livekits("merged")
async def test_sentences_that_livekit_sends_as_one_are_not_made_again(
    client: Client, start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server()
    for sentence in SENTENCES:
        server.say(sentence, voice=LIVEKIT_VOICE)
    made = server.syntheses()
    assert made.total() == len(SENTENCES)
    job = {"base_url": f"{server.url}/v1", "key": KEY, "options": LIVEKIT["pcm"]}
    done = client.drive("merged", text=MERGED, save=str(tmp_path / "reply"), **job)
    assert "error" not in done
    assert server.syntheses() == made


@both_livekits("merged")
async def test_sentences_that_livekit_sends_as_one_are_those_that_were_said_one_by_one(
    client: Client, real: Real, tmp_path: Path
) -> None:
    clips = [
        np.frombuffer(await real.pcm(sentence, LIVEKIT_VOICE), dtype="<i2")
        for sentence in SENTENCES
    ]
    silence = np.zeros(round(pause_s("Got it!", 1.0) * SAMPLE_RATE_HZ), dtype=np.int16)
    done = client.drive(
        "merged", text=MERGED, options=LIVEKIT["pcm"], save=str(tmp_path / "reply"), **real.job()
    )
    assert "error" not in done
    heard = np.frombuffer((tmp_path / "reply").read_bytes(), dtype="<i2")
    expected = np.concatenate([clips[0], silence, clips[1], silence, clips[2]])
    # LiveKit ends what it plays with some milliseconds of silence.
    assert np.array_equal(heard[: len(expected)], expected)
    assert not heard[len(expected) :].any()


@pytest.mark.case(PIPECAT, "voices")
async def test_pipecat_has_all_of_openais_voices(real: Real, tmp_path: Path) -> None:
    for voice in VOICES:
        # What takes three seconds to begin, pipecat takes for a failure.
        await real.pcm(HELLO, voice)
    job = real.job() | {"text": HELLO, "voices": VOICES, "save": str(tmp_path)}
    with PIPECAT.driving("speak", **job) as drive:
        for voice in VOICES:
            spoken = drive.wait_for("spoken")
            assert (spoken["voice"], spoken["errors"], spoken["rates_hz"]) == (voice, [], [24_000])
    for voice in VOICES:
        await real.check((tmp_path / voice).read_bytes(), HELLO, voice, "pcm")


@pytest.mark.case(PIPECAT, "streamed")
async def test_pipecat_gets_its_first_frame_while_the_rest_is_made(
    start_server: StartServer, barrier: Barrier, tmp_path: Path
) -> None:
    server = start_server()
    job = {"base_url": f"{server.url}/v1", "key": KEY, "voices": [VOICE], "save": str(tmp_path)}
    # Its first frame is half a second.
    text = f"This is a sentence that takes a while to say. {barrier.text}"
    with PIPECAT.driving("speak", text=text, **job) as drive:
        assert drive.wait_for("chunk")["bytes"] == 24_000
        await barrier.release()
        assert drive.wait_for("spoken")["errors"] == []


@pytest.mark.case(PIPECAT, "merged")
async def test_what_pipecat_asks_for_by_the_sentence_is_there_for_who_asks_for_all_of_it(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server()
    job = {"base_url": f"{server.url}/v1", "key": KEY, "voices": [VOICE], "save": str(tmp_path)}
    with PIPECAT.driving("write", text=MERGED, **job) as drive:
        assert drive.wait_for("spoken")["errors"] == []
    made = server.syntheses()
    assert made.total() == len(SENTENCES)
    assert server.say(MERGED, voice=VOICE).status == 200
    assert server.syntheses() == made


@pytest.mark.case(PIPECAT, "rate")
async def test_pipecat_has_the_rate_that_the_address_says(real: Real, tmp_path: Path) -> None:
    """It plays what it gets at the rate of its pipeline, whatever that is."""
    await real.pcm(HELLO, VOICE)
    job = real.job() | {"text": HELLO, "voices": [VOICE], "save": str(tmp_path)}
    job |= {"base_url": f"{real.base_url}/rate/8000", "rate_hz": 8000}
    with PIPECAT.driving("speak", **job) as drive:
        spoken = drive.wait_for("spoken")
        assert (spoken["errors"], spoken["rates_hz"]) == ([], [8000])
    await real.check((tmp_path / VOICE).read_bytes(), HELLO, VOICE, "pcm", 8000)


@pytest.mark.case(LITELLM, "whole")
@pytest.mark.parametrize("how", ["sync", "async"])
async def test_litellm_gets_all_of_an_mp3(how: str, real: Real, tmp_path: Path) -> None:
    job = real.job(model="openai/tts-1", voice=VOICE, input=TEXT)
    done = LITELLM.drive("whole", how=how, save=str(tmp_path / "reply"), **job)
    assert "error" not in done
    await real.check((tmp_path / "reply").read_bytes(), TEXT, VOICE, "mp3")
