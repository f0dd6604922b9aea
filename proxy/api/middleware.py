"""Around every request: its id, its line in the log, and errors in OpenAI's shape."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.api.errors import response_to, unforeseen

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = web.RequestKey("request_id", str)

_PROBED = ("/health",)
"""Asked by machines every few seconds: not worth a line each."""

_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, the client's own where it sent one, and log how it went."""
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
    began_s = time.perf_counter()
    response = await handler(request)
    if not response.prepared:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
    logger.log(
        logging.DEBUG if request.path in _PROBED else logging.INFO,
        "%s %s %d %.1f ms id=%s",
        request.method,
        request.rel_url.raw_path,
        response.status,
        (time.perf_counter() - began_s) * 1000,
        request[REQUEST_ID],
    )
    return response


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an answer."""
    try:
        return await handler(request)
    except Exception as error:
        response = response_to(error)
        if response is None:
            logger.exception("request %s failed", request[REQUEST_ID])
            return unforeseen()
        return response
