"""The server's certificate, as it is on disk at the moment."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from watchfiles import awatch

from proxy.layers import SettingsError
from proxy.settings import ServerSettings

logger = logging.getLogger(__name__)

_FIRST = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LOOK_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class _Loaded:
    context: ssl.SSLContext
    fingerprint: str


class Certificate:
    """What connections are encrypted with, from when on it is opened.

    They are made with one context, which hands each of them to the one that was loaded last: so a
    renewed certificate is taken over whole, or not at all, and no connection is cut for it.
    """

    def __init__(self, certificate: Path, key: Path, look_every_s: float = _LOOK_EVERY_S) -> None:
        self._certificate = certificate
        self._key = key
        self._look_every_s = look_every_s
        self._loaded: _Loaded | None = None
        self._seen: bytes | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate itself, in hexadecimal digits."""
        assert self._loaded is not None
        return self._loaded.fingerprint

    def open(self) -> ssl.SSLContext:
        """For listening sockets. Raises SettingsError: the files cannot be used."""
        self._seen = self._digest()
        self._loaded = self._load()
        context = _context(self._certificate, self._key)

        def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            assert self._loaded is not None
            connection.context = self._loaded.context

        context.sni_callback = choose
        return context

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Take over what the files become, and say so. Runs until it is cancelled."""
        # The folders: who renews writes another file in place of the old one, or moves a link.
        folders = {self._certificate.parent, self._key.parent}
        told = self.fingerprint
        while True:
            try:
                # And now and then all the same: of a link further up, and of folders that are on
                # another machine, nothing is told.
                async for _ in awatch(
                    *folders,
                    recursive=False,
                    rust_timeout=max(1, int(self._look_every_s * 1000)),
                    yield_on_timeout=True,
                ):
                    await self._look()
                    if told != self.fingerprint:
                        await changed()
                        told = self.fingerprint
            except Exception:
                logger.exception("watching the certificate failed; it is begun again")
            await asyncio.sleep(self._look_every_s)

    async def _look(self) -> None:
        """Take the files over where they are others than at the last look."""
        seen = await asyncio.to_thread(self._digest)
        if seen != self._seen:
            self._seen = seen
            await self._take_over()

    def _digest(self) -> bytes:
        """Of both files as they are; of none where one cannot be read."""
        digest = hashlib.sha256()
        try:
            for path in (self._certificate, self._key):
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError:
            return b""
        return digest.digest()

    async def _take_over(self) -> bool:
        """Whether there is another certificate."""
        try:
            loaded = await asyncio.to_thread(self._load)
        except SettingsError as error:
            # Between the writing of one file and the other, as a rule.
            logger.warning("the certificate in use stays: %s", error)
            return False
        known, self._loaded = self._loaded, loaded
        is_new = known is None or known.fingerprint != loaded.fingerprint
        if is_new:
            logger.info("took the certificate over from %s", self._certificate)
        return is_new

    def _load(self) -> _Loaded:
        context = _context(self._certificate, self._key)
        first = _FIRST.search(_text(self._certificate, "server.tls_certificate"))
        if first is None:
            raise SettingsError(f"server.tls_certificate: {self._certificate} is no PEM")
        der = ssl.PEM_cert_to_DER_cert(first[0])
        return _Loaded(context, hashlib.sha256(der).hexdigest())


def build_certificate(settings: ServerSettings) -> Certificate | None:
    """None where there is none. Raises SettingsError: one of the two files is not set."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise SettingsError("server.tls_certificate and server.tls_key are set both, or neither")
    return Certificate(certificate.expanduser().absolute(), key.expanduser().absolute())


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    _text(certificate, "server.tls_certificate")  # Of what ssl misses it does not say which.
    _text(key, "server.tls_key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def no_passphrase() -> str:
        # Otherwise it is asked for at the terminal.
        raise SettingsError(f"server.tls_key: {key} has a passphrase: give one that has none")

    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise SettingsError(
            f"server.tls_certificate and server.tls_key: {certificate} and {key} cannot be used: "
            f"{why}"
        ) from None
    return context


def _text(path: Path, setting: str) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SettingsError(f"{setting}: {path} cannot be read: {error.strerror}") from None
