"""Whether a request may pass, where API keys are set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.api.access import is_admin
from proxy.api.api_keys import CALLER, ApiKey, ApiKeys, bearer_of
from proxy.api.errors import KeyMissing, RateLimited, UnknownKey
from proxy.layers import SettingsError

if TYPE_CHECKING:
    from proxy.api.rate_limit import RateLimit

OPEN = frozenset(
    {
        *("/", "/health", "/health/live", "/health/ready", "/openapi.json"),
        *("/v1", "/v1/", "/v1/rate/{base_rate_hz}", "/v1/rate/{base_rate_hz}/"),
    }
)
"""Routes that nobody needs a key for: they tell what a load balancer, or a client that warms its
connection up, may know."""

SIGNED_CLIPS = "/v1/audio/clips/{signature}/{id}.{ext}"
"""The route whose addresses are keys themselves."""

VAPI_PATH = "/v1/webhooks/vapi"
"""Who asks here cannot send `Authorization`."""

VAPI_SECRET = "X-VAPI-SECRET"


@dataclass(slots=True)
class Count:
    """What came with one key."""

    requests: int = 0
    """Those that were let in."""
    limited: int = 0
    """Those that came too often."""


class Gate:
    """Every route wants a key that is not one of the few that want none, so that a new one does.

    It goes by the route that was found and not by the address, which has many spellings.
    """

    def __init__(self, keys: ApiKeys, limits: Mapping[str, RateLimit]) -> None:
        """`limits` are by the key's name; who has none may ask as often as they like."""
        self._keys = keys
        self._limits = limits
        self.counts = {key.name: Count() for key in keys.all}
        self.refused = 0
        """Requests with a key that is none of ours, or without."""

    def admit(self, request: web.Request) -> None:
        """Sets CALLER where a key was asked for.

        Raises:
            KeyMissing, UnknownKey: there is no key, or it is none of ours.
            RateLimited: it is asked with too often.
        """
        resource = request.match_info.route.resource
        route = "" if resource is None else resource.canonical
        if route in OPEN or route == SIGNED_CLIPS or is_admin(route):
            return
        key = self._key_of(request, route)
        request[CALLER] = key
        count = self.counts[key.name]
        if (limit := self._limits.get(key.name)) is not None and (wait_ms := limit.take()):
            count.limited += 1
            raise RateLimited(key.name, limit.per_minute, wait_ms)
        count.requests += 1

    @property
    def has_limits(self) -> bool:
        return bool(self._limits)

    async def tell_limit(self, request: web.Request, response: web.StreamResponse) -> None:
        """How much of the limit is left, in every answer, in OpenAI's headers."""
        caller = request.get(CALLER)
        limit = None if caller is None else self._limits.get(caller.name)
        if limit is not None:
            remaining, full_after_s = limit.left()
            response.headers["x-ratelimit-limit-requests"] = str(limit.per_minute)
            response.headers["x-ratelimit-remaining-requests"] = str(remaining)
            response.headers["x-ratelimit-reset-requests"] = f"{full_after_s:.3f}s"

    def _key_of(self, request: web.Request, route: str) -> ApiKey:
        presented = bearer_of(request)
        if presented is None and route == VAPI_PATH:
            presented = request.headers.get(VAPI_SECRET)
        if presented is None:
            self.refused += 1
            raise KeyMissing(VAPI_SECRET if route == VAPI_PATH else None)
        key = self._keys.find(presented)
        if key is None:
            self.refused += 1
            raise UnknownKey
        return key


def build_gate(
    keys: ApiKeys | None, per_minute: int | None, by_key: Mapping[str, int]
) -> Gate | None:
    """None where no key is set. Raises SettingsError: a limit is for a key that is not there."""
    names = () if keys is None else [key.name for key in keys.all]
    if unknown := [name for name in by_key if name not in names]:
        raise SettingsError(
            f"auth.requests_per_minute_by_key has {unknown[0]!r}, and auth.keys has not"
        )
    if keys is None:
        return None
    if per_minute is None and not by_key:
        return Gate(keys, {})
    from proxy.api.rate_limit import RateLimit  # What it needs takes a tenth of a second to load.

    limits = {
        key.name: RateLimit(most)
        for key in keys.all
        if (most := by_key.get(key.name, per_minute)) is not None
    }
    return Gate(keys, limits)
