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
        self._host = host
        self._listens_here = is_loopback(host)

    def check(self, request: web.Request) -> None:
        """Raises KeyNeeded, AdministrationOff: not this one."""
        if self._key is not None:
            self._check_key(request, self._key)
        elif (why := self._refusal(request)) is not None:
            raise AdministrationOff(
                f"{why}, so administration needs a key: set server.admin_key for the server, and "
                "for the commands that ask it; over HTTP send it as 'Authorization: Bearer KEY'."
            )

    def _refusal(self, request: web.Request) -> str | None:
        if not self._listens_here:
            return f"This server listens on {self._host}, and not on a loopback address alone"
        return _comes_from_elsewhere(request)

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


def _comes_from_elsewhere(request: web.Request) -> str | None:
    """Why it is not asked by somebody on this machine, or by a page of the web in their browser:
    that one says where it is from, or has bent a name of its own to this address. None: it is."""
    host = request.headers.get("Host", "")
    try:
        named = urlsplit(f"//{host}").hostname or ""
        origin = urlsplit(request.headers.get("Origin", f"//{host}")).netloc
    except ValueError:
        named = origin = ""
    if not is_loopback(named):
        return "The request is for another host name than this machine's own"
    site = request.headers.get("Sec-Fetch-Site", "none")
    if origin.lower() != host.lower() or site not in ("none", "same-origin"):
        return "The request comes from a page of another origin"
    if forwarded := [name for name in _FORWARDED if name in request.headers]:
        return f"The request came through a proxy ({forwarded[0]})"
    return None
