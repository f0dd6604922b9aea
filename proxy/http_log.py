"""What aiohttp logs of requests that it cannot read."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp.http import HttpProcessingError

logger = logging.getLogger(__name__)


class HttpLog(logging.LoggerAdapter[logging.Logger]):
    """One line, without what was sent: aiohttp's own has a traceback for each, and in it the header
    that was too long, which may be a key."""

    def __init__(self) -> None:
        super().__init__(logger, {})

    def exception(self, msg: object, *args: object, **more: Any) -> None:
        error = more.get("exc_info")
        if isinstance(error, HttpProcessingError):
            self.info("refused what is no request that can be read: %s", type(error).__name__)
        else:
            super().exception(msg, *args, **more)
