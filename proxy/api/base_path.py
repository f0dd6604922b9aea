"""Where OpenAI's API is found: at `/v1`, and once more at `/v1/rate/8000` and the like, for clients
that can be told a base URL and no sample rate."""

from __future__ import annotations

from aiohttp import web

from proxy.api.errors import BadRequest
from proxy.api.middleware import Handler
from synth.audio.codecs import SAMPLE_RATES_HZ

BASES = ("/v1", "/v1/rate/{base_rate_hz:[1-9][0-9]{3,5}}")
"""As aiohttp writes paths."""


def base_rate_of(request: web.Request) -> int | None:
    """The sample rate that the request's path names, in Hz, be there such or not."""
    named = request.match_info.get("base_rate_hz")
    return None if named is None else int(named)


def at_known_rate(handler: Handler) -> Handler:
    """For what has no rate itself: a base URL that is wrong is told so, whatever is asked first."""

    async def checked(request: web.Request) -> web.StreamResponse:
        rate_hz = base_rate_of(request)
        if rate_hz not in (None, *SAMPLE_RATES_HZ):
            raise BadRequest(
                f"The address sets a sample rate, {rate_hz}, but there are "
                f"{', '.join(map(str, SAMPLE_RATES_HZ))}.",
                param="sample_rate",
            )
        return await handler(request)

    return checked
