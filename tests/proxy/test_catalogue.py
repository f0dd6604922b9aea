"""What there is, told at once whatever the engine does."""

from __future__ import annotations

import pytest

from proxy import __version__
from synth.voices import VOICES
from tests.proxy.conftest import Barrier, Edge, StartEdge


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
async def test_the_root_tells_what_this_is(edge: Edge, path: str) -> None:
    answer = await edge.client.get(path)
    assert answer.status == 200
    assert await answer.json() == {
        "name": "kokoro-edge",
        "version": __version__,
        "model": "kokoro-82m",
        "voices": list(VOICES),
    }


async def test_health_says_that_the_engine_is_up(edge: Edge) -> None:
    answer = await edge.client.get("/health")
    assert answer.status == 200
    assert await answer.json() == {"status": "ok", "model_loaded": True, "device": "cpu"}


async def test_health_answers_while_the_engine_loads(
    start_edge: StartEdge, barrier: Barrier
) -> None:
    edge = await start_edge("--slow-start", str(barrier.path), ready=False)
    answer = await edge.client.get("/health")
    assert answer.status == 200
    assert await answer.json() == {"status": "loading", "model_loaded": False, "device": None}


async def test_there_is_one_model(edge: Edge) -> None:
    answer = await edge.client.get("/v1/models")
    body = await answer.json()
    assert answer.status == 200
    assert body["object"] == "list"
    [model] = body["data"]
    assert set(model) == {"id", "object", "created", "owned_by"}
    assert (model["id"], model["object"]) == ("kokoro-82m", "model")


async def test_any_name_is_that_model(edge: Edge) -> None:
    [model] = (await (await edge.client.get("/v1/models")).json())["data"]
    for name in ("tts-1", "gpt-4o-mini-tts", "kokoro-82m"):
        answer = await edge.client.get(f"/v1/models/{name}")
        assert answer.status == 200
        assert await answer.json() == {**model, "id": name}


async def test_all_voices_are_listed_with_what_they_are(edge: Edge) -> None:
    answer = await edge.client.get("/v1/audio/voices")
    voices = (await answer.json())["voices"]
    assert answer.status == 200
    assert [voice["id"] for voice in voices] == list(VOICES)
    assert len(voices) == 54
    for voice in voices:
        assert set(voice) == {"id", "name", "language", "accent", "gender", "installed"}
        assert voice["gender"] in ("female", "male")
        assert isinstance(voice["installed"], bool)
    [emma] = [voice for voice in voices if voice["id"] == "bf_emma"]
    assert emma == {
        "id": "bf_emma",
        "name": "Emma",
        "language": "en-gb",
        "accent": "British English",
        "gender": "female",
        "installed": True,
    }


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/v1/audio/voices"])
async def test_head_answers_as_get_without_a_body(edge: Edge, path: str) -> None:
    answer = await edge.client.head(path)
    assert answer.status == 200
    assert await answer.read() == b""
    assert answer.content_type == "application/json"
    assert answer.headers["X-Request-Id"]
