"""One line in the log for every request, written off the path of the request."""

from __future__ import annotations

import asyncio
import logging
import time

logger = logging.getLogger(__name__)

_BATCH_S = 0.1
"""Lines of requests that went well wait so long for others to be written with: formatting and
writing one takes longer than looking a reply up, and twice as long between two requests as among
other lines."""

_BATCH_LINES = 32
"""More would keep other requests waiting for longer than a look-up takes."""

_PROBED = ("/health", "/health/live", "/health/ready")
"""Asked by machines every few seconds: not worth a line each."""

_LINE = "%s %s %s %s%s %.1f ms id=%s%s"


_RECORD = logging.LogRecord(logger.name, logging.INFO, "", 0, _LINE, (), None).__dict__


class RequestLog:
    """Method, path, status, what became of it, milliseconds, id, and the name of the API key where
    there was one. Neither the text nor the query string is in it, nor a signature.

    What became of it: `ok`, answered; `refused`, answered with an error; `gone`, the client left
    before the end; `slow`, it took nothing any more and was cut off; `aborted`, the server broke it
    off.
    """

    def __init__(self) -> None:
        self.stopping = False
        """Set when the server stops, and breaks off what is not done in time."""
        self._batch: list[tuple[float, int, tuple[object, ...]]] = []

    def answered(
        self,
        method: str,
        path: str,
        status: int,
        aborted: bool,
        error_code: str | None,
        began_s: float,
        id: str,
        key: str | None = None,
    ) -> None:
        """`began_s` by `time.perf_counter`; `key` is the name of one."""
        level = logging.DEBUG if path in _PROBED else logging.INFO
        if aborted:
            level = logging.WARNING
        if not logger.isEnabledFor(level):
            return
        took_ms = (time.perf_counter() - began_s) * 1000
        error = f" error={error_code}" if error_code else ""
        outcome = "aborted" if aborted else "refused" if error_code else "ok"
        self._note(level, (method, path, status, outcome, error, took_ms, id, _shown(key)))
        if status != 200 or aborted or len(self._batch) >= _BATCH_LINES:
            self.flush()

    def gone(
        self,
        method: str,
        path: str,
        stalled: bool,
        began_s: float,
        id: str,
        key: str | None = None,
    ) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        outcome = "slow" if stalled else "aborted" if self.stopping else "gone"
        took_ms = (time.perf_counter() - began_s) * 1000
        values = (method, path, "-", outcome, "", took_ms, id, _shown(key))
        self._note(logging.INFO, values)
        self.flush()

    def flush(self) -> None:
        """Write what has not been written, each line with the time at which it happened."""
        batch, self._batch = self._batch, []
        for happened_s, level, values in batch:
            # Not by `makeRecord`, which looks up threads and frames that no line shows.
            record = logging.LogRecord.__new__(logging.LogRecord)
            record.__dict__.update(_RECORD)
            record.levelno, record.levelname = level, logging.getLevelName(level)
            record.args = values
            record.created, record.msecs = happened_s, happened_s % 1 * 1000
            logger.handle(record)

    def _note(self, level: int, values: tuple[object, ...]) -> None:
        if not self._batch:
            asyncio.get_running_loop().call_later(_BATCH_S, self.flush)
        self._batch.append((time.time(), level, values))


def _shown(key: str | None) -> str:
    return "" if key is None else f" key={key}"
