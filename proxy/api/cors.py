"""Pages of the web that may ask from a browser (CORS, as the Fetch standard has it)."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from proxy.api.access import is_admin

_METHODS = "GET, HEAD, POST"
_KEEP_S = 3600

_SHOWN = ", ".join(
    (
        *("Accept-Ranges", "Age", "Cache-Status", "Content-Length", "Content-Location"),
        *("Content-Range", "ETag", "Retry-After", "Server-Timing", "WWW-Authenticate"),
        *("X-Encode-Time", "X-Generation-Time", "X-Request-Id", "X-Total-Time", "X-Voice"),
        *("retry-after-ms", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"),
        "x-ratelimit-reset-requests",
    )
)
"""Headers of answers that a page may read; `*` would not do for requests with credentials."""


class Cors:
    """Answers browsers that ask whether a page may, and marks every other answer.

    Not those under `/v1/admin`: what a page may do there, whoever looks at it could be led to.
    """

    def __init__(self, origins: Collection[str]) -> None:
        """`*` among them is every page."""
        self._origins = frozenset(origins)
        self._all = "*" in self._origins

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks first; None: this request is none of that.

        It needs no key, for browsers send none with it. A page that may not is answered, too,
        without the headers that would let it.
        """
        headers = request.headers
        asks = "Origin" in headers and "Access-Control-Request-Method" in headers
        if request.method != "OPTIONS" or not asks or is_admin(request.rel_url.path):
            return None
        response = web.Response(status=204)
        response.headers["Vary"] = "Access-Control-Request-Headers"
        if self._allows(headers["Origin"]):
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Max-Age"] = str(_KEEP_S)
            if wanted := headers.get("Access-Control-Request-Headers"):
                # By name: `*` does not stand for Authorization, and clients have many of their own.
                response.headers["Access-Control-Allow-Headers"] = wanted
        return response

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """Just before an answer is sent, an error or not, streamed or not."""
        if is_admin(request.rel_url.path):
            return
        headers = response.headers
        if self._all:
            headers["Access-Control-Allow-Origin"] = "*"
        else:
            # Also where no page asks: caches must not give that answer to one.
            headers.add("Vary", "Origin")
            origin = request.headers.get("Origin")
            if origin is None or not self._allows(origin):
                return
            headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = _SHOWN

    def _allows(self, origin: str) -> bool:
        return self._all or origin in self._origins
