"""`POST /v1/audio/speech`: text in, audio out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from aiohttp import web
from moka_py import Moka
from multidict import CIMultiDict

from proxy.api import events
from proxy.api.answer import hit, location_of, miss, reply_headers, send_stream, send_whole
from proxy.api.api_keys import CALLER, ApiKey
from proxy.api.base_path import BASES, base_rate_of
from proxy.api.conditional import check_preconditions, terms_of
from proxy.api.middleware import CACHE_STATUS, REQUEST_ID
from proxy.api.patience import whole_body
from proxy.api.schema import SpeechRequest, parse
from proxy.api.unknown_fields import UnknownFields
from proxy.cache.entry import Entry
from proxy.cache.key import Key
from proxy.speech.flight import Timings
from proxy.speech.plan import Plan, Planner
from proxy.speech.reply import Outcome, Reply
from proxy.speech.speaker import Speaker
from proxy.speech.terms import Terms

logger = logging.getLogger(__name__)

Note = Callable[[Plan, Collection[Key]], None]

_REMEMBERED = 2048
_REMEMBERED_BODY_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, and what a hit in memory tells of it every time."""

    plan: Plan
    content_type: str
    hit_headers: CIMultiDict[str]
    as_events: bool = False
    """Whether the audio is sent in events: see `proxy.api.events`."""
    unknown_fields: tuple[str, ...] = ()


class SpeechApi:
    """The handler and what it needs."""

    def __init__(
        self,
        planner: Planner,
        speaker: Speaker,
        unknown_fields: UnknownFields,
        note: Note | None = None,
    ) -> None:
        """`note` is told of every reply that may leave a trace, and of the clips made for it."""
        self._planner = planner
        self._speaker = speaker
        self._unknown_fields = unknown_fields
        self._note = note
        self._remembered: Moka[bytes, Asked] = Moka(_REMEMBERED, policy="lru")
        self._planned_for = planner.generation

    def add_routes(self, app: web.Application) -> None:
        for base in BASES:
            app.router.add_post(base + "/audio/speech", self.speak)

    async def speak(self, request: web.Request) -> web.StreamResponse:
        began_s = time.perf_counter()
        terms = terms_of(request.headers.getall("Cache-Control", ()))
        base_rate_hz = base_rate_of(request)
        asked = self._read(await whole_body(request), base_rate_hz, remember=terms.store)
        if asked.unknown_fields:
            self._unknown_fields.count(asked.unknown_fields)
        return await self.answer(request, asked, terms, began_s)

    def ask(
        self,
        wanted: SpeechRequest,
        base_rate_hz: int | None = None,
        content_type: str | None = None,
    ) -> Asked:
        """What a request asks for; `content_type` is what its client calls the format, where that
        is not what everybody does. Raises as `Planner.plan` does."""
        provisionally = self._speaker.has_stand_ins
        plan = self._planner.plan(wanted.wanted(base_rate_hz), provisionally)
        content_type = content_type or plan.format.content_type
        return Asked(
            plan,
            content_type,
            _hit_headers(plan, content_type),
            as_events=wanted.stream_format == "sse",
            unknown_fields=wanted.unknown_fields,
        )

    async def answer(
        self,
        request: web.Request,
        asked: Asked,
        terms: Terms,
        began_s: float,
        whole: bool = False,
    ) -> web.StreamResponse:
        """The audio, from the cache or as it is made; `whole`, not before all of it is there.
        `began_s` by `time.perf_counter`."""
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
                if whole:
                    await reply.finish()
                return await _send(request, asked, terms, reply, began_s)
            finally:
                if self._note is not None and terms.store:
                    self._note(plan, reply.made)

    def _read(self, body: bytes, base_rate_hz: int | None, remember: bool) -> Asked:
        """What this body asks for.

        Reading and planning it takes longer than all else that is done for a reply in memory, and
        what is said again is asked for in the same bytes; so that is remembered, but not of what is
        to leave no trace.
        """
        if self._planned_for != self._planner.generation:
            self._remembered.clear()
            self._planned_for = self._planner.generation
        # No body of JSON begins with a NUL.
        known_by = body if base_rate_hz is None else b"\0%d %b" % (base_rate_hz, body)
        asked = self._remembered.get(known_by)
        if asked is None:
            asked = self.ask(parse(body, base_rate_hz), base_rate_hz)
            if remember and not asked.plan.private and len(body) <= _REMEMBERED_BODY_BYTES:
                self._remembered.set(known_by, asked)
        return asked


def _hit_headers(plan: Plan, content_type: str) -> CIMultiDict[str]:
    return CIMultiDict(
        {
            "Content-Type": content_type,
            "Cache-Status": hit(plan.key.id, "memory"),
            "Content-Location": location_of(plan.key.id, plan.format.name, None),
            "X-Generation-Time": "0.0",
            "X-Encode-Time": "0.0",
            "X-Voice": plan.voice,
        }
    )


async def _send_hit(
    request: web.Request, entry: Entry, asked: Asked, began_s: float, looked_s: float
) -> web.StreamResponse:
    """The way of most requests, and so the shortest."""
    found_s = time.perf_counter()
    headers = asked.hit_headers.copy()
    if (caller := request.get(CALLER)) is not None:
        # Theirs alone, and not for ever: what is remembered is neither.
        plan = asked.plan
        headers["Content-Location"] = location_of(plan.key.id, plan.format.name, caller)
    headers["ETag"] = entry.etag
    headers["Age"] = str(int(entry.age_s()))
    headers["Server-Timing"] = f"mem;dur={(found_s - looked_s) * 1000:.3f}"
    headers["X-Total-Time"] = f"{(found_s - began_s) * 1000:.1f}"
    headers["X-Request-Id"] = request[REQUEST_ID]
    if asked.as_events:
        request[CACHE_STATUS] = headers["Cache-Status"]
        reply = Reply(entry, Outcome.HIT, Timings())
        return await _send_events(request, asked, reply, headers)
    if "If-None-Match" in request.headers or "If-Match" in request.headers:
        request[CACHE_STATUS] = headers["Cache-Status"]
        check_preconditions(request, entry.etag)
    return await send_whole(request, entry.payload, headers)


async def _send(
    request: web.Request, asked: Asked, terms: Terms, reply: Reply, began_s: float
) -> web.StreamResponse:
    plan = asked.plan
    headers = reply_headers(request, plan.key.id, reply)
    headers["Content-Type"] = asked.content_type
    _add_headers(headers, plan, terms, reply, request.get(CALLER), began_s)
    if asked.as_events:
        return await _send_events(request, asked, reply, headers)
    entry = reply.entry
    if entry is None:
        return await send_stream(request, reply.chunks(), headers)
    check_preconditions(request, entry.etag)
    return await send_whole(request, entry.payload, headers)


async def _send_events(
    request: web.Request, asked: Asked, reply: Reply, headers: CIMultiDict[str]
) -> web.StreamResponse:
    headers["Content-Type"] = events.CONTENT_TYPE
    # Those tell of the audio's own bytes.
    for name in ("ETag", "Content-Location"):
        headers.popall(name, None)
    return await send_stream(request, events.events(reply, len(asked.plan.text)), headers)


def _add_headers(
    headers: CIMultiDict[str],
    plan: Plan,
    terms: Terms,
    reply: Reply,
    caller: ApiKey | None,
    began_s: float,
) -> None:
    """Times are in milliseconds; those of a streamed reply are up to its first chunk."""
    stand_in = reply.stand_in
    # What the engine makes is found at its address meanwhile; a provider's is once it is stored.
    found = stand_in is None or reply.stored or reply.outcome is Outcome.HIT
    if terms.store and not plan.private and found:
        id = plan.key.id if stand_in is None else stand_in.key.id
        headers["Content-Location"] = location_of(id, plan.format.name, caller)
    generation_ms = reply.timings.generation_ms + reply.timings.elsewhere_ms
    headers["X-Generation-Time"] = f"{generation_ms:.1f}"
    headers["X-Encode-Time"] = f"{reply.timings.encode_ms:.1f}"
    headers["X-Total-Time"] = f"{(time.perf_counter() - began_s) * 1000:.1f}"
    headers["X-Voice"] = plan.voice if stand_in is None else stand_in.title
