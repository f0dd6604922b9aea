"""`/v1/admin/keys`: what came with which API key."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aiohttp import web

from proxy.api.access import ADMIN_PATH
from proxy.api.gate import Gate
from proxy.api.middleware import Handler

KEYS_PATH = f"{ADMIN_PATH}/keys"


@dataclass(frozen=True, slots=True)
class KeysAdminApi:
    """Names and counts since the server started, and nothing of the keys themselves."""

    gate: Gate | None
    """None where no key is set."""

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """By method and path."""
        return {("GET", KEYS_PATH): self.keys}

    async def keys(self, request: web.Request) -> web.Response:
        counts = {} if self.gate is None else self.gate.counts
        return web.json_response(
            {
                "keys": [{"name": name, **asdict(count)} for name, count in counts.items()],
                "refused": 0 if self.gate is None else self.gate.refused,
            }
        )
