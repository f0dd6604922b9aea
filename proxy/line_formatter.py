"""How lines of the log are written."""

from __future__ import annotations

import logging


class LineFormatter(logging.Formatter):
    """Works the time of day out once a second, not once a line."""

    def __init__(self, format: str) -> None:
        super().__init__(format)
        self._second = -1
        self._shown = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        if int(record.created) != self._second:
            self._second = int(record.created)
            self._shown = super().formatTime(record)[: -len(",000")]
        return f"{self._shown},{int(record.msecs):03d}"
