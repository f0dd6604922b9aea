"""A reply as an HTTP answer: its headers, and its bytes as they come."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from aiohttp import web
from multidict import CIMultiDict

from proxy.api.api_keys import ApiKey
from proxy.api.middleware import CACHE_STATUS, REQUEST_ID
from proxy.api.streamed import Streamed
from proxy.speech.flight import Timings
from proxy.speech.reply import Outcome, Reply
from synth.audio.formats import format_named
from synth.engine import EngineError

logger = logging.getLogger(__name__)

CLIPS_PATH = "/v1/audio/clips"

_WRITE_BYTES = 64 * 1024
"""A reply is handed to the connection in pieces of this size, each when the one before has gone: so
much is held for a client that reads slowly, and not the whole."""


def miss(id: str) -> str:
    """`Cache-Status` (RFC 9211) of what the engine is asked for, before more is known."""
    return f'kokoro-edge; fwd=miss; key="{id}"'


def hit(id: str, where: str) -> str:
    """`Cache-Status` of what a tier had, or of what it had of a provider's."""
    return f'kokoro-edge; hit; detail={where}; key="{id}"'


def location_of(id: str, format: str, key: ApiKey | None) -> str:
    """Where the bytes of a reply are found again; `format` is the name of a `Format`. Whoever has a
    key is told an address that needs none, for a time."""
    name = f"{id}.{format_named(format).extension}"
    return f"{CLIPS_PATH}/{name}" if key is None else f"{CLIPS_PATH}/{key.signature(name)}/{name}"


def reply_headers(request: web.Request, id: str, reply: Reply) -> CIMultiDict[str]:
    """What is told of a reply, however it was asked for. `id` is the engine's for it."""
    request[CACHE_STATUS] = _cache_status(id, reply)
    headers = CIMultiDict(
        {
            "Content-Type": format_named(reply.format).content_type,
            "Cache-Status": request[CACHE_STATUS],
            "Server-Timing": server_timing(reply.timings),
            "X-Request-Id": request[REQUEST_ID],
        }
    )
    if (entry := reply.entry) is not None:
        headers["ETag"] = entry.etag
        if reply.outcome is Outcome.HIT:
            headers["Age"] = str(int(entry.age_s()))
    return headers


def server_timing(timings: Timings) -> str:
    """Of a streamed reply, up to its first chunk."""
    parts = [f"mem;dur={timings.mem_ms:.3f}"]
    parts += [
        f"{name};dur={time_ms:.2f}"
        for name, time_ms in (
            ("disk", timings.disk_ms),
            ("queue", timings.queue_ms),
            ("synth", timings.synth_ms),
            ("elsewhere", timings.elsewhere_ms),
            ("encode", timings.encode_ms),
        )
        if time_ms
    ]
    return ", ".join(parts)


async def send_whole(
    request: web.Request, body: bytes | memoryview, headers: CIMultiDict[str], status: int = 200
) -> web.StreamResponse:
    """All of it is there: in one piece where it is small, else as the client takes it."""
    if len(body) <= _WRITE_BYTES:
        return web.Response(body=bytes(body), headers=headers, status=status)
    streamed = Streamed(request, headers, status, size_bytes=len(body))
    await streamed.begin()
    if request.method != "HEAD":
        view = memoryview(body)
        for begin in range(0, len(body), _WRITE_BYTES):
            await streamed.write(view[begin : begin + _WRITE_BYTES])
    return await streamed.end()


async def send_stream(
    request: web.Request, chunks: AsyncIterator[bytes], headers: CIMultiDict[str]
) -> web.StreamResponse:
    """Chunk by chunk, as it is made. Where that fails, the connection is aborted."""
    # nginx would gather what comes, and callers would wait for it.
    headers["X-Accel-Buffering"] = "no"
    streamed = Streamed(request, headers)
    await streamed.begin()
    try:
        if request.method != "HEAD":
            async for chunk in chunks:
                await streamed.write(chunk)
    except EngineError as error:
        # By its kind alone: the message may quote the caller's words.
        logger.error("request %s broke off: %s", request[REQUEST_ID], type(error).__name__)
        return streamed.break_off()
    return await streamed.end()


def _cache_status(id: str, reply: Reply) -> str:
    spoken_by = ""
    if (stand_in := reply.stand_in) is not None:
        id, spoken_by = stand_in.key.id, f"; detail={stand_in.name}"
    if reply.outcome is Outcome.HIT:
        return hit(id, stand_in.name if stand_in is not None else reply.where or "clips")
    # What the request would not take is the reason, or that there was nothing.
    why = "request" if reply.passed_over else "miss"
    stored = "; stored" if reply.stored else ""
    collapsed = "; collapsed" if reply.outcome is Outcome.COLLAPSED else ""
    return f'kokoro-edge; fwd={why}{stored}{collapsed}{spoken_by}; key="{id}"'
