"""The headers and the parts of addresses that requests and answers have in common."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.api.openapi import JsonObject
from proxy.api.signed_address import PATTERN
from synth.audio.codecs import SAMPLE_RATES_HZ
from synth.audio.formats import FORMATS

EVERY_ANSWER = ("X-Request-Id", "Cache-Status", "Server-Timing")

RATE_LIMIT = tuple(f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset"))
"""Those of every answer to a key that has a limit."""


def _header(description: str, required: bool = False, **schema: object) -> JsonObject:
    return {
        "description": description,
        "required": required,
        "schema": {"type": "string", **schema},
    }


def _milliseconds(description: str) -> JsonObject:
    return _header(description, required=True, pattern=r"^\d+\.\d+$")


HEADERS: Mapping[str, JsonObject] = {
    "X-Request-Id": _header("The request's own, or a new one.", required=True, minLength=1),
    "Cache-Status": _header(
        "RFC 9211: where the answer comes from.", required=True, pattern="^kokoro-edge; (hit|fwd=)"
    ),
    "Server-Timing": _header("Milliseconds, by what took them.", required=True, pattern=";dur="),
    "ETag": _header("Of the bytes. Missing where they are streamed.", pattern='^"[^"]*"$'),
    "Age": _header("Seconds since it was made, on hits.", pattern=r"^\d+$"),
    "Content-Location": _header(
        "Where the finished reply is found again. Missing where nothing is kept, and of a "
        "provider's reply that is still streamed.",
        pattern="^/v1/audio/clips/",
    ),
    "X-Voice": _header(
        "The voice or blend, in its canonical spelling; or, where a provider spoke in the engine's "
        "place, the provider's name and its voice, as in `spare/alloy`.",
        required=True,
    ),
    "X-Generation-Time": _milliseconds("Milliseconds of synthesis; of a stream, up to its start."),
    "X-Encode-Time": _milliseconds("Milliseconds of encoding; of a stream, up to its start."),
    "X-Total-Time": _milliseconds("Milliseconds in all; of a stream, up to its start."),
    "Cache-Control": _header("RFC 9111: how long it may be kept.", required=True),
    "Accept-Ranges": _header("`bytes`, where all of it is there.", enum=["bytes"]),
    "Content-Range": _header("Which bytes of how many.", required=True, pattern="^bytes "),
    "Content-Disposition": _header("What to call the file.", required=True),
    "Allow": _header("The methods that the address takes.", required=True),
    "WWW-Authenticate": _header("How to send a key.", required=True),
    "X-Accel-Buffering": _header("`no`, on what is streamed: for nginx.", enum=["no"]),
    "retry-after-ms": _header("The same in milliseconds.", pattern=r"^\d+$"),
    **{
        name: _header("Of a key that has a limit: how many a minute, how many now, until when.")
        for name in RATE_LIMIT
    },
    "Retry-After": _header("Seconds after which to ask again.", pattern=r"^\d+$"),
}


def _sent(name: str, description: str, **schema: object) -> JsonObject:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string", **schema},
    }


def _in_path(name: str, description: str, **schema: object) -> JsonObject:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", **schema},
    }


_EXTENSIONS = sorted({each for format in FORMATS.values() for each in format.extensions})

PARAMETERS: Mapping[str, JsonObject] = {
    "request_id": _sent(
        "X-Request-Id",
        "Told back, and in the log, if it is 1 to 128 visible characters of ASCII.",
    ),
    "cache_control": _sent(
        "Cache-Control",
        "RFC 9111: `no-store`, `no-cache`, `max-age=N`, `only-if-cached`. Others are ignored.",
    ),
    "if_match": _sent("If-Match", "RFC 9110: only these bytes."),
    "if_none_match": _sent("If-None-Match", "RFC 9110: any bytes but these."),
    "range": _sent("Range", "RFC 9110: one range of bytes. Others are ignored."),
    "if_range": _sent("If-Range", "RFC 9110: the range only of these bytes."),
    "base_rate": {
        **_in_path("base_rate_hz", "Of replies whose request names none, in Hz."),
        "schema": {"type": "integer", "enum": list(SAMPLE_RATES_HZ)},
    },
    "model": _in_path("model", "Any name is the one model.", minLength=1),
    "clip_id": _in_path("id", "Of the reply.", pattern="^[0-9a-f]{32}$"),
    "clip_ext": _in_path("ext", "Of its format.", enum=_EXTENSIONS),
    "signature": _in_path(
        "signature", "When it expires, and by whose key.", pattern=f"^{PATTERN}$"
    ),
    "book": _in_path("name", "Of a phrasebook in use.", minLength=1),
}
"""By the name that operations know them by."""
