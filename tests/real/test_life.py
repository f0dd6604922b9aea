"""A server is started, killed, restarted, and asked while it is busy."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import openai
import pytest

from synth.weights import Weights
from tests.real.conftest import WITHOUT_WARM_UP
from tests.real.recogniser import Recogniser, word_error_rate
from tests.real.server import Server, serve, speak

HUNDRED_WORDS = (
    "Thank you for calling the travel desk about your trip to the mountains next month. "
    "I have found three hotels near the lake that still have rooms for the whole week. "
    "The first one is small and quiet, and breakfast is served on a terrace above the water. "
    "The second is closer to the station, which helps if you plan to arrive by train. "
    "The third has a pool for the children and a shuttle bus to the ski lifts. "
    "Tell me which one you prefer, and I will hold the rooms until Friday evening at no cost "
    "to you."
)


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
async def test_what_was_said_before_a_restart_is_served_while_the_engine_still_loads(
    how: signal.Signals,
    tmp_path: Path,
    cache_dir: Path,
    real_weights: Weights,
    http: aiohttp.ClientSession,
) -> None:
    text = "This was said before the restart."
    with serve(tmp_path, cache_dir, *WITHOUT_WARM_UP) as first:
        first.wait_until_ready()
        before = await speak(http, first, text)
        # The disk is asked for this one after it has written that one.
        await speak(http, first, "This was said afterwards.")
        first.stop(how)

    with serve(tmp_path, cache_dir, *WITHOUT_WARM_UP) as second:
        async with http.get(f"{second.url}/health") as response:
            assert (await response.json())["model_loaded"] is False
        body = {"model": "kokoro", "input": text, "response_format": "pcm"}
        async with http.post(f"{second.url}/v1/audio/speech", json=body) as response:
            assert response.status == 200
            assert response.headers["Cache-Status"].startswith("kokoro-edge; hit")
            assert await response.read() == before
        async with http.get(f"{second.url}/health") as response:
            assert (await response.json())["model_loaded"] is False, "it was meant to load still"


@pytest.mark.long
async def test_the_same_request_to_another_server_gives_the_same_samples(
    server: Server,
    tmp_path: Path,
    cache_dir: Path,
    real_weights: Weights,
    http: aiohttp.ClientSession,
) -> None:
    text = "Two servers, one voice."
    with serve(tmp_path, cache_dir, *WITHOUT_WARM_UP) as other:
        other.wait_until_ready()
        assert await speak(http, other, text) == await speak(http, server, text)


@pytest.mark.long
async def test_a_client_gets_its_audio_though_the_engine_is_killed_in_the_middle(
    tmp_path: Path,
    cache_dir: Path,
    real_weights: Weights,
    http: aiohttp.ClientSession,
    recogniser: Recogniser,
) -> None:
    text = "The first sentence is on its way. The engine dies during the second. All is heard."
    with serve(tmp_path, cache_dir, *WITHOUT_WARM_UP) as server:
        server.wait_until_ready()
        (engine,) = server.engine_pids()
        body = {"model": "kokoro", "input": text, "response_format": "wav"}
        async with http.post(f"{server.url}/v1/audio/speech", json=body) as response:
            # The first sentence has begun to arrive, so the engine is busy with the second.
            streamed = await response.content.readany()
            os.kill(engine, signal.SIGKILL)
            streamed += await response.read()

        assert word_error_rate([text], [recogniser.hear(streamed).text]) == 0
        assert server.engine_pids() != [engine]


async def test_health_answers_at_every_moment_of_a_long_synthesis(
    server: Server, http: aiohttp.ClientSession, measured: Callable[[str], None]
) -> None:
    assert len(HUNDRED_WORDS.split()) == 100
    took_ms: list[float] = []
    synthesis = asyncio.create_task(speak(http, server, HUNDRED_WORDS))
    while not synthesis.done():
        began_s = time.perf_counter()
        async with http.get(f"{server.url}/health") as response:
            assert (await response.json())["model_loaded"] is True
        took_ms.append((time.perf_counter() - began_s) * 1000)
        await asyncio.wait([synthesis], timeout=0.02)
    await synthesis
    took_ms.sort()
    measured(
        f"health during a 100-word synthesis: median {took_ms[len(took_ms) // 2]:.1f} ms, "
        f"worst {took_ms[-1]:.1f} ms of {len(took_ms)}"
    )
    assert took_ms[-1] <= 50


async def test_the_server_listens_before_the_model_is_loaded_and_refuses_honestly(
    tmp_path: Path, cache_dir: Path, real_weights: Weights, measured: Callable[[str], None]
) -> None:
    began_s = time.perf_counter()
    with serve(tmp_path, cache_dir, *WITHOUT_WARM_UP) as server:
        measured(f"listening {time.perf_counter() - began_s:.2f} s after the start")
        client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        async with client:
            with pytest.raises(openai.InternalServerError) as refused:
                await client.audio.speech.create(
                    model="kokoro", voice="af_bella", input="Nobody has said this yet."
                )
            assert refused.value.status_code == 503
            assert refused.value.code == "engine_loading"
            assert int(refused.value.response.headers["Retry-After"]) >= 1


@pytest.mark.long
async def test_the_openai_client_retries_until_the_engine_is_up_and_then_plays(
    tmp_path: Path, cache_dir: Path, real_weights: Weights, recogniser: Recogniser
) -> None:
    with serve(tmp_path, cache_dir, *WITHOUT_WARM_UP) as server:
        client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=20)
        async with client:
            reply = await client.audio.speech.create(
                model="kokoro", voice="bf_emma", input="I am ready when you are."
            )
            assert "ready when you are" in recogniser.hear(reply.content).text.lower()


async def test_a_phrasebook_is_rendered_at_the_start_and_then_served_without_the_engine(
    tmp_path: Path, cache_dir: Path, real_weights: Weights, http: aiohttp.ClientSession
) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "two.yaml").write_text(
        "{name: two, voices: [am_adam], formats: [wav], "
        "phrases: [Good evening., One moment please.]}"
    )
    body = {"input": "One moment please.", "voice": "am_adam", "response_format": "wav"}
    with serve(tmp_path / "cache", cache_dir, "--phrasebook-directory", str(books)) as server:
        server.wait_until_warm()
        async with http.post(f"{server.url}/v1/audio/speech", json=body) as response:
            assert response.headers["Cache-Status"].startswith("kokoro-edge; hit")
