"""`stream_format: "sse"`: a reply as server-sent events, in the words of OpenAI's API."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import AsyncIterator

from proxy.speech.reply import Reply

CONTENT_TYPE = "text/event-stream"

_DELTA_BYTES = 24_576
"""Of audio in one event at most: half a second of 24 kHz PCM. Three divide it, so that base64 needs
no filling before the end."""

_TOKENS_PER_S = 20
"""Clients add `usage` up. Nothing here counts in tokens: a character that is said counts as one,
and so does every 50 ms of audio."""


async def events(reply: Reply, characters: int) -> AsyncIterator[bytes]:
    """The bytes of a reply in `speech.audio.delta` events, and a `speech.audio.done` behind them.
    Raises as `Reply.chunks` does, and then without that."""
    async for chunk in reply.chunks():
        for begin in range(0, len(chunk), _DELTA_BYTES):
            audio = base64.b64encode(chunk[begin : begin + _DELTA_BYTES]).decode()
            yield _event({"type": "speech.audio.delta", "audio": audio})
    heard = math.ceil((await reply.finish()).about.duration_s * _TOKENS_PER_S)
    usage = {
        "input_tokens": characters,
        "output_tokens": heard,
        "total_tokens": characters + heard,
    }
    yield _event({"type": "speech.audio.done", "usage": usage})


def _event(told: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(told, separators=(",", ":")).encode() + b"\n\n"
