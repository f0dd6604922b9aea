"""A running server, asked through its admin API."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from proxy.commands.failure import EXIT_BUSY, EXIT_USAGE, CommandFailed

_TIMEOUTS = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)
"""The server tells of its progress all the time, but says nothing while it counts."""

_LINE_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class AdminClient:
    """A server, by the address that it or its operator has told."""

    url: str
    """Without a path."""
    session: aiohttp.ClientSession

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, **asked: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with status 200.

        Raises:
            CommandFailed: there is no such, or it broke off.
        """
        try:
            async with self.session.request(
                method, self.url + path, allow_redirects=False, **asked
            ) as answer:
                if answer.status != 200:
                    raise self._refused(answer.status, await answer.read())
                yield answer
        except aiohttp.InvalidURL:
            raise CommandFailed(f"{self.url} is no address of a server", EXIT_USAGE) from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", None) or "it is of another"
            raise CommandFailed(
                f"the certificate of the server at {self.url} is not to be trusted: {why}. If it "
                "is yours, name its file in the environment variable SSL_CERT_FILE; on the "
                "server's own machine, set cache.directory as the server has it"
            ) from None
        except aiohttp.ServerFingerprintMismatch:
            raise CommandFailed(
                f"what answers at {self.url} has not the certificate that the server told"
            ) from None
        except aiohttp.ClientConnectorError as error:
            why = os.strerror(error.os_error.errno) if error.os_error.errno else str(error)
            raise CommandFailed(
                f"cannot reach the server at {self.url}: {why}. Is it running?"
            ) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise CommandFailed(
                f"the server at {self.url} broke off: {str(error) or type(error).__name__}. Its "
                "log may tell why"
            ) from None

    async def lines(self, method: str, path: str, **asked: Any) -> AsyncGenerator[bytes, None]:
        """The lines of such an answer. Raises as `ask`."""
        async with self.ask(method, path, **asked) as answer:
            async for line in answer.content:
                yield line

    def broken_off(self, line: bytes) -> CommandFailed:
        """What is to be said of a line that is none of those that were expected."""
        message = message_in(line) or "it answered something else than it should"
        return CommandFailed(f"the server at {self.url} broke off: {message}")

    def _refused(self, status: int, body: bytes) -> CommandFailed:
        message = message_in(body)
        if message is None or _code_in(body) in ("not_found", "method_not_allowed"):
            return CommandFailed(
                f"what answers at {self.url} is no kokoro-edge that can do this (status {status})"
            )
        if status == 401:
            return CommandFailed(
                f"the server at {self.url} wants its key, and got another or none: set "
                "server.admin_key as it has it, in the file or as KOKORO_EDGE_SERVER_ADMIN_KEY"
            )
        if status == 409:
            return CommandFailed(f"the server at {self.url}: {message}", EXIT_BUSY)
        return CommandFailed(f"the server at {self.url} refused: {message}")


@asynccontextmanager
async def open_client(
    url: str, admin_key: str | None, certificate: str | None = None
) -> AsyncIterator[AdminClient]:
    """`certificate` is the SHA-256 of the one that this server has told to have, and no other is
    taken; without it the certificate must be of an authority and for the host in the address.

    Raises:
        CommandFailed: this is no address of a server.
    """
    base = url.rstrip("/").removesuffix("/v1")
    try:
        parts = urlsplit(base)
        port_is_right = parts.port != 0
    except ValueError:
        port_is_right = False
    if not port_is_right or parts.scheme not in ("http", "https") or not parts.hostname:
        raise CommandFailed(
            f"{url} is no address of a server: write it as in http://127.0.0.1:8000", EXIT_USAGE
        )
    headers = {} if admin_key is None else {"Authorization": f"Bearer {admin_key}"}
    pinned = True if certificate is None else aiohttp.Fingerprint(bytes.fromhex(certificate))
    connector = aiohttp.TCPConnector(ssl=pinned)
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, timeout=_TIMEOUTS, read_bufsize=_LINE_BYTES
    ) as session:
        yield AdminClient(base, session)


def message_in(body: bytes) -> str | None:
    """What our error object says; None: it is none."""
    message = _error_in(body).get("message")
    return message.rstrip(".") if isinstance(message, str) else None


def _code_in(body: bytes) -> object:
    return _error_in(body).get("code")


def _error_in(body: bytes) -> dict[Any, object]:
    try:
        match json.loads(body):
            case {"error": {**error}}:
                return error
    except ValueError:
        pass
    return {}
