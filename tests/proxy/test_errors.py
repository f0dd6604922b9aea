"""Every error a client can get has OpenAI's shape, and says whose fault it is."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from aiohttp import FormData
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.api.errors import PROBLEMS, response_to
from synth.engine import EngineError
from tests.proxy.conftest import SPEECH, Edge

JSON = {"Content-Type": "application/json"}


async def told(edge: Edge, body: bytes | dict[str, Any], headers: Any = JSON) -> dict[str, Any]:
    """The status and the error of the answer to this body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await edge.client.post(SPEECH, data=data, headers=headers)
    return {"status": answer.status, **check(await answer.read())}


def check(body: bytes) -> dict[str, Any]:
    """The error in an answer, once it has exactly OpenAI's shape."""
    document = json.loads(body)
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str) and isinstance(error["code"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    return error


INVALID = [
    (b"", None, "invalid_value", "not valid JSON"),
    (b"{", None, "invalid_value", "not valid JSON"),
    (b"\xff\xfe", None, "invalid_value", "not valid JSON"),
    (b'{"input": "\\ud800"}', None, "invalid_value", "not valid JSON"),
    (b"[" * 100_000, None, "invalid_value", "not valid JSON"),
    (b"[]", None, "invalid_value", "must be a JSON object"),
    (b'"text"', None, "invalid_value", "must be a JSON object"),
    (b"null", None, "invalid_value", "must be a JSON object"),
    ({}, "input", "invalid_value", "required"),
    ({"input": None}, "input", "invalid_value", "required"),
    ({"input": ""}, "input", "invalid_value", "empty"),
    ({"input": " \n\t "}, "input", "invalid_value", "empty"),
    ({"input": 5}, "input", "invalid_value", "string"),
    ({"input": ["text"]}, "input", "invalid_value", "string"),
    ({"input": "x" * 4097}, "input", "string_above_max_length", "4097"),
    ({"input": "?!..."}, "input", "cannot_say", "nothing to say"),
    ({"input": "你好"}, "input", "cannot_say", "American English"),
    ({"input": "Hi.", "voice": "af_bela"}, "voice", "voice_not_found", "'af_bella'"),
    ({"input": "Hi.", "voice": ""}, "voice", "voice_not_found", "voice"),
    ({"input": "Hi.", "voice": "af_bella+"}, "voice", "voice_not_found", "af_bella(2)+af_sky(1)"),
    ({"input": "Hi.", "voice": "af_bella(0)"}, "voice", "voice_not_found", "above 0"),
    ({"input": "Hi.", "voice": "af_bella(-1)"}, "voice", "voice_not_found", "Cannot read"),
    ({"input": "Hi.", "voice": "+".join(["af_sky"] * 9)}, "voice", "voice_not_found", "at most"),
    ({"input": "Hi.", "voice": 5}, "voice", "invalid_value", "must be a name"),
    ({"input": "Hi.", "speed": 0.24}, "speed", "invalid_value", "0.25 to 4.0"),
    ({"input": "Hi.", "speed": 4.01}, "speed", "invalid_value", "0.25 to 4.0"),
    ({"input": "Hi.", "speed": float("nan")}, "speed", "invalid_value", "0.25 to 4.0"),
    ({"input": "Hi.", "speed": float("inf")}, "speed", "invalid_value", "0.25 to 4.0"),
    ({"input": "Hi.", "speed": "fast"}, "speed", "invalid_value", "number"),
    ({"input": "Hi.", "speed": True}, "speed", "invalid_value", "number"),
    ({"input": "Hi.", "response_format": "mp4"}, "response_format", "invalid_value", "'mp3'"),
    ({"input": "Hi.", "response_format": ""}, "response_format", "invalid_value", "wav"),
    ({"input": "Hi.", "lang_code": "klingon"}, "lang_code", "language_not_found", "en-gb"),
    ({"input": "Hi.", "lang_code": 1}, "lang_code", "invalid_value", "string"),
    ({"input": "Hi.", "model": 1}, "model", "invalid_value", "string"),
]


@pytest.mark.parametrize(("body", "param", "code", "says"), INVALID)
async def test_a_wrong_request_is_told_what_is_wrong(
    edge: Edge, body: bytes | dict[str, Any], param: str | None, code: str, says: str
) -> None:
    error = await told(edge, body)
    message = error.pop("message")
    assert error == {
        "status": 400,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    assert says in message
    assert edge.syntheses().total() == 0


@pytest.mark.parametrize(("fields"), [{"lang_code": "j"}, {"voice": "jf_alpha"}])
async def test_a_language_whose_extra_is_missing_is_told_with_the_extra(
    edge: Edge, fields: dict[str, str]
) -> None:
    voices = (await (await edge.client.get("/v1/audio/voices")).json())["voices"]
    if next(voice["installed"] for voice in voices if voice["id"] == "jf_alpha"):
        pytest.skip("the extra is installed here")
    error = await told(edge, {"input": "Hi.", **fields})
    assert (error["status"], error["code"]) == (400, "language_not_found")
    assert "kokoro-edge[ja]" in error["message"]


async def test_a_body_over_the_limit_is_refused(edge: Edge) -> None:
    error = await told(edge, {"input": "Hi.", "padding": "x" * 256 * 1024})
    assert (error["status"], error["code"]) == (413, "body_too_large")
    assert error["type"] == "invalid_request_error"


async def test_a_small_body_that_inflates_over_the_limit_is_refused(edge: Edge) -> None:
    body = zlib.compress(json.dumps({"input": "Hi.", "padding": "x" * 10_000_000}).encode())
    assert len(body) < 64 * 1024
    error = await told(edge, body, {**JSON, "Content-Encoding": "deflate"})
    assert (error["status"], error["code"]) == (413, "body_too_large")


async def test_a_body_that_does_not_inflate_is_the_clients_fault(edge: Edge) -> None:
    error = await told(edge, b"this is not deflated", {**JSON, "Content-Encoding": "deflate"})
    assert error["status"] == 400
    assert error["type"] == "invalid_request_error"


async def test_a_deflated_body_is_read(edge: Edge) -> None:
    body = zlib.compress(json.dumps({"input": "Hi."}).encode())
    answer = await edge.client.post(
        SPEECH, data=body, headers={**JSON, "Content-Encoding": "deflate"}
    )
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/nothing", "/v1/readyz", "/v1/audio", "/v1/audio/speech/"])
async def test_an_unknown_path_is_not_found(edge: Edge, path: str) -> None:
    for answer in (await edge.client.get(path), await edge.client.post(path, json={})):
        error = check(await answer.read())
        assert (answer.status, error["code"]) == (404, "not_found")
        assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", SPEECH, "POST"),
        ("DELETE", SPEECH, "POST"),
        ("POST", "/health", "GET,HEAD"),
        ("PUT", "/v1/models", "GET,HEAD"),
    ],
)
async def test_a_wrong_method_is_told_which_are_right(
    edge: Edge, method: str, path: str, allowed: str
) -> None:
    answer = await edge.client.request(method, path)
    error = check(await answer.read())
    assert (answer.status, error["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


async def test_unknown_and_empty_fields_are_ignored(edge: Edge) -> None:
    body = {
        "input": "Hi.",
        "model": "gpt-4o-mini-tts",
        "instructions": "",
        "stream_format": "audio",
        "speed": None,
        "voice": None,
        "nobody": {"knows": ["this"]},
    }
    answer = await edge.client.post(SPEECH, json=body)
    assert answer.status == 200
    assert answer.headers["X-Voice"] == "af_bella"


@pytest.mark.parametrize("speed", [0.25, 4, 4.0, 1])
async def test_the_ends_of_the_range_of_speeds_are_in_it(edge: Edge, speed: float) -> None:
    assert (await edge.say("Hi.", speed=speed)).status == 200


async def test_the_longest_input_is_taken(edge: Edge) -> None:
    text = ("Hi there. " * 410)[:4096]
    assert len(text) == 4096
    assert (await edge.say(text, response_format="pcm")).status == 200


async def test_a_form_is_not_json(edge: Edge) -> None:
    answer = await edge.client.post(SPEECH, data=FormData({"input": "Hi."}))
    assert answer.status == 400
    check(await answer.read())


texts = st.sampled_from(["Hi.", "Yes. No.", "", " ", "?", "你好", "\x00", "Hi\x00there", "é", "😀"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "input": texts | anything,
        "model": texts | anything,
        "voice": st.sampled_from(["af_bella", "af_bella+bf_emma(3)", "af_bella(٣)", "+"])
        | anything,
        "speed": st.sampled_from([0.25, 1, 4.0, 10**400, -0.0]) | anything,
        "response_format": st.sampled_from(["mp3", "wav", "pcm"]) | anything,
        "lang_code": st.sampled_from(["a", "en-gb", "j", ""]) | anything,
        "instructions": anything,
    },
)
bodies = (
    st.binary(max_size=30)
    | anything.map(lambda value: json.dumps(value).encode())
    | fields.map(lambda value: json.dumps(value).encode())
)


@given(body=bodies)
@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_is_sent_the_answer_is_audio_or_the_clients_fault(
    edge: Edge, body: bytes
) -> None:
    answer = await edge.client.post(SPEECH, data=body, headers=JSON)
    data = await answer.read()
    if answer.status == 200:
        assert answer.content_type.startswith("audio/")
        assert data
    else:
        assert answer.status == 400
        assert check(data)["type"] == "invalid_request_error"


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_error_of_the_engine_is_told_by_its_own_row_or_a_parents() -> None:
    every = subclasses(EngineError)
    assert len(every) >= 8
    for kind in every:
        assert any(parent in PROBLEMS for parent in kind.__mro__), kind
    # Told apart: a wrong request from a failure of ours, what comes back from what does not.
    assert every <= set(PROBLEMS)


def test_whose_fault_it_is_follows_from_the_status() -> None:
    for problem in PROBLEMS.values():
        assert (problem.status < 500) == (problem.type in ("invalid_request_error", "requests"))
    assert len({problem.code for problem in PROBLEMS.values()}) == len(PROBLEMS)


def test_an_error_of_nobodys_is_not_told() -> None:
    assert response_to(RuntimeError("inside")) is None
