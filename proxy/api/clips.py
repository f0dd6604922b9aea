"""`/v1/audio/clips/<id>.<ext>`: a reply's bytes, for whatever fetches audio by address."""

from __future__ import annotations

import time

from aiohttp import web
from multidict import CIMultiDict

from proxy.api.answer import CLIPS_PATH, miss, reply_headers, send_stream, send_whole
from proxy.api.conditional import (
    NotSatisfiable,
    check_preconditions,
    is_not_modified,
    part_of,
)
from proxy.api.errors import NoSuchClip, RangeNotSatisfiable
from proxy.api.middleware import CACHE_STATUS
from proxy.cache.entry import Entry
from proxy.speech.speaker import Speaker
from synth.audio.formats import format_named

_FOR_EVER = "public, max-age=31536000, immutable"
"""RFC 8246. An id stands for the same audio, or for none."""

_NOT_AGAIN = "no-store"
"""While it is being made its bytes are a stream's, whose header does not tell the length."""

_ASK_AGAIN = "no-cache"
"""What another server spoke may sound otherwise when it is made again: its ETag tells."""

_ULAW, _ULAW_OF_TWILIO = "audio/basic", "audio/ulaw"
"""Twilio's `<Play>` refuses the registered name and knows another, which nobody else does."""


class ClipsApi:
    """Serves what is cached, and follows what is being made."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    def add_routes(self, app: web.Application) -> None:
        # aiohttp answers HEAD by the same handler.
        app.router.add_get(CLIPS_PATH + "/{id:[0-9a-f]{32}}.{ext:[a-z0-9]+}", self.fetch)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        id, ext = request.match_info["id"], request.match_info["ext"]
        request[CACHE_STATUS] = miss(id)
        async with self._speaker.listen_to(id) as reply:
            if reply is None or ext not in format_named(reply.format).extensions:
                raise _no_such_clip()
            await reply.begin()
            if reply.stand_in is not None:
                raise _no_such_clip()  # Another speaks it now than whose address this is.
            if "Range" in request.headers or reply.format.startswith("wav"):
                # Where the end is is known then; and Asterisk refuses a header that leaves it open.
                await reply.finish()
            headers = reply_headers(request, id, reply)
            if _is_twilio(request) and headers["Content-Type"] == _ULAW:
                headers["Content-Type"] = _ULAW_OF_TWILIO
            entry = reply.entry
            if entry is None:
                headers["Cache-Control"] = _NOT_AGAIN
                return await send_stream(request, reply.chunks(), headers)
            headers["Cache-Control"] = _until(entry)
            headers["Accept-Ranges"] = "bytes"
            return await _send(request, entry, headers)


def _is_twilio(request: web.Request) -> bool:
    return request.headers.get("User-Agent", "").startswith("TwilioProxy/")


def _no_such_clip() -> NoSuchClip:
    return NoSuchClip(
        "There is no such reply. It may have been evicted: ask for it again at "
        "POST /v1/audio/speech. Single sentences have no address."
    )


def _until(entry: Entry) -> str:
    """Nobody else is to keep it for longer than it is kept here."""
    if entry.about.provider is not None:
        return _ASK_AGAIN
    if entry.expires_at_s is None:
        return _FOR_EVER
    return f"public, max-age={max(0, int(entry.expires_at_s - time.time()))}"


async def _send(
    request: web.Request, entry: Entry, headers: CIMultiDict[str]
) -> web.StreamResponse:
    size_bytes = len(entry.payload)
    check_preconditions(request, entry.etag)
    if is_not_modified(request, entry.etag):
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    try:
        part = part_of(request, entry.etag, size_bytes)
    except NotSatisfiable:
        raise RangeNotSatisfiable(size_bytes) from None
    if part is None:
        return await send_whole(request, entry.payload, headers)
    headers["Content-Range"] = f"bytes {part.begin}-{part.end - 1}/{size_bytes}"
    piece = memoryview(entry.payload)[part.begin : part.end]
    return await send_whole(request, piece, headers, status=206)
