"""Around every request: its id, its line in the log, and errors in OpenAI's shape."""

from __future__ import annotations

import asyncio
import json
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

ABORTED = web.RequestKey("aborted", bool)
"""Set to True by a handler that broke its reply off: the status sent before says nothing then."""

ERROR_CODE = web.RequestKey("error_code", str)
"""The `code` of the error that was told to the client."""

_PROBED = ("/health",)
"""Asked by machines every few seconds: not worth a line each."""

_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, the client's own where it sent one, and log how it went.

    One line for every request, whatever became of it: `ok`, answered, be it with an error; `gone`,
    the client left before the end; `aborted`, the reply was broken off. Neither the text nor the
    query string is in it.
    """
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
    began_s = time.perf_counter()
    try:
        response = await handler(request)
    except asyncio.CancelledError:
        _log(request, None, "gone", began_s)
        raise
    if not response.prepared:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
    _log(request, response.status, "aborted" if request.get(ABORTED) else "ok", began_s)
    return response


def _log(request: web.Request, status: int | None, outcome: str, began_s: float) -> None:
    level = logging.DEBUG if request.path in _PROBED else logging.INFO
    code = request.get(ERROR_CODE)
    logger.log(
        logging.WARNING if outcome == "aborted" else level,
        "%s %s %s %s%s %.1f ms id=%s",
        request.method,
        request.rel_url.raw_path,
        status or "-",
        outcome,
        f" error={code}" if code else "",
        (time.perf_counter() - began_s) * 1000,
        request[REQUEST_ID],
    )


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an answer."""
    try:
        return await handler(request)
    except Exception as error:
        response = response_to(error)
        if response is None:
            logger.exception("request %s failed", request[REQUEST_ID])
            response = unforeseen()
        request[ERROR_CODE] = json.loads(response.text or "")["error"]["code"]
        return response
