"""Fields of requests that nothing here knows. They are ignored, and counted: a name that is nearly
right shows, and so does what clients would have."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from aiohttp import web

logger = logging.getLogger(__name__)

_MAX_NAMES = 64
_MAX_NAME_CHARS = 64
_OTHERS = "(others)"
"""Clients choose the names: so many are told apart."""


class UnknownFields:
    """How many requests had which."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    def count(self, names: Iterable[str]) -> None:
        """Of one request."""
        for name in names:
            name = name[:_MAX_NAME_CHARS]
            if name not in self._requests:
                if len(self._requests) >= _MAX_NAMES:
                    name = _OTHERS
                else:
                    logger.info("requests have a field %r, which is ignored", name)
            self._requests[name] += 1

    async def tell(self, request: web.Request) -> web.Response:
        """`GET /v1/admin/unknown-fields`, the most frequent first."""
        told = [{"name": name, "requests": n} for name, n in self._requests.most_common()]
        return web.json_response({"unknown_fields": told})
