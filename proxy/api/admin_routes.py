"""`/v1/admin`: who may ask, what there is, and answers that are told line by line."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from proxy.api.access import ADMIN_PATH, Access
from proxy.api.errors import response_to, unforeseen
from proxy.api.middleware import ERROR_CODE, NOT_ASKED, REQUEST_ID, Handler, total_timing
from proxy.api.streamed import Streamed

logger = logging.getLogger(__name__)


def add_admin_routes(
    app: web.Application, access: Access, handlers: Mapping[tuple[str, str], Handler]
) -> None:
    """`handlers` are by method and path. Everything else under `/v1/admin` is nothing, which only
    those are told who may ask."""

    def guarded(handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            access.check(request)
            return await handler(request)

        return guarded

    resources: dict[str, web.Resource] = {}
    for (method, path), handler in handlers.items():
        if path not in resources:
            resources[path] = app.router.add_resource(path)
        resources[path].add_route(method, guarded(handler))

    async def nothing(request: web.Request) -> web.StreamResponse:
        for resource in resources.values():
            _, allowed = await resource.resolve(request)
            if allowed:
                raise web.HTTPMethodNotAllowed(request.method, allowed)
        raise web.HTTPNotFound

    for path in (ADMIN_PATH, ADMIN_PATH + "/{rest:.*}"):
        app.router.add_route("*", path, guarded(nothing))


async def tell(request: web.Request, lines: AsyncIterator[list[bytes]]) -> web.StreamResponse:
    """NDJSON: some lines at a time, each a JSON object. What fails before there is a line has its
    status; what fails later is a line by itself, the last one."""
    streamed = Streamed(
        request,
        headers={
            "Content-Type": "application/x-ndjson",
            "Cache-Status": NOT_ASKED,
            "Server-Timing": total_timing(request),
            "X-Request-Id": request[REQUEST_ID],
        },
    )
    try:
        async for told in lines:
            if not told:
                continue
            if not streamed.has_begun:
                await streamed.begin()
            await streamed.write(b"".join(line + b"\n" for line in told))
    except ConnectionError:
        raise
    except Exception as error:
        if not streamed.has_begun:
            raise
        await streamed.write(_error_line(request, error))
    return streamed.response


def _error_line(request: web.Request, error: Exception) -> bytes:
    response = response_to(error)
    if response is None:
        logger.exception("request %s failed", request[REQUEST_ID])
        response = unforeseen()
    told = response.text or ""
    request[ERROR_CODE] = json.loads(told)["error"]["code"]
    return told.encode() + b"\n"
