"""`POST /v1/audio/speech`: text in, audio out."""

from __future__ import annotations

import logging
import time

from aiohttp import web

from proxy.api.errors import BadRequest
from proxy.api.middleware import ABORTED, REQUEST_ID
from proxy.api.schema import parse
from proxy.speech.plan import Plan, Planner
from proxy.speech.speaker import Outcome, Reply, Speaker
from synth.engine import EngineError

logger = logging.getLogger(__name__)

_CACHE_STATUS = {
    Outcome.HIT: "kokoro-edge; hit",
    Outcome.MISS: "kokoro-edge; fwd=miss",
    Outcome.COLLAPSED: "kokoro-edge; fwd=miss; collapsed",
}
"""RFC 9211."""


class SpeechApi:
    """The handler and what it needs."""

    def __init__(self, planner: Planner, speaker: Speaker) -> None:
        self._planner = planner
        self._speaker = speaker

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/audio/speech", self.speak)

    async def speak(self, request: web.Request) -> web.StreamResponse:
        began_s = time.perf_counter()
        wanted = parse(await _body(request)).wanted()
        plan = self._planner.plan(wanted)
        logger.debug("request %s says %r", request[REQUEST_ID], wanted.text)
        with self._speaker.listen(plan) as reply:
            await reply.begin()
            headers = _headers(request, plan, reply, began_s)
            if reply.whole is not None:
                return web.Response(body=reply.whole, headers=headers)
            return await _stream(request, reply, headers)


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.RequestPayloadError:
        raise BadRequest("The body is not encoded as its headers say.") from None


def _headers(request: web.Request, plan: Plan, reply: Reply, began_s: float) -> dict[str, str]:
    """Times are in milliseconds; those of a streamed reply are up to its first chunk."""
    return {
        "Content-Type": plan.format.content_type,
        "Cache-Status": _CACHE_STATUS[reply.outcome],
        "X-Generation-Time": f"{reply.timings.generation_ms:.1f}",
        "X-Encode-Time": f"{reply.timings.encode_ms:.1f}",
        "X-Total-Time": f"{(time.perf_counter() - began_s) * 1000:.1f}",
        "X-Voice": plan.voice,
        "X-Request-Id": request[REQUEST_ID],
    }


async def _stream(
    request: web.Request, reply: Reply, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    try:
        async for chunk in reply.chunks():
            await response.write(chunk)
    except EngineError as error:
        # A reply that ends cleanly is taken for the whole of it, so this one must not.
        # By its kind alone: the message may quote the caller's words.
        logger.error("request %s broke off: %s", request[REQUEST_ID], type(error).__name__)
        request[ABORTED] = True
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response
