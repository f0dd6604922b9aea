"""Who may administrate: whoever has the key or, where none is set, this machine alone."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from proxy.api.errors import AdministrationOff, KeyNeeded

_FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
"""Told by a proxy on this machine, which may ask on behalf of anybody."""


class Access:
    """Asked by every address under `/v1/admin`, be there anything or not."""

    def __init__(self, admin_key: str | None, host: str) -> None:
        """`host` is where the server listens."""
        self._key = None if admin_key is None else admin_key.encode()
        self._listens_here = is_loopback(host)

    def check(self, request: web.Request) -> None:
        """Raises KeyNeeded, AdministrationOff: not this one."""
        if self._key is not None:
            self._check_key(request, self._key)
        elif not (self._listens_here and _is_from_here(request)):
            raise AdministrationOff(
                "Without a key, administration is for this machine alone, by a loopback address. "
                "Set server.admin_key, and send it as 'Authorization: Bearer KEY'."
            )

    def _check_key(self, request: web.Request, key: bytes) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # Compared as bytes, in a time that does not tell how much of it was right.
        right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), key)
        if scheme.lower() != "bearer" or not right:
            raise KeyNeeded(
                "This needs the server's server.admin_key, as 'Authorization: Bearer KEY'."
            )


def is_loopback(host: str) -> bool:
    """Whether a host by its name or address is this machine, for this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_from_here(request: web.Request) -> bool:
    """Whether it is asked by somebody on this machine, and not by a page of the web in their
    browser: that one says where it is from, or has bent a name of its own to this address."""
    host = request.headers.get("Host", "")
    try:
        named = urlsplit(f"//{host}").hostname or ""
        origin = urlsplit(request.headers.get("Origin", f"//{host}")).netloc
    except ValueError:
        return False
    return (
        is_loopback(named)
        and origin.lower() == host.lower()
        and not any(name in request.headers for name in _FORWARDED)
    )
