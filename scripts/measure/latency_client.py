"""Talking to the server that `scripts/latency` measures: OpenAI's speech API, and `/health`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
from latency_answers import ServerInfo, error_message, json_object, retry_after_s, server_info
from latency_audio import Arrival, MeasurementError, Received
from yarl import URL

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 120.0
"""Between two pieces of a body, or before the first: slow engines make a long text in one piece."""
SHORTEST_WAIT_S = 0.1
"""However soon a server asks to be tried again."""


class Unreachable(MeasurementError):
    """Nobody answers at the address."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What to do about a 503 with Retry-After, which is how an engine that loads shows."""

    wait_s: float
    """At most, for each request."""
    say: Callable[[str], None]
    """Gets one line for each wait."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is measured, and the one session it is measured over."""

    session: aiohttp.ClientSession
    api: URL
    """Ends in `/v1`."""
    patience: Patience
    clock: Callable[[], float] = time.perf_counter
    """Seconds, monotonic."""

    @property
    def root(self) -> URL:
        """Ends in `/`: what stands before `/v1`."""
        return self.api.with_path(self.api.path.removesuffix("v1"))

    @property
    def health_url(self) -> URL:
        return self.root / "health"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is the same in every request for speech."""

    model: str
    voice: str
    audio_format: str
    speed: float | None = None
    """None leaves it out: not every server knows the field."""

    def body(self, text: str) -> bytes:
        fields: dict[str, Any] = {
            "model": self.model,
            "voice": self.voice,
            "response_format": self.audio_format,
            "input": text,
        }
        if self.speed is not None:
            fields["speed"] = self.speed
        return json.dumps(fields).encode()


def api_url(given: str) -> URL:
    """The base of the API from a `--url` with or without `/v1`.

    :raises ValueError: when it is no http or https address.
    """
    url = URL(given)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{given!r} is no http address")
    path = url.path.rstrip("/")
    return url.with_path(path if path.endswith("/v1") else f"{path}/v1")


@contextlib.asynccontextmanager
async def open_session(api_key: str | None) -> AsyncIterator[aiohttp.ClientSession]:
    """The session of a whole run: its connections are kept, and new ones noticed."""

    async def notice(_session: object, context: SimpleNamespace, _params: object) -> None:
        if isinstance(context.trace_request_ctx, _Connection):
            context.trace_request_ctx.new = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(notice)
    # A compressed body would be timed by its decompressor.
    headers = {"Accept-Encoding": "identity"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S
    )
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, trace_configs=[trace]
    ) as session:
        yield session


async def speak(server: Server, ask: Ask, text: str) -> Received:
    """Have `text` spoken, and note when every piece of it arrives.

    :raises Unreachable: when nobody answers.
    :raises MeasurementError: for an answer that is not 200, a stream that breaks off, no audio.
    """
    url, body = server.api / "audio" / "speech", ask.body(text)
    waited_s = 0.0
    while True:
        # Not measured: a connection that idled may be gone, and a POST is not sent twice.
        await _get(server, server.health_url)
        connection = _Connection()
        with _one_line_errors(url):
            started = server.clock()
            async with server.session.post(
                url,
                data=body,
                headers={"Content-Type": "application/json"},
                # A redirect would be measured as a slow server; its address belongs in --url.
                allow_redirects=False,
                trace_request_ctx=connection,
            ) as response:
                if response.status == 200:
                    return await _receive(server, response, started, connection, waited_s)
                told_s = await _told_to_wait_s(response)
        waited_s = await _wait(server.patience, url, told_s, waited_s)


async def ask_health(server: Server) -> float | None:
    """Seconds that `/health` took, or None where there is none (404).

    :raises Unreachable: when nobody answers.
    :raises MeasurementError: for an answer that is neither 200 nor 404.
    """
    waited_s = 0.0
    while True:
        with _one_line_errors(server.health_url):
            started = server.clock()
            async with server.session.get(server.health_url, allow_redirects=False) as response:
                await response.read()
                elapsed_s = server.clock() - started
                if response.status == 404:
                    return None
                if response.status == 200:
                    return elapsed_s
                told_s = await _told_to_wait_s(response)
        waited_s = await _wait(server.patience, server.health_url, told_s, waited_s)


async def describe(server: Server) -> ServerInfo:
    """What `/`, then `/health`, say in JSON."""
    answers = [await _get(server, url) for url in (server.root, server.health_url)]
    return server_info([said for body in answers if (said := json_object(body)) is not None])


@dataclass(slots=True)
class _Connection:
    new: bool = False


@dataclass(slots=True)
class _Pieces:
    body: bytearray = field(default_factory=bytearray)
    arrivals: list[Arrival] = field(default_factory=list)


async def _receive(
    server: Server,
    response: aiohttp.ClientResponse,
    started: float,
    connection: _Connection,
    waited_s: float,
) -> Received:
    pieces = _Pieces()
    try:
        async for piece in response.content.iter_any():
            elapsed_s = server.clock() - started
            pieces.body += piece
            pieces.arrivals.append(Arrival(len(pieces.body), elapsed_s))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MeasurementError(
            f"the stream broke off after {len(pieces.body)} bytes: {reason}"
        ) from error
    total_s = server.clock() - started
    if not pieces.body:
        raise MeasurementError("the server answered 200 without any audio")
    return Received(
        body=bytes(pieces.body),
        content_type=response.headers.get("Content-Type", "no Content-Type"),
        arrivals=tuple(pieces.arrivals),
        total_s=total_s,
        new_connection=connection.new,
        waited_s=waited_s,
    )


async def _told_to_wait_s(response: aiohttp.ClientResponse) -> float:
    """Seconds that a 503 asks for; anything else is raised."""
    told_s = retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC))
    if response.status == 503 and told_s is not None:
        return told_s
    message = error_message(await response.text(errors="replace"))
    where = f"{response.method} {response.url.path}"
    raise MeasurementError(
        f"{where}: {response.status} {response.reason}" + (f": {message}" if message else "")
    )


async def _wait(patience: Patience, url: URL, told_s: float, waited_s: float) -> float:
    """Wait as told; returns the seconds waited so far."""
    wait_s = max(told_s, SHORTEST_WAIT_S)
    if waited_s + wait_s > patience.wait_s:
        raise MeasurementError(
            f"{url.path} answers 503 and asks for {wait_s:g} s more after {waited_s:g} s, over "
            f"--wait-s {patience.wait_s:g}"
        )
    patience.say(f"{url.path} answers 503, trying again in {wait_s:g} s")
    await patience.sleep(wait_s)
    return waited_s + wait_s


async def _get(server: Server, url: URL) -> bytes:
    """The body, whatever the status."""
    with _one_line_errors(url):
        async with server.session.get(url, allow_redirects=False) as response:
            return await response.read()


@contextlib.contextmanager
def _one_line_errors(url: URL) -> Iterator[None]:
    """The one place where aiohttp's errors become ours."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        reason = error.os_error.strerror or str(error.os_error)
        raise Unreachable(f"{url.origin()} cannot be reached: {reason}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise Unreachable(
            f"{url.origin()} cannot be reached: no answer in {CONNECT_TIMEOUT_S:g} s"
        ) from error
    except TimeoutError as error:
        raise MeasurementError(f"{url} was silent for {READ_TIMEOUT_S:g} s") from error
    except aiohttp.ClientError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MeasurementError(f"{url} failed: {reason}") from error
