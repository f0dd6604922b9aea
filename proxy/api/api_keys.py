"""API keys: who is who."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, partial

from aiohttp import web

from proxy.api.signed_address import sign, signing_key
from proxy.settings import AuthSettings


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is held: what it takes to know it again, and to sign for it."""

    name: str
    digest: bytes = field(repr=False)
    """SHA-256."""
    derive: Callable[[], bytes] = field(repr=False)
    """Tells `signing`. Takes some ten milliseconds, the first time."""
    clip_address_s: float
    now_s: Callable[[], float] = time.time
    """Seconds since 1970."""

    @property
    def signing(self) -> bytes:
        """What signs for it: see `proxy.api.signed_address`."""
        return self.derive()

    def signature(self, name: str) -> str:
        """Lets whoever has it fetch what is called so: see `proxy.api.signed_address`."""
        return sign(self.signing, name, self.now_s(), self.clip_address_s)


CALLER = web.RequestKey("caller", ApiKey)
"""Whose key came with the request. Missing where none is asked for."""


class ApiKeys:
    """All that there are."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self.all = tuple(keys)

    def derive(self) -> None:
        """Have at hand what signs for each. Takes some ten milliseconds for each."""
        for key in self.all:
            key.derive()

    def find(self, presented: str) -> ApiKey | None:
        """Whose key this is. Takes as long whichever it is, and however much of it is right."""
        digest = _digest(presented)
        found = None
        for key in self.all:
            if hmac.compare_digest(digest, key.digest):
                found = key
        return found


def build_keys(settings: AuthSettings) -> ApiKeys | None:
    """None where no key is set."""
    if not settings.keys:
        return None
    secrets = {name: key.get_secret_value() for name, key in settings.keys.items()}
    return ApiKeys(
        ApiKey(name, _digest(secret), cache(partial(signing_key, secret)), settings.clip_address_s)
        for name, secret in secrets.items()
    )


def bearer_of(request: web.Request) -> str | None:
    """The credentials in `Authorization: Bearer`, whatever they are worth (RFC 6750)."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return (given.strip() or None) if scheme.lower() == "bearer" else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
