"""Who may administrate: whoever has the key or, where there are no keys, this machine alone."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from proxy.api.api_keys import ApiKeys, bearer_of
from proxy.api.errors import AdministrationOff, KeyNeeded, NotPermitted
from proxy.layers import SettingsError
from proxy.settings import ServerSettings

ADMIN_PATH = "/v1/admin"

_FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
"""Told by a proxy on this machine, which may ask on behalf of anybody."""


class Access:
    """Asked by every address under `/v1/admin`, be there anything or not."""

    def __init__(self, admin_key: str | None, host: str, api_keys: ApiKeys | None = None) -> None:
        """`host` is where the server listens. API keys are for speech, and of no use here."""
        self._key = None if admin_key is None else admin_key.encode()
        self._host = host
        self._listens_here = is_loopback(host)
        self._api_keys = api_keys

    def check(self, request: web.Request) -> None:
        """Raises KeyNeeded, NotPermitted, AdministrationOff: not this one."""
        if self._key is not None:
            self._check_key(request, self._key)
        elif (why := self._refusal(request)) is not None:
            raise AdministrationOff(
                f"{why}, so administration needs a key: set server.admin_key for the server, and "
                "for the commands that ask it; over HTTP send it as 'Authorization: Bearer KEY'."
            )

    def _refusal(self, request: web.Request) -> str | None:
        if self._api_keys is not None:
            return "This server asks for API keys"
        if not self._listens_here:
            return f"This server listens on {self._host}, and not on a loopback address alone"
        return _comes_from_elsewhere(request)

    def _check_key(self, request: web.Request, key: bytes) -> None:
        given = bearer_of(request) or ""
        # Compared as bytes, in a time that does not tell how much of it was right.
        if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key):
            return
        if self._api_keys is not None and self._api_keys.find(given) is not None:
            raise NotPermitted
        raise KeyNeeded("This needs the server's server.admin_key, as 'Authorization: Bearer KEY'.")


def build_access(settings: ServerSettings, api_keys: ApiKeys | None) -> Access:
    """Raises SettingsError: the key of administration is an API key, too."""
    key = None if settings.admin_key is None else settings.admin_key.get_secret_value()
    if key is not None and api_keys is not None and api_keys.find(key) is not None:
        raise SettingsError(
            "server.admin_key is one of auth.keys, too, so that whoever may ask for speech could "
            "administrate: set another"
        )
    return Access(key, settings.host, api_keys)


def is_admin(path: str) -> bool:
    """Whether this is an address, or a route, of administration."""
    return path == ADMIN_PATH or path.startswith(f"{ADMIN_PATH}/")


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
