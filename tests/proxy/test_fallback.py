"""Providers behind the engine: when they speak, whose voice is heard, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.app import POOL
from proxy.layers import SettingsError
from proxy.settings import (
    EngineSettings,
    FallbackSettings,
    PhrasebookSettings,
    ProviderKind,
    ProviderSettings,
    Settings,
)
from tests.proxy.conftest import HIT, MISS, SPEECH, Barrier, Edge, Heard, StartEdge
from tests.proxy.providers import (
    KEY,
    FakeProvider,
    die_midway,
    never_answer,
    promise_more,
    refuse,
    send,
    speak,
    speech_of,
)

TEXT = "Please hold the line."
NO_STORE = {"Cache-Control": "no-store"}
ONLY_IF_CACHED = {"Cache-Control": "only-if-cached"}

StartBehind = Callable[..., Awaitable[Edge]]
"""`await start_behind(*providers, engine=(...), ready=False, after_s=...)`"""


@pytest.fixture
async def spare() -> AsyncIterator[FakeProvider]:
    provider = FakeProvider()
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
async def other() -> AsyncIterator[FakeProvider]:
    provider = FakeProvider()
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
def start_behind(start_edge: StartEdge, settings: Settings) -> StartBehind:
    async def start(
        *providers: ProviderSettings,
        engine: tuple[str, ...] = ("--fail-to-start",),
        ready: bool = False,
        settings: Settings = settings,
        **fallback: Any,
    ) -> Edge:
        given = FallbackSettings(providers=providers, **fallback)
        return await start_edge(*engine, settings=replace(settings, fallback=given), ready=ready)

    return start


async def say(edge: Edge, text: str = TEXT, headers: Any = None, **fields: Any) -> Heard:
    body = {"input": text, "response_format": "pcm", **fields}
    async with edge.client.post(SPEECH, json=body, headers=headers) as answer:
        return Heard(answer.status, answer.headers, await answer.read())


async def until_ready(edge: Edge) -> None:
    server: Any = edge.client.server
    await server.app[POOL].wait_until_ready()


def key_in(answer: Heard) -> str:
    return str(answer.headers["Cache-Status"]).partition('key="')[2].rstrip('"')


# Who speaks, and how they are asked.


@pytest.mark.parametrize("kind", ["openai", "cartesia", "elevenlabs"])
async def test_a_provider_of_each_kind_speaks_while_the_engine_is_not_there(
    start_behind: StartBehind, spare: FakeProvider, kind: ProviderKind
) -> None:
    edge = await start_behind(spare.settings(kind=kind, voices={"am_adam": "their-adam"}))
    answer = await say(edge)
    assert (answer.status, answer.body) == (200, speech_of(TEXT))
    assert answer.headers["X-Voice"] == "spare/their-voice"
    assert answer.headers["Cache-Status"].startswith("kokoro-edge; fwd=miss; ")
    assert "; detail=spare; key=" in answer.headers["Cache-Status"]
    assert "elsewhere;dur=" in answer.headers["Server-Timing"]
    adam = await say(edge, voice="am_adam", speed=1.1)
    assert adam.headers["X-Voice"] == "spare/their-adam"
    told = [(each.text, each.voice, each.model, each.speed) for each in spare.asked]
    assert told == [
        (TEXT, "their-voice", "a-model", 1.0),
        (TEXT, "their-adam", "a-model", 1.1),
    ]


@pytest.mark.parametrize("format", ["mp3", "wav", "pcm_8000"])
async def test_a_provider_is_heard_in_every_format(
    start_behind: StartBehind, spare: FakeProvider, format: str
) -> None:
    edge = await start_behind(spare.settings())
    first = await say(edge, response_format=format)
    again = await say(edge, response_format=format)
    assert (first.status, again.outcome) == (200, HIT)
    body = again.body
    if format == "wav":
        assert body[:4] == b"RIFF" and body[44:] == speech_of(TEXT)
    if format == "pcm_8000":
        assert len(body) == round(len(speech_of(TEXT)) / 3 / 2) * 2
    assert len(spare.asked) == 1


async def test_no_marks_of_ours_are_sent(start_behind: StartBehind, spare: FakeProvider) -> None:
    edge = await start_behind(spare.settings())
    await say(edge, "Call [Kokoro](/kˈOkəɹO/) **now**.")
    assert [each.text for each in spare.asked] == ["Call Kokoro now."]


async def test_providers_are_asked_in_their_order(
    start_behind: StartBehind, spare: FakeProvider, other: FakeProvider
) -> None:
    edge = await start_behind(spare.settings("first"), other.settings("second"))
    assert (await say(edge)).headers["X-Voice"] == "first/their-voice"
    spare.answer = refuse(500)
    assert (await say(edge, "Another.")).headers["X-Voice"] == "second/their-voice"
    assert (len(spare.asked), len(other.asked)) == (2, 1)


@pytest.mark.parametrize(
    "answer",
    [
        refuse(400),
        refuse(401),
        refuse(429, {"detail": {"status": "quota_exceeded"}}),
        refuse(302),
        send(b""),
        send(b"RIFF and so on"),
        send(b"<html>", "text/html"),
        send(b"\0\0", "audio/mpeg"),
        send(speech_of(TEXT), "audio/L16; rate=16000; channels=1"),
        send(speech_of(TEXT), 'audio/pcm; channels="2"'),
        never_answer,
    ],
    ids=[
        *("400", "401", "429", "302"),
        *("empty", "file", "page", "mp3", "another rate", "stereo", "nothing"),
    ],
)
async def test_who_fails_before_its_first_sound_is_passed_over(
    start_behind: StartBehind, spare: FakeProvider, other: FakeProvider, answer: Any
) -> None:
    spare.answer = answer
    edge = await start_behind(spare.settings("first", timeout_s=0.3), other.settings("second"))
    heard = await say(edge)
    assert heard.headers["X-Voice"] == "second/their-voice"
    assert heard.body == speech_of(TEXT)


@pytest.mark.parametrize(
    "told",
    [
        "audio/pcm; rate=24000; channels=1",
        'audio/L16;Channels="1"; Rate="24000"',
        "audio/pcm; bitrate=384000",
        "audio/pcm; bitrate=384000; rate=24000",
    ],
)
async def test_what_a_provider_tells_of_its_samples_is_read_by_the_parameters_names(
    start_behind: StartBehind, spare: FakeProvider, told: str
) -> None:
    spare.answer = send(speech_of(TEXT), told)
    edge = await start_behind(spare.settings())
    assert (await say(edge)).body == speech_of(TEXT)


async def test_a_speed_that_a_provider_does_not_have_is_not_replaced_by_another(
    start_behind: StartBehind, spare: FakeProvider, other: FakeProvider
) -> None:
    edge = await start_behind(spare.settings("first", "elevenlabs"), other.settings("second"))
    assert (await say(edge, speed=2.0)).headers["X-Voice"] == "second/their-voice"
    assert not spare.asked


async def test_where_nobody_can_speak_the_engines_own_error_is_told(
    start_behind: StartBehind, spare: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    spare.answer = refuse(401, {"error": {"code": "invalid_api_key", "message": TEXT}})
    edge = await start_behind(spare.settings("first"), spare.settings("second", "elevenlabs"))
    answer = await say(edge)
    assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (503, True)
    assert json.loads(answer.body)["error"]["code"] == "engine_loading"
    [line] = [it.getMessage() for it in caplog.records if "no provider" in it.getMessage()]
    assert "first: answered 401 (invalid_api_key); second: answered 401" in line


async def test_neither_keys_nor_text_are_logged(
    start_behind: StartBehind, spare: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    edge = await start_behind(spare.settings(), breaker_failures=1)
    await say(edge)
    spare.answer = refuse(500, {"error": {"message": f"{TEXT} {KEY}"}})
    await say(edge, headers={"Cache-Control": "no-cache"})
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "the provider spare spoke a reply (EngineLoading)" in told
    assert "the provider spare is left alone for a while: answered 500" in told
    assert KEY not in told and TEXT not in told


# When.


async def test_off_by_default(start_edge: StartEdge) -> None:
    edge = await start_edge("--fail-to-start", ready=False)
    assert (await say(edge)).status == 503
    assert "fallback" not in await (await edge.client.get("/health")).json()


async def test_the_engine_speaks_where_it_can(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings(), engine=(), ready=True, after_s=60)
    answer = await say(edge)
    assert (answer.status, answer.headers["X-Voice"]) == (200, "af_bella")
    assert not spare.asked


async def test_an_engine_that_is_too_slow_is_not_waited_for(
    start_behind: StartBehind, spare: FakeProvider, barrier: Barrier
) -> None:
    edge = await start_behind(spare.settings(), engine=(), ready=True, after_s=0.2)
    slow = await say(edge, barrier.text)
    assert slow.headers["X-Voice"] == "spare/their-voice"
    # What it had begun is kept all the same.
    await barrier.release()
    async with asyncio.timeout(30):
        while (again := await say(edge, barrier.text)).headers["X-Voice"] != "af_bella":
            pass
    assert again.status == 200


async def test_an_engine_that_has_too_much_to_do_is_not_queued_for(
    start_behind: StartBehind, spare: FakeProvider, settings: Settings, barrier: Barrier
) -> None:
    full = replace(settings, engine=replace(settings.engine, max_waiting=0))
    edge = await start_behind(spare.settings(), engine=(), ready=True, settings=full, after_s=60)
    before = asyncio.create_task(say(edge, barrier.text))
    await barrier.reached()
    assert (await say(edge)).headers["X-Voice"] == "spare/their-voice"
    await barrier.release()
    assert (await before).headers["X-Voice"] == "af_bella"


async def test_an_engine_that_dies_is_stood_in_for(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings(), engine=(), ready=True, after_s=60)
    answer = await say(edge, "Crash.")
    assert answer.headers["X-Voice"] == "spare/their-voice"


async def test_what_cannot_be_said_is_asked_of_nobody(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings(), engine=(), ready=True, after_s=60)
    assert (await say(edge, "Cannot say.")).status == 400
    assert (await say(edge, "Hello.", voice="nobody")).status == 400
    assert not spare.asked


async def test_providers_speak_before_the_weights_are_here(
    start_behind: StartBehind, spare: FakeProvider, settings: Settings, tmp_path: Path
) -> None:
    bare = replace(
        settings,
        engine=EngineSettings(weights="hub"),
        cache=replace(settings.cache, directory=tmp_path / "bare"),
    )
    edge = await start_behind(spare.settings(), settings=bare)
    assert (await say(edge)).headers["X-Voice"] == "spare/their-voice"
    assert (await say(edge)).outcome == HIT
    spare.answer = refuse(500)
    assert (await say(edge, "Another.")).status == 503


async def test_a_warm_up_is_never_spoken_by_another(
    start_behind: StartBehind, spare: FakeProvider, settings: Settings, tmp_path: Path
) -> None:
    """Not even where the engine dies of it, as it does of this phrase."""
    (tmp_path / "deadly.yaml").write_text(
        "name: deadly\nvoices: [af_bella]\nformats: [mp3]\nphrases: [Crash.]\n", encoding="utf-8"
    )
    deadly = replace(settings, phrasebook=PhrasebookSettings(directory=tmp_path))
    edge = await start_behind(spare.settings(), engine=(), ready=True, settings=deadly, after_s=60)
    async with edge.client.post("/v1/admin/warm", json={}) as answer:
        assert answer.status == 200
        await answer.read()
    assert edge.syntheses()["Crash."] >= 2
    assert not spare.asked


# What is kept.


async def test_what_a_provider_said_is_served_again_while_the_engine_is_away(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings())
    first, again = await say(edge), await say(edge)
    assert (first.outcome, again.outcome) == (MISS, HIT)
    assert again.headers["Cache-Status"].startswith("kokoro-edge; hit; detail=spare; key=")
    assert again.headers["X-Voice"] == "spare/their-voice"
    assert again.body == first.body
    assert key_in(again) == key_in(first)
    assert len(spare.asked) == 1


async def test_the_engine_is_heard_again_as_soon_as_it_is_back(
    start_behind: StartBehind, spare: FakeProvider, barrier: Barrier
) -> None:
    edge = await start_behind(
        spare.settings(), engine=("--slow-start", str(barrier.path)), after_s=60
    )
    away = await say(edge)
    assert away.headers["X-Voice"] == "spare/their-voice"
    await barrier.release()
    await until_ready(edge)
    back = await say(edge)
    assert (back.headers["X-Voice"], back.outcome) == ("af_bella", MISS)
    assert key_in(back) != key_in(away)


async def test_an_address_is_of_one_voice(start_behind: StartBehind, spare: FakeProvider) -> None:
    edge = await start_behind(spare.settings())
    await say(edge)
    answer = await say(edge)
    assert key_in(answer) in answer.headers["Content-Location"]
    found = await edge.client.get(answer.headers["Content-Location"])
    assert (found.status, await found.read()) == (200, speech_of(TEXT))
    assert found.headers["Cache-Control"] == "no-cache"


async def test_a_providers_address_is_told_once_something_is_found_there(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings())
    go_on = asyncio.Event()

    async def pause_midway(request: Any, speech: bytes) -> Any:
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        await response.write(speech[: len(speech) // 2])
        await go_on.wait()
        await response.write(speech[len(speech) // 2 :])
        return response

    spare.answer = pause_midway
    streamed = await edge.ask(TEXT, response_format="pcm")
    assert "Content-Location" not in streamed.headers
    go_on.set()
    assert await streamed.read() == speech_of(TEXT)
    cached = await say(edge)
    assert (await edge.client.get(cached.headers["Content-Location"])).status == 200


async def test_the_engines_address_never_leads_to_a_provider(
    start_behind: StartBehind, spare: FakeProvider, barrier: Barrier
) -> None:
    engine = ("--slow-start", str(barrier.path))
    edge = await start_behind(spare.settings(), engine=engine, after_s=60)
    spoken, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: Any, speech: bytes) -> Any:
        spoken.set()
        await go_on.wait()
        return await speak(request, speech)

    spare.answer = hold
    asking = asyncio.create_task(say(edge))
    await spoken.wait()
    # Its address is known for certain once the engine has said it.
    await barrier.release()
    await until_ready(edge)
    engines = await say(edge, headers={"Cache-Control": "no-store"})
    address = f"/v1/audio/clips/{key_in(engines)}.pcm"
    assert engines.headers["X-Voice"] == "af_bella"
    assert (await edge.client.get(address)).status == 404
    go_on.set()
    assert (await asking).headers["X-Voice"] == "spare/their-voice"
    assert (await edge.client.get(address)).status == 404


async def test_who_asks_the_same_at_the_same_time_shares_one_reply(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings())
    spoken, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: Any, speech: bytes) -> Any:
        spoken.set()
        await go_on.wait()
        return await speak(request, speech)

    spare.answer = hold
    first = asyncio.create_task(say(edge))
    await spoken.wait()
    second = asyncio.create_task(say(edge))
    go_on.set()
    one, two = await asyncio.gather(first, second)
    assert one.body == two.body == speech_of(TEXT)
    assert len(spare.asked) == 1
    assert two.headers["X-Voice"] == "spare/their-voice"


@pytest.mark.parametrize("how", ["keep", "no-store", "never_store"])
async def test_what_is_not_to_be_kept_is_not(
    start_behind: StartBehind, spare: FakeProvider, settings: Settings, how: str
) -> None:
    private = replace(settings, cache=replace(settings.cache, never_store=("long_digit_runs",)))
    edge = await start_behind(spare.settings(keep=how != "keep"), settings=private)
    text = "It is 123 456 789." if how == "never_store" else TEXT
    for _ in range(2):
        answer = await say(edge, text, headers=NO_STORE if how == "no-store" else None)
        assert (answer.status, answer.outcome) == (200, MISS)
        assert "Content-Location" not in answer.headers
    assert len(spare.asked) == 2


async def test_only_what_is_cached_is_served_to_who_wants_nothing_made(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings())
    assert (await say(edge, headers=ONLY_IF_CACHED)).status == 504
    assert not spare.asked


async def test_no_cache_asks_the_provider_again(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings())
    await say(edge)
    again = await say(edge, headers={"Cache-Control": "no-cache"})
    assert "fwd=request" in again.headers["Cache-Status"]
    assert len(spare.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [die_midway, promise_more, send(speech_of(TEXT)[:2000]), send(speech_of(TEXT) + b"\0")],
    ids=["dies", "is cut off", "is too short", "has half a sample"],
)
async def test_who_breaks_off_is_not_replaced_midway_and_nothing_is_kept(
    start_behind: StartBehind, spare: FakeProvider, other: FakeProvider, answer: Any
) -> None:
    edge = await start_behind(spare.settings("first"), other.settings("second"))
    spare.answer = answer
    with pytest.raises(aiohttp.ClientPayloadError):
        await say(edge)
    assert not other.asked
    spare.answer = speak
    again = await say(edge)
    assert (again.outcome, again.body) == (MISS, speech_of(TEXT))


async def test_who_hangs_up_ends_the_request_to_the_provider(
    start_behind: StartBehind, spare: FakeProvider
) -> None:
    edge = await start_behind(spare.settings())
    asked, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, speech: bytes) -> Any:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    spare.answer = wait
    asking = asyncio.create_task(say(edge))
    await asked.wait()
    asking.cancel()
    async with asyncio.timeout(30):
        await ended.wait()
    health = await (await edge.client.get("/health")).json()
    assert health["fallback"] == {"spare": "up"}


async def test_health_tells_who_is_left_alone(
    start_behind: StartBehind, spare: FakeProvider, other: FakeProvider
) -> None:
    edge = await start_behind(spare.settings("first"), other.settings("second"), breaker_failures=2)
    spare.answer = refuse(503)
    for number in ("One.", "Two.", "Three."):
        assert (await say(edge, number)).headers["X-Voice"] == "second/their-voice"
    health = await (await edge.client.get("/health")).json()
    assert health["fallback"] == {"first": "down", "second": "up"}
    assert len(spare.asked) == 2


async def test_a_key_that_is_not_there_is_told_before_anything_is_started(
    start_behind: StartBehind, spare: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPARE_KEY", raising=False)
    from_variable = spare.settings(api_key=None, api_key_variable="SPARE_KEY")
    with pytest.raises(SettingsError, match=r"spare .* variable SPARE_KEY, which is not set"):
        await start_behind(from_variable)
    monkeypatch.setenv("SPARE_KEY", KEY)
    edge = await start_behind(from_variable)
    assert (await say(edge)).status == 200
