"""`GET /openapi.json`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import cache

from aiohttp import web

OPENAPI_PATH = "/openapi.json"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who is asked for one by this server."""

    admin: bool
    """Where none is asked for, only this machine may administrate."""
    callers: bool = False


class OpenApi:
    """Answers with the document, which is made when it is first asked for: a server is to listen
    within a second, and most are never asked."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(OPENAPI_PATH, self.get)

    async def get(self, request: web.Request) -> web.Response:
        body = await asyncio.to_thread(_encoded, self._keys)
        return web.Response(body=body, content_type="application/json")


@cache
def _encoded(keys: Keys) -> bytes:
    from proxy.api.openapi.document import build_document  # Takes a tenth of a second, all told.

    return json.dumps(build_document(keys), ensure_ascii=False).encode()
