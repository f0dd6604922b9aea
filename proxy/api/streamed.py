"""An answer that is sent piece by piece."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from proxy.api.middleware import ABORTED
from proxy.api.patience import WaitingForReader
from proxy.api.stopping import STOPPING


class Streamed:
    """What every such answer has to see to, in one place: clients that take nothing, a server that
    stops, and an end that is none."""

    def __init__(
        self,
        request: web.Request,
        headers: Mapping[str, str],
        status: int = 200,
        size_bytes: int | None = None,
    ) -> None:
        """`size_bytes` is None where it is not known before."""
        self._request = request
        self.response = web.StreamResponse(headers=headers, status=status)
        if size_bytes is not None:
            self.response.content_length = size_bytes

    @property
    def has_begun(self) -> bool:
        return self.response.prepared

    async def begin(self) -> None:
        """Send the head."""
        stopping = self._request.app.get(STOPPING)
        if stopping is not None and stopping.is_asked():
            self.response.force_close()
        await self.response.prepare(self._request)

    async def write(self, piece: bytes | memoryview) -> None:
        """Returns when the connection has taken nearly all of it.

        Raises:
            ConnectionError: the client is gone, or was cut off.
        """
        with WaitingForReader(self._request):
            await self.response.write(piece)

    async def end(self) -> web.StreamResponse:
        """That was all."""
        with WaitingForReader(self._request):
            await self.response.write_eof()
        return self.response

    def break_off(self) -> web.StreamResponse:
        """That was not all: an answer that ends cleanly is taken for the whole of it, so the
        connection is aborted."""
        self._request[ABORTED] = True
        if self._request.transport is not None:
            self._request.transport.abort()
        return self.response
