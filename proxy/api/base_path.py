"""Where OpenAI's API is found: at `/v1`, and once more at `/v1/rate/8000` and the like, for clients
that can be told a base URL and no sample rate."""

from __future__ import annotations

from aiohttp import web

from proxy.api.schema import no_such_rate
from synth.audio.encode import SAMPLE_RATES_HZ

BASES = ("/v1", "/v1/rate/{base_rate_hz:[0-9]+}")
"""As aiohttp writes paths."""


def base_rate_of(request: web.Request) -> int | None:
    """The sample rate that the request's path names, in Hz. Raises BadRequest: it is none of
    ours."""
    named = request.match_info.get("base_rate_hz")
    if named is None:
        return None
    if named not in map(str, SAMPLE_RATES_HZ):
        raise no_such_rate(named, "The sample rate in the address")
    return int(named)
