"""`/v1/audio/clips/<id>.<ext>`: a reply's bytes, for whatever fetches audio by address.

With API keys there is a signature before the id, and no key is needed: what fetches audio has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web
from multidict import CIMultiDict

from proxy.api.answer import CLIPS_PATH, miss, reply_headers, send_stream, send_whole
from proxy.api.api_keys import ApiKeys
from proxy.api.conditional import (
    NotSatisfiable,
    check_preconditions,
    is_not_modified,
    part_of,
)
from proxy.api.errors import NoSuchClip, RangeNotSatisfiable, SignatureRefused
from proxy.api.gate import SIGNED_CLIPS
from proxy.api.middleware import CACHE_STATUS
from proxy.api.signed_address import PATTERN, BadSignature, Expired, verify
from proxy.cache.entry import Entry
from proxy.speech.speaker import Speaker
from synth.audio.formats import format_named

_FOR_EVER = "max-age=31536000, immutable"
"""RFC 8246. An id stands for the same audio, or for none."""

_NOT_AGAIN = "no-store"
"""While it is being made its bytes are a stream's, whose header does not tell the length."""

_ASK_AGAIN = "no-cache"
"""What another server spoke may sound otherwise when it is made again: its ETag tells."""

_ULAW, _ULAW_OF_TWILIO = "audio/basic", "audio/ulaw"
"""Twilio's `<Play>` refuses the registered name and knows another, which nobody else does."""


class ClipsApi:
    """Serves what is cached, and follows what is being made."""

    def __init__(
        self,
        speaker: Speaker,
        keys: ApiKeys | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Without `keys` everybody may fetch everything, by addresses that were signed once, too.
        `now_s` tells seconds since 1970."""
        self._speaker = speaker
        self._keys = keys
        self._now_s = now_s

    def add_routes(self, app: web.Application) -> None:
        # aiohttp answers HEAD by the same handler.
        name = "{id:[0-9a-f]{32}}.{ext:[a-z0-9]+}"
        app.router.add_get(f"{CLIPS_PATH}/{name}", self.fetch)
        signed = app.router.add_get(f"{CLIPS_PATH}/{{signature:{PATTERN}}}/{name}", self.fetch)
        assert signed.resource is not None and signed.resource.canonical == SIGNED_CLIPS

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        id, ext = request.match_info["id"], request.match_info["ext"]
        expires_at_s = self._check_signature(request.match_info.get("signature"), f"{id}.{ext}")
        request[CACHE_STATUS] = miss(id)
        async with self._speaker.listen_to(id) as reply:
            if reply is None:
                raise _no_such_clip()
            if ext not in (known := format_named(reply.format).extensions):
                raise NoSuchClip(f"This reply is a .{known[0]}, and not a .{ext}.")
            await reply.begin()
            if reply.stand_in is not None:
                raise _no_such_clip()  # Another speaks it now than whose address this is.
            if "Range" in request.headers or reply.format.startswith("wav"):
                # Where the end is is known then; and Asterisk refuses a header that leaves it open.
                await reply.finish()
            headers = reply_headers(request, id, reply)
            if headers["Content-Type"] == _ULAW:
                headers["Vary"] = "User-Agent"
                if _is_twilio(request):
                    headers["Content-Type"] = _ULAW_OF_TWILIO
            entry = reply.entry
            if entry is None:
                headers["Cache-Control"] = _NOT_AGAIN
                return await send_stream(request, reply.chunks(), headers)
            headers["Cache-Control"] = self._until(entry, expires_at_s)
            headers["Accept-Ranges"] = "bytes"
            return await _send(request, entry, headers)

    def _check_signature(self, signature: str | None, name: str) -> float | None:
        """When it expires; None: there is none, or none is needed."""
        if signature is None or self._keys is None:
            return None
        try:
            return verify([key.signing for key in self._keys.all], signature, name, self._now_s())
        except (BadSignature, Expired) as error:
            raise SignatureRefused(expired=isinstance(error, Expired)) from None

    def _until(self, entry: Entry, signed_until_s: float | None) -> str:
        """Nobody else is to keep it for longer than it is kept here, or may be fetched."""
        if entry.about.provider is not None:
            return _ASK_AGAIN
        # What was fetched with a key is for nobody else.
        scope = "public" if self._keys is None or signed_until_s is not None else "private"
        ends_s = [each for each in (entry.expires_at_s, signed_until_s) if each is not None]
        if not ends_s:
            return f"{scope}, {_FOR_EVER}"
        # Caches count from when it was made, which `Age` tells them (RFC 9111, 4.2.3).
        left_s = max(0.0, min(ends_s) - self._now_s())
        return f"{scope}, max-age={int(left_s) + int(entry.age_s())}"


def _is_twilio(request: web.Request) -> bool:
    return request.headers.get("User-Agent", "").startswith("TwilioProxy/")


def _no_such_clip() -> NoSuchClip:
    return NoSuchClip(
        "There is no such reply. It may have been evicted: ask for it again at "
        "POST /v1/audio/speech. Single sentences have no address."
    )


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
