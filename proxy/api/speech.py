"""`POST /v1/audio/speech`: text in, audio out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from aiohttp import web
from moka_py import Moka
from multidict import CIMultiDict

from proxy.api.answer import hit, location_of, miss, reply_headers, send_stream, send_whole
from proxy.api.conditional import check_preconditions, terms_of
from proxy.api.errors import BadRequest
from proxy.api.middleware import CACHE_STATUS, REQUEST_ID
from proxy.api.schema import parse
from proxy.cache.entry import Entry
from proxy.cache.key import Key
from proxy.speech.plan import Plan, Planner
from proxy.speech.reply import Reply
from proxy.speech.speaker import Speaker
from proxy.speech.terms import Terms

logger = logging.getLogger(__name__)

Note = Callable[[Plan, Collection[Key]], None]

_REMEMBERED = 2048
_REMEMBERED_BODY_BYTES = 2048


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a body asks for, and what a hit in memory tells of it every time."""

    plan: Plan
    hit_headers: CIMultiDict[str]


class SpeechApi:
    """The handler and what it needs."""

    def __init__(self, planner: Planner, speaker: Speaker, note: Note | None = None) -> None:
        """`note` is told of every reply that may leave a trace, and of the clips made for it."""
        self._planner = planner
        self._speaker = speaker
        self._note = note
        self._remembered: Moka[bytes, _Asked] = Moka(_REMEMBERED, policy="lru")
        self._planned_for = planner.generation

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/audio/speech", self.speak)

    async def speak(self, request: web.Request) -> web.StreamResponse:
        began_s = time.perf_counter()
        terms = terms_of(request.headers.getall("Cache-Control", ()))
        asked = self._read(await _body(request), remember=terms.store)
        plan = asked.plan
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("request %s says %r", request[REQUEST_ID], plan.text)
        looked_s = time.perf_counter()
        entry = self._speaker.recall(plan, terms)
        if entry is not None:
            if self._note is not None and terms.store:
                self._note(plan, ())
            return await _send_hit(request, entry, asked, began_s, looked_s)
        request[CACHE_STATUS] = miss(plan.key.id)
        with self._speaker.listen(plan, terms) as reply:
            await reply.begin()
            try:
                return await self._send(request, plan, terms, reply, began_s)
            finally:
                if self._note is not None and terms.store:
                    self._note(plan, reply.made)

    async def _send(
        self, request: web.Request, plan: Plan, terms: Terms, reply: Reply, began_s: float
    ) -> web.StreamResponse:
        headers = reply_headers(request, plan.key.id, reply)
        _add_headers(headers, plan, terms, reply, began_s)
        entry = reply.entry
        if entry is None:
            return await send_stream(request, reply, headers)
        check_preconditions(request, entry.etag)
        return await send_whole(request, entry.payload, headers)

    def _read(self, body: bytes, remember: bool) -> _Asked:
        """What this body asks for.

        Reading and planning it takes longer than all else that is done for a reply in memory, and
        what is said again is asked for in the same bytes; so that is remembered, but not of what is
        to leave no trace.
        """
        if self._planned_for != self._planner.generation:
            self._remembered.clear()
            self._planned_for = self._planner.generation
        asked = self._remembered.get(body)
        if asked is None:
            plan = self._planner.plan(parse(body).wanted())
            asked = _Asked(plan, _hit_headers(plan))
            if remember and not plan.private and len(body) <= _REMEMBERED_BODY_BYTES:
                self._remembered.set(body, asked)
        return asked


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.RequestPayloadError:
        raise BadRequest("The body is not encoded as its headers say.") from None


def _hit_headers(plan: Plan) -> CIMultiDict[str]:
    return CIMultiDict(
        {
            "Content-Type": plan.format.content_type,
            "Cache-Status": hit(plan.key.id, "memory"),
            "Content-Location": location_of(plan.key.id, plan.format.name),
            "X-Generation-Time": "0.0",
            "X-Encode-Time": "0.0",
            "X-Voice": plan.voice,
        }
    )


async def _send_hit(
    request: web.Request, entry: Entry, asked: _Asked, began_s: float, looked_s: float
) -> web.StreamResponse:
    """The way of most requests, and so the shortest."""
    found_s = time.perf_counter()
    headers = asked.hit_headers.copy()
    headers["ETag"] = entry.etag
    headers["Age"] = str(int(entry.age_s()))
    headers["Server-Timing"] = f"mem;dur={(found_s - looked_s) * 1000:.3f}"
    headers["X-Total-Time"] = f"{(found_s - began_s) * 1000:.1f}"
    headers["X-Request-Id"] = request[REQUEST_ID]
    if "If-None-Match" in request.headers or "If-Match" in request.headers:
        request[CACHE_STATUS] = headers["Cache-Status"]
        check_preconditions(request, entry.etag)
    return await send_whole(request, entry.payload, headers)


def _add_headers(
    headers: CIMultiDict[str], plan: Plan, terms: Terms, reply: Reply, began_s: float
) -> None:
    """Times are in milliseconds; those of a streamed reply are up to its first chunk."""
    if terms.store and not plan.private:
        headers["Content-Location"] = location_of(plan.key.id, plan.format.name)
    headers["X-Generation-Time"] = f"{reply.timings.generation_ms:.1f}"
    headers["X-Encode-Time"] = f"{reply.timings.encode_ms:.1f}"
    headers["X-Total-Time"] = f"{(time.perf_counter() - began_s) * 1000:.1f}"
    headers["X-Voice"] = plan.voice
