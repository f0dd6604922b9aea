"""Reading what servers say beside audio: errors, when to come again, who they are."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself; None where it says nothing."""

    name: str | None = None
    version: str | None = None
    device: str | None = None


def server_info(documents: Sequence[dict[str, Any]]) -> ServerInfo:
    """From JSON objects, the first to name a thing counts; a device may be one level down."""
    nested = [inner for outer in documents for inner in outer.values() if isinstance(inner, dict)]
    return ServerInfo(
        name=_named(documents, "name", "server", "service", "app"),
        version=_named(documents, "version"),
        device=_named([*documents, *nested], "device"),
    )


def json_object(body: bytes | str) -> dict[str, Any] | None:
    """`body` if it is one JSON object."""
    with contextlib.suppress(ValueError):
        document = json.loads(body)
        if isinstance(document, dict):
            return document
    return None


def error_message(body: str) -> str:
    """`error.message` of OpenAI's error shape, or FastAPI's `detail`, or how the body begins."""
    document = json_object(body)
    if document is not None:
        error = document.get("error", document.get("detail", document))
        message = error.get("message", error) if isinstance(error, dict) else error
        body = message if isinstance(message, str) else json.dumps(message)
    return " ".join(body.split())[:_SHOWN_CHARS]


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header: a number or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _named(documents: Sequence[dict[str, Any]], *keys: str) -> str | None:
    found = (document.get(key) for key in keys for document in documents)
    return next((value for value in found if isinstance(value, str) and value), None)
