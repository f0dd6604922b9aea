"""`stream_format: "sse"`: the same audio, in OpenAI's events."""

from __future__ import annotations

import base64
import json
from typing import Any

import aiohttp
import pytest

from tests.proxy.conftest import HIT, MISS, SPEECH, Barrier, Edge, Heard, outcome_of

TEXT = "Hello there. How are you?"


def read_events(body: bytes) -> list[dict[str, Any]]:
    blocks = body.decode().split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def audio_of(heard: Heard) -> bytes:
    *deltas, done = read_events(heard.body)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert done["type"] == "speech.audio.done"
    return b"".join(base64.b64decode(event["audio"], validate=True) for event in deltas)


async def streamed_again(edge: Edge, **fields: Any) -> Heard:
    """The reply made anew, and so as a stream."""
    answer = await edge.client.post(SPEECH, json=fields, headers={"Cache-Control": "no-cache"})
    return Heard(answer.status, answer.headers, await answer.read())


@pytest.mark.parametrize("format", ["mp3", "opus", "wav", "pcm"])
async def test_events_carry_the_bytes_of_the_reply(edge: Edge, format: str) -> None:
    made = await edge.say(TEXT, response_format=format, stream_format="sse")
    plain = await edge.say(TEXT, response_format=format)
    kept = await edge.say(TEXT, response_format=format, stream_format="sse")
    assert [each.outcome for each in (made, plain, kept)] == [MISS, HIT, HIT]
    assert made.headers["Content-Type"] == kept.headers["Content-Type"] == "text/event-stream"
    assert audio_of(kept) == plain.body
    streamed = await streamed_again(edge, input=TEXT, response_format=format)
    assert audio_of(made) == streamed.body


async def test_the_last_event_counts_characters_and_twentieths_of_a_second(edge: Edge) -> None:
    heard = await edge.say(TEXT, stream_format="sse")
    # 12 and 12 characters at 0.02 s, and 0.30 s between them, are 0.78 s.
    assert read_events(heard.body)[-1]["usage"] == {
        "input_tokens": len(TEXT),
        "output_tokens": 16,
        "total_tokens": len(TEXT) + 16,
    }


async def test_no_event_is_larger_than_half_a_second_of_pcm(edge: Edge) -> None:
    text = "This is one long sentence that goes on and on without an end for quite a while."
    for _ in range(2):
        heard = await edge.say(text, response_format="pcm", stream_format="sse")
        sizes = [len(base64.b64decode(each.get("audio", ""))) for each in read_events(heard.body)]
        assert len(sizes) > 2 and max(sizes) <= 24_576


async def test_the_first_event_comes_while_the_rest_is_made(edge: Edge, barrier: Barrier) -> None:
    answer = await edge.ask(
        f"Hello there. {barrier.text}", response_format="pcm", stream_format="sse"
    )
    first = json.loads((await answer.content.readuntil(b"\n\n")).removeprefix(b"data: "))
    # All of the first sentence, which is 12 characters of 0.02 s.
    assert len(base64.b64decode(first["audio"])) >= 12 * 960
    assert outcome_of(answer.headers) == MISS
    await barrier.release()
    assert read_events(await answer.read())[-1]["type"] == "speech.audio.done"


async def test_a_failure_between_events_aborts_the_connection(edge: Edge, barrier: Barrier) -> None:
    answer = await edge.ask(f"Hello there. {barrier.text} Bad audio.", stream_format="sse")
    await barrier.release()
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.read()
    again = await edge.say("Hello there.", stream_format="sse")
    assert again.status == 200


async def test_a_failure_before_the_first_event_is_an_error_like_any_other(edge: Edge) -> None:
    heard = await edge.say("Bad audio.", stream_format="sse")
    assert (heard.status, heard.headers["Content-Type"].partition(";")[0]) == (
        502,
        "application/json",
    )


async def test_events_are_not_taken_for_the_audio_that_has_an_address(edge: Edge) -> None:
    for _ in range(2):
        headers = (await edge.say("Got it.", stream_format="sse")).headers
        assert not any(name in headers for name in ("ETag", "Content-Location", "Content-Length"))
        assert all(
            name in headers for name in ("Cache-Status", "Server-Timing", "X-Request-Id", "X-Voice")
        )
        assert headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("asked", ["audio", None])
async def test_audio_by_itself_is_the_default(edge: Edge, asked: str | None) -> None:
    heard = await edge.say("Got it.", stream_format=asked)
    assert heard.headers["Content-Type"] == "audio/mpeg"


@pytest.mark.parametrize("asked", ["event-stream", "", 1, ["sse"]])
async def test_another_stream_format_is_refused(edge: Edge, asked: object) -> None:
    heard = await edge.say("Got it.", stream_format=asked)
    error = json.loads(heard.body)["error"]
    assert (heard.status, error["param"]) == (400, "stream_format")
    assert "'audio' or 'sse'" in error["message"]
