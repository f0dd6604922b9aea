"""Platforms that ask for speech in words of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.settings import AuthSettings, Settings
from tests.proxy.conftest import HIT, MISS, Barrier, Edge, Heard, StartEdge

VAPI = "/v1/webhooks/vapi"
JAMBONZ = "/v1/webhooks/jambonz"

CALL = {"id": "c1", "type": "inboundPhoneCall", "assistant": {"name": "front desk"}}


async def post(edge: Edge, path: str, body: object) -> Heard:
    answer = await edge.client.post(path, json=body)
    return Heard(answer.status, answer.headers, await answer.read())


def vapi(text: object = "Got it.", rate_hz: object = 8_000, **others: Any) -> dict[str, object]:
    message = {"type": "voice-request", "text": text, "sampleRate": rate_hz, "call": CALL}
    return {"message": message | others}


def jambonz(text: object = "Got it.", **others: Any) -> dict[str, object]:
    return {"language": "en-US", "voice": "af_bella", "type": "text", "text": text} | others


def error_of(heard: Heard) -> dict[str, str]:
    error: dict[str, str] = json.loads(heard.body)["error"]
    return error


# Vapi.


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000])
async def test_vapi_gets_raw_samples_at_exactly_its_rate(edge: Edge, rate_hz: int) -> None:
    heard = await post(edge, VAPI, vapi(rate_hz=rate_hz))
    same = await edge.say("Got it.", response_format="pcm", sample_rate=rate_hz)
    assert heard.headers["Content-Type"] == "application/octet-stream"
    assert (heard.outcome, same.outcome) == (MISS, HIT)
    assert heard.body == same.body
    # 7 characters of 0.02 s.
    assert len(heard.body) / 2 / rate_hz == pytest.approx(0.14, abs=1e-3)
    again = await post(edge, VAPI, vapi(rate_hz=rate_hz))
    assert (again.outcome, again.body) == (HIT, heard.body)
    assert again.headers["Content-Type"] == "application/octet-stream"


async def test_vapi_hears_the_first_sentence_while_the_next_is_made(
    edge: Edge, barrier: Barrier
) -> None:
    answer = await edge.client.post(VAPI, json=vapi(f"Hello there. {barrier.text}"))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert await answer.content.readexactly(1_000)
    await barrier.release()
    await answer.read()


async def test_the_address_says_what_vapi_cannot(edge: Edge) -> None:
    query = "?voice=nova&speed=1.25&lang_code=b&phrasebook=little"
    heard = await post(edge, VAPI + query, vapi())
    assert heard.headers["X-Voice"] == "af_nova"
    same = {"voice": "af_nova", "speed": 1.25, "lang_code": "b", "phrasebook": "little"}
    again = await edge.say("Got it.", response_format="pcm", sample_rate=8_000, **same)
    assert again.outcome == HIT


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (vapi(rate_hz=44_100), "message.sampleRate"),
        (vapi(rate_hz="8000"), "message.sampleRate"),
        (vapi(rate_hz=None), "message.sampleRate"),
        (vapi(text=" "), "message.text"),
        (vapi(text=None), "message.text"),
        (vapi(type="status-update"), "message.type"),
        ({"message": {}}, "message.type"),
        ({}, "message"),
        ([], None),
    ],
)
async def test_what_vapi_does_not_send_is_refused(
    edge: Edge, body: object, param: str | None
) -> None:
    heard = await post(edge, VAPI, body)
    assert (heard.status, error_of(heard)["param"]) == (400, param)
    assert edge.syntheses() == {}


# jambonz.


@pytest.mark.parametrize(
    ("query", "content_type", "format"),
    [
        ("", "audio/l16;rate=8000", {"response_format": "l16", "sample_rate": 8_000}),
        (
            "?response_format=l16&sample_rate=16000",
            "audio/l16;rate=16000",
            {"response_format": "l16", "sample_rate": 16_000},
        ),
        ("?response_format=wav", "audio/wav", {"response_format": "wav", "sample_rate": 8_000}),
        (
            "?response_format=mp3&sample_rate=24000",
            "audio/mpeg",
            {"response_format": "mp3", "sample_rate": 24_000},
        ),
    ],
)
async def test_jambonz_gets_a_type_that_it_knows(
    edge: Edge, query: str, content_type: str, format: dict[str, object]
) -> None:
    heard = await post(edge, JAMBONZ + query, jambonz())
    assert (heard.status, heard.headers["Content-Type"]) == (200, content_type)
    assert (await edge.say("Got it.", **format)).body == heard.body


async def test_jambonz_gets_a_reply_when_all_of_it_is_there(edge: Edge) -> None:
    heard = await post(edge, JAMBONZ, jambonz("Hello there. How are you?"))
    assert int(heard.headers["Content-Length"]) == len(heard.body)


async def test_jambonz_gets_a_failure_as_a_status_and_not_in_the_middle(edge: Edge) -> None:
    heard = await post(edge, JAMBONZ, jambonz("Hello there. Bad audio."))
    assert heard.status == 502


@pytest.mark.parametrize(
    ("fields", "voice", "language"),
    [
        ({"voice": "alloy"}, "af_alloy", "a"),
        ({"voice": "bf_emma", "language": "en-US"}, "bf_emma", "b"),
        ({"voice": "bf_emma", "language": "en-AU"}, "bf_emma", "b"),
        ({"voice": "ef_dora", "language": "es-MX"}, "ef_dora", "e"),
        ({"voice": "af_bella", "language": "fr-FR"}, "af_bella", "f"),
        ({"voice": "", "language": ""}, "af_bella", "a"),
        ({"voice": None, "language": None}, "af_bella", "a"),
    ],
)
async def test_in_its_own_language_a_voice_keeps_its_accent(
    edge: Edge, fields: dict[str, object], voice: str, language: str
) -> None:
    heard = await post(edge, JAMBONZ, jambonz(**fields))
    assert heard.headers["X-Voice"] == voice
    same = await edge.say(
        "Got it.", voice=voice, lang_code=language, response_format="l16", sample_rate=8_000
    )
    assert same.outcome == HIT


@pytest.mark.parametrize(
    ("query", "fields", "param", "says"),
    [
        ("", {"type": "ssml", "text": "<speak>Hi</speak>"}, "type", "send plain text"),
        ("", {"type": "music"}, "type", "'text'"),
        ("", {"text": None}, "text", "valid string"),
        ("", {"text": ""}, "text", "'text' is empty"),
        ("", {"voice": "zoe"}, "voice", "no voice 'zoe'"),
        ("", {"language": "da-DK"}, "lang_code", "da-DK"),
        ("?response_format=opus", {}, "response_format", "l16, wav, mp3"),
        ("?sample_rate=22050", {}, "sample_rate", "8000, 16000"),
        ("?sample_rate=8khz", {}, "sample_rate", "8khz"),
        ("?speed=fast", {}, "speed", "'speed' is wrong"),
        ("?speed=null", {}, "speed", "'speed' is wrong"),
        ('?speed="1"', {}, "speed", "'speed' is wrong"),
        ("?sample_rate=[8000]", {}, "sample_rate", "[8000]"),
        ("?speeed=1", {}, "speeed", "Did you mean 'speed'"),
        ("?speed=1&speed=2", {}, "speed", "twice"),
    ],
)
async def test_a_mistake_is_told(
    edge: Edge, query: str, fields: dict[str, object], param: str, says: str
) -> None:
    heard = await post(edge, JAMBONZ + query, jambonz(**fields))
    error = error_of(heard)
    assert (heard.status, error["param"]) == (400, param)
    assert says in error["message"]
    assert edge.syntheses() == {}


# Keys.


async def test_vapis_secret_is_a_key_and_only_there(
    start_edge: StartEdge, settings: Settings
) -> None:
    auth = AuthSettings(keys={"desk": SecretStr("a-key-of-the-desk")})
    edge = await start_edge(settings=replace(settings, auth=auth))
    for path, body in ((VAPI, vapi()), (JAMBONZ, jambonz())):
        secret = {"X-VAPI-SECRET": "a-key-of-the-desk"}
        bearer = {"Authorization": "Bearer a-key-of-the-desk"}
        wrong = {"X-VAPI-SECRET": "a-key-of-nobody"}
        statuses = [
            (await edge.client.post(path, json=body, headers=headers)).status
            for headers in ({}, wrong, secret, bearer)
        ]
        assert statuses == [401, 401, 200 if path == VAPI else 401, 200]
