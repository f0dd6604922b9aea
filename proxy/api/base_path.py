"""Where OpenAI's API is found: at `/v1`, and once more at `/v1/rate/8000` and the like, for clients
that can be told a base URL and no sample rate."""

from __future__ import annotations

from aiohttp import web

BASES = ("/v1", "/v1/rate/{base_rate_hz:[1-9][0-9]{3,5}}")
"""As aiohttp writes paths."""


def base_rate_of(request: web.Request) -> int | None:
    """The sample rate that the request's path names, in Hz, be there such or not."""
    named = request.match_info.get("base_rate_hz")
    return None if named is None else int(named)
