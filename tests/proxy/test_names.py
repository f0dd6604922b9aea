"""What clients call voices, models, sample rates and addresses, and what they send beside it."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
import soundfile

from proxy.setting_values import OPENAI_VOICES
from proxy.settings import Settings, VoiceSettings
from synth.voices import VOICES
from tests.proxy.conftest import HIT, MISS, SPEECH, Edge, Heard, StartEdge

OPENAI_NAMES = (
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse"
).split()
"""All there are in OpenAI's API."""


def error_of(heard: Heard) -> dict[str, str]:
    error: dict[str, str] = json.loads(heard.body)["error"]
    return error


def rate_of(heard: Heard) -> int:
    return int(soundfile.info(io.BytesIO(heard.body)).samplerate)


# Voices.


def test_every_voice_of_openai_stands_for_another_voice_of_ours() -> None:
    assert sorted(OPENAI_VOICES) == OPENAI_NAMES
    assert set(OPENAI_VOICES.values()) <= set(VOICES)
    assert len(set(OPENAI_VOICES.values())) == 13
    # English, like theirs.
    assert {voice[0] for voice in OPENAI_VOICES.values()} == {"a", "b"}


@pytest.mark.parametrize("name", OPENAI_NAMES)
async def test_a_voice_of_openai_is_heard_as_ours(edge: Edge, name: str) -> None:
    heard = await edge.say("Got it.", voice=name)
    assert (heard.status, heard.headers["X-Voice"]) == (200, OPENAI_VOICES[name])
    assert (await edge.say("Got it.", voice=OPENAI_VOICES[name])).outcome == HIT


@pytest.mark.parametrize("voice", ["af_sky", "alloy", "af_bella+af_sky"])
async def test_a_voice_may_be_an_object_with_an_id(edge: Edge, voice: str) -> None:
    heard = await edge.say("Got it.", voice={"id": voice})
    assert heard.status == 200
    assert (await edge.say("Got it.", voice=voice)).outcome == HIT


@pytest.mark.parametrize(
    "voice", [{}, {"name": "af_sky"}, {"id": 3}, {"id": {"id": "a"}}, ["a"], 3]
)
async def test_a_voice_that_is_no_name_is_refused(edge: Edge, voice: object) -> None:
    heard = await edge.say("Got it.", voice=voice)
    assert (heard.status, error_of(heard)["param"]) == (400, "voice")
    assert '{"id": "af_bella"}' in error_of(heard)["message"]


async def test_the_operator_may_change_what_names_stand_for(
    start_edge: StartEdge, settings: Settings
) -> None:
    aliases = {"alloy": "bf_emma", "duo": "af_bella(2)+af_sky"}
    edge = await start_edge(settings=replace(settings, voice=VoiceSettings(aliases=aliases)))
    for name, voice in ({**OPENAI_VOICES, **aliases, "duo": "af_bella(2)+af_sky(1)"}).items():
        assert (await edge.say("Got it.", voice=name)).headers["X-Voice"] == voice


async def test_the_list_of_voices_tells_what_names_stand_for(edge: Edge) -> None:
    listed = await (await edge.client.get("/v1/audio/voices")).json()
    assert listed["aliases"] == OPENAI_VOICES
    assert set(OPENAI_VOICES.values()) <= {voice["id"] for voice in listed["voices"]}
    assert all(
        voice.keys() >= {"id", "name", "language", "accent", "gender"} for voice in listed["voices"]
    )


# Models, and the sample rate in their names.


async def test_models_are_listed_as_open_webui_reads_them(edge: Edge) -> None:
    listed = await (await edge.client.get("/v1/audio/models")).json()
    assert listed == await (await edge.client.get("/v1/models")).json()
    assert [model["id"] for model in listed["models"]] == [listed["data"][0]["id"]]


@pytest.mark.parametrize(
    "model", ["tts-1", "gpt-4o-mini-tts", "a@b", "me/x@2024-12-17", "x@20250101"]
)
async def test_any_name_is_the_model(edge: Edge, model: str) -> None:
    heard = await edge.say("Got it.", model=model, response_format="wav")
    assert (heard.status, rate_of(heard)) == (200, 24_000)


async def test_a_models_name_may_end_in_a_sample_rate(edge: Edge) -> None:
    for model, rate_hz in (("tts-1@8000", 8_000), ("kokoro@16000", 16_000)):
        assert rate_of(await edge.say("Got it.", model=model, response_format="wav")) == rate_hz
    heard = await edge.say("Got it.", model="gpt-4o-mini-tts@8000", response_format="pcm")
    assert heard.headers["Content-Type"] == "audio/pcm;rate=8000"


@pytest.mark.parametrize("rate", ["8001", "11025", "96000", "0000"])
async def test_a_models_name_with_a_sample_rate_that_there_is_not_is_refused(
    edge: Edge, rate: str
) -> None:
    heard = await edge.say("Got it.", model=f"kokoro@{rate}")
    assert (heard.status, error_of(heard)["param"]) == (400, "model")
    assert "8000, 16000" in error_of(heard)["message"]


# The sample rate in the address.


async def test_a_base_url_may_end_in_a_sample_rate(edge: Edge) -> None:
    body = {"input": "Got it.", "response_format": "wav"}
    for rate_hz in (8_000, 48_000):
        for outcome in (MISS, HIT):
            answer = await edge.client.post(f"/v1/rate/{rate_hz}/audio/speech", json=body)
            heard = Heard(answer.status, answer.headers, await answer.read())
            assert (rate_of(heard), heard.outcome) == (rate_hz, outcome)
    assert rate_of(await edge.say("Got it.", response_format="wav")) == 24_000


@pytest.mark.parametrize(
    "fields",
    [
        {"sample_rate": 16_000, "response_format": "wav"},
        {"response_format": "wav_16000"},
        {"model": "kokoro@16000", "response_format": "wav"},
    ],
)
async def test_what_a_request_says_counts_for_more_than_its_address(
    edge: Edge, fields: dict[str, object]
) -> None:
    body = {"input": "Got it.", **fields}
    answer = await edge.client.post("/v1/rate/8000/audio/speech", json=body)
    assert rate_of(Heard(answer.status, answer.headers, await answer.read())) == 16_000


@pytest.mark.parametrize("rate", ["8001", "11025", "960000"])
async def test_a_base_url_with_a_sample_rate_that_there_is_not_is_refused(
    edge: Edge, rate: str
) -> None:
    answer = await edge.client.post(f"/v1/rate/{rate}/audio/speech", json={"input": "Got it."})
    error = error_of(Heard(answer.status, answer.headers, await answer.read()))
    assert (answer.status, error["param"]) == (400, "sample_rate")
    assert "8000, 16000" in error["message"]


@pytest.mark.parametrize(
    "path", ["", "/", "/models", "/models/tts-1", "/audio/models", "/audio/voices"]
)
async def test_a_base_url_with_a_sample_rate_has_the_rest_of_the_api(edge: Edge, path: str) -> None:
    answer = await edge.client.get(f"/v1/rate/8000{path}")
    assert answer.status == 200
    assert await answer.json() == await (await edge.client.get(f"/v1{path}")).json()


@pytest.mark.parametrize(
    "path", ["", "/", "/models", "/models/tts-1", "/audio/models", "/audio/voices"]
)
async def test_a_base_url_that_is_wrong_is_told_so_whatever_is_asked_first(
    edge: Edge, path: str
) -> None:
    answer = await edge.client.get(f"/v1/rate/8001{path}")
    error = error_of(Heard(answer.status, answer.headers, await answer.read()))
    assert (answer.status, error["param"]) == (400, "sample_rate")


@pytest.mark.parametrize("path", ["/v1/readyz", "/v1/test", "/readyz"])
async def test_this_is_not_taken_for_another_server(edge: Edge, path: str) -> None:
    assert (await edge.client.get(path)).status == 404


# What clients send beside it.


async def test_instructions_are_taken_and_change_nothing(edge: Edge) -> None:
    assert (await edge.say("Got it.")).status == 200
    for instructions in ("", "Whisper.", "x" * 4096):
        assert (await edge.say("Got it.", instructions=instructions)).outcome == HIT
    assert await counted(edge) == {}


async def counted(edge: Edge) -> dict[str, int]:
    told = await (await edge.client.get("/v1/admin/unknown-fields")).json()
    return {field["name"]: field["requests"] for field in told["unknown_fields"]}


async def test_fields_that_are_not_known_are_ignored_and_counted(edge: Edge) -> None:
    heard = await edge.say("Got it.", chunk_length=200, seed=7)
    assert heard.status == 200
    for _ in range(2):  # The same bytes, which are not read again.
        assert (await edge.say("Got it.", seed=7, nothing=None)).outcome == HIT
    assert await counted(edge) == {"seed": 3, "chunk_length": 1}


async def test_the_names_of_fields_that_are_counted_are_bounded(edge: Edge) -> None:
    for begin in range(0, 100, 10):
        await edge.say("Got it.", **{f"field_{begin + i}": 1 for i in range(10)})
    await edge.client.post(SPEECH, json={"input": "Got it.", "x" * 1000: 1})
    names = await counted(edge)
    assert len(names) == 65
    assert names["(others)"] == 37
    assert max(map(len, names)) <= 64
