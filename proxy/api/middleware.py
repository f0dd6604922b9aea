"""Around every request: its id, its line in the log, and errors in OpenAI's shape."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote, unquote

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.api.api_keys import CALLER
from proxy.api.cors import Cors
from proxy.api.errors import response_to, unforeseen
from proxy.api.gate import Gate
from proxy.api.patience import STALLED
from proxy.api.request_log import RequestLog
from proxy.api.stopping import Stopping

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BEGAN_S = web.RequestKey("began_s", float)
"""When the request came, by `time.perf_counter`."""

REQUEST_ID = web.RequestKey("request_id", str)

ABORTED = web.RequestKey("aborted", bool)
"""Set to True by a handler that broke its reply off: the status sent before says nothing then."""

CACHE_STATUS = web.RequestKey("cache_status", str)
"""What is known of where the answer comes from, in case it becomes an error."""

ERROR_CODE = web.RequestKey("error_code", str)
"""The `code` of the error that was told to the client."""

NOT_ASKED = "kokoro-edge; fwd=bypass"
"""`Cache-Status` of what the cache has nothing to do with."""

_CLIPS = re.compile("/audio/+clips/", re.IGNORECASE)
_ID = re.compile(r"[0-9a-f]{32}(\.|$)", re.IGNORECASE)
"""All that there is to be seen of the address of a reply."""

_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")


def around(
    log: RequestLog,
    gate: Gate | None = None,
    cors: Cors | None = None,
    stopping: Stopping | None = None,
) -> Middleware:
    """The middleware. One, not three: each costs every hit microseconds. What is None is off."""

    # Unique without a call to the system for each, which takes as long as looking a reply up.
    ours, numbers = secrets.token_hex(8), itertools.count()

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give the request an id, the client's own where it sent one; turn whatever the handler
        raises into an answer; and log how it went."""
        given = request.headers.get("X-Request-Id")
        if given is None or not _SANE_ID.fullmatch(given):
            given = f"{ours}{next(numbers):016x}"
        request[REQUEST_ID] = given
        began_s = request[BEGAN_S] = time.perf_counter()
        path = without_signature(request.rel_url.raw_path)
        response: web.StreamResponse
        try:
            if cors is not None and (preflight := cors.preflight(request)) is not None:
                response = preflight
            else:
                if gate is not None:
                    gate.admit(request)
                response = await handler(request)
        except (asyncio.CancelledError, ConnectionError):
            # The latter while it was being sent: a caller who talks into a reply ends it so.
            stalled = request.get(STALLED, False)
            log.gone(request.method, path, stalled, began_s, given, _name_of(request))
            raise
        except Exception as error:
            response = _told(request, error)
        aborted, code = False, None
        if response.prepared:  # Streamed, which may have failed on the way.
            aborted, code = request.get(ABORTED, False), request.get(ERROR_CODE)
        else:
            _complete(request, response)
            if response.status == 408 or (stopping is not None and stopping.is_asked()):
                response.force_close()
            if response.status >= 400:
                code = request.get(ERROR_CODE)
        log.answered(
            *(request.method, path, response.status, aborted),
            *(code, began_s, given, _name_of(request)),
        )
        return response

    return around


def without_signature(path: str) -> str:
    """A path as it came, to be logged: whoever reads a signature there could fetch the reply.

    However it is spelt, and whether it leads anywhere or not.
    """
    if "%" not in path and "clips" not in path.lower():  # As a rule.
        return path
    meant = unquote(path)
    if (clips := _CLIPS.search(meant)) is None:
        return path
    parts = meant[clips.end() :].split("/")
    shown = [part if not part or _ID.match(part) else "-" for part in parts]
    return path if shown == parts else quote(meant[: clips.end()] + "/".join(shown))


def _told(request: web.Request, error: Exception) -> web.Response:
    """The answer to an error."""
    response = response_to(error)
    if response is None:
        logger.exception("request %s failed", request[REQUEST_ID])
        response = unforeseen()
    error_object = json.loads(response.text or "")["error"]
    request[ERROR_CODE] = error_object["code"] or error_object["type"]
    return response


def _name_of(request: web.Request) -> str | None:
    caller = request.get(CALLER)
    return None if caller is None else caller.name


def total_timing(request: web.Request) -> str:
    """`Server-Timing` of what is not cached audio."""
    return f"total;dur={(time.perf_counter() - request[BEGAN_S]) * 1000:.2f}"


def _complete(request: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer has and this one lacks. One that is streamed was sent before: whoever
    streams sees to its headers."""
    headers = response.headers
    if "Server-Timing" in headers:  # A reply has them all.
        return
    headers["X-Request-Id"] = request[REQUEST_ID]
    if "Cache-Status" not in headers:
        headers["Cache-Status"] = request.get(CACHE_STATUS, NOT_ASKED)
    headers["Server-Timing"] = total_timing(request)
