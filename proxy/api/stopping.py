"""Whether the server has been told to stop."""

from __future__ import annotations

import asyncio

from aiohttp import web


class Stopping:
    """Told once, it finishes what is under way; told twice, it does not."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()

    def ask(self) -> None:
        (self.at_once if self.asked.is_set() else self.asked).set()

    def is_asked(self) -> bool:
        return self.asked.is_set()


STOPPING = web.AppKey("stopping", Stopping)
