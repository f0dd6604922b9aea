"""Every error a client can get, in OpenAI's shape, from one table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from proxy.cache.archive import NotAnArchive
from proxy.cache.disk import CacheUnavailable
from proxy.cache.selection import NothingToSay
from proxy.phrasebook.warm import WarmUpRunning
from proxy.speech.flight import Abandoned
from proxy.speech.schedule import Overloaded
from proxy.speech.terms import NotCached
from proxy.speech.wording import UnknownPhrasebook
from synth.engine import (
    BadAudio,
    CannotSay,
    EngineDied,
    EngineError,
    EngineLoading,
    EngineUnavailable,
)
from synth.verify import VerifierUnavailable
from synth.voices import UnknownLanguage, UnknownVoice

TOO_LONG = "string_above_max_length"
"""The `code` of a text that is longer than may be said."""


class BadRequest(Exception):
    """The request cannot be read. The message is for the one who sent it."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class NoSuchClip(Exception):
    """Nothing is stored under this address."""


class NoSuchPhrasebook(Exception):
    """No phrasebook of this name is in use."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no phrasebook {name[:80]!r}; there are {', '.join(known) or 'none'}."
        )


class MiningOff(Exception):
    """Nothing is counted."""

    def __init__(self) -> None:
        super().__init__("Nothing is counted: set mine.enabled for this server first.")


class RangeNotSatisfiable(Exception):
    """The range that was asked for begins behind the end."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The range is beyond the end: there are {size_bytes} bytes.")
        self.size_bytes = size_bytes


class KeyNeeded(Exception):
    """This wants a key, and got another or none."""


class AdministrationOff(Exception):
    """No key is set, and whoever asks may be somebody who should not."""


class KeyMissing(Exception):
    """Speech is asked for without an API key."""

    def __init__(self, header: str | None = None) -> None:
        """`header` is another in which it may be sent."""
        other = "" if header is None else f", or the key by itself as {header}"
        super().__init__(
            f"There is no API key with this request: send 'Authorization: Bearer KEY'{other}."
        )


class UnknownKey(KeyNeeded):
    """The API key is none of ours. It is not repeated: the answer may be logged."""

    def __init__(self) -> None:
        super().__init__("The API key that came with this request is none of this server's.")


class NotPermitted(Exception):
    """The key is right, and not for this."""

    def __init__(self) -> None:
        super().__init__(
            "This API key is for speech. Administration needs the server's server.admin_key."
        )


class SignatureRefused(Exception):
    """A signed address that is not, or no longer, right."""

    def __init__(self, expired: bool) -> None:
        what = "has expired" if expired else "was not signed by this server, or with a key it lost"
        super().__init__(
            f"This address {what}: ask for the reply again at POST /v1/audio/speech, or fetch it "
            "with an API key and without the signature."
        )


class RateLimited(Exception):
    """One key is used more often than it may be."""

    def __init__(self, name: str, per_minute: int, wait_ms: int) -> None:
        super().__init__(
            f"The key {name!r} may ask {per_minute} times a minute, and did. "
            f"Ask again in {wait_ms / 1000:g} s."
        )
        self.wait_ms = wait_ms


class SlowBody(Exception):
    """The body did not come in time."""

    def __init__(self, within_s: float) -> None:
        super().__init__(f"The body of this request did not come within {within_s:g} s.")


@dataclass(frozen=True, slots=True)
class Problem:
    """How an exception is told to a client."""

    status: int
    type: str
    code: str | None
    param: str | None = None


_INVALID = "invalid_request_error"
_SERVER = "server_error"

PROBLEMS: Mapping[type[Exception], Problem] = {
    BadRequest: Problem(400, _INVALID, "invalid_value"),
    UnknownVoice: Problem(400, _INVALID, "voice_not_found", "voice"),
    UnknownLanguage: Problem(400, _INVALID, "language_not_found", "lang_code"),
    CannotSay: Problem(400, _INVALID, "cannot_say", "input"),
    UnknownPhrasebook: Problem(400, _INVALID, "phrasebook_not_found", "phrasebook"),
    VerifierUnavailable: Problem(400, _INVALID, "verifier_unavailable", "verify"),
    NothingToSay: Problem(400, _INVALID, "nothing_to_say", "text"),
    NotAnArchive: Problem(400, _INVALID, "not_an_archive"),
    KeyNeeded: Problem(401, _INVALID, "invalid_api_key"),
    KeyMissing: Problem(401, _INVALID, None),
    NotPermitted: Problem(403, _INVALID, "insufficient_permissions"),
    SignatureRefused: Problem(403, _INVALID, "signature_refused"),
    AdministrationOff: Problem(403, _INVALID, "administration_off"),
    NoSuchClip: Problem(404, _INVALID, "clip_not_found"),
    MiningOff: Problem(404, _INVALID, "mining_off"),
    NoSuchPhrasebook: Problem(404, _INVALID, "no_such_phrasebook"),
    SlowBody: Problem(408, _INVALID, "request_timeout"),
    WarmUpRunning: Problem(409, _INVALID, "warm_up_running"),
    RangeNotSatisfiable: Problem(416, _INVALID, "range_not_satisfiable"),
    RateLimited: Problem(429, "requests", "rate_limit_exceeded"),
    NotCached: Problem(504, _SERVER, "not_cached"),
    BadAudio: Problem(502, _SERVER, "bad_audio"),
    Overloaded: Problem(503, _SERVER, "overloaded"),
    EngineLoading: Problem(503, _SERVER, "engine_loading"),
    EngineDied: Problem(503, _SERVER, "engine_died"),
    EngineUnavailable: Problem(503, _SERVER, "engine_unavailable"),
    Abandoned: Problem(503, _SERVER, "abandoned"),
    EngineError: Problem(502, _SERVER, "engine_failed"),
    CacheUnavailable: Problem(503, _SERVER, "cache_unavailable"),
}
"""By exception; a subclass that is not here is told as its nearest parent that is."""

HTTP_CODES: Mapping[int, str] = {
    404: "not_found",
    405: "method_not_allowed",
    412: "precondition_failed",
    413: "body_too_large",
}


def response_to(error: Exception) -> web.Response | None:
    """The answer to an exception of ours or of aiohttp's; None for any other."""
    if isinstance(error, web.HTTPException):
        return _response_to_http(error)
    kind = next((kind for kind in type(error).__mro__ if kind in PROBLEMS), None)
    if kind is None:
        return None
    problem = PROBLEMS[kind]
    param, code = problem.param, problem.code
    if isinstance(error, BadRequest):
        param, code = error.param, error.code or problem.code
    return error_response(problem.status, str(error), problem.type, code, param, _headers_of(error))


def unforeseen() -> web.Response:
    """The answer to what should not have happened. Says nothing of the inside."""
    return error_response(500, "The server failed. Its log tells why.", _SERVER, "internal_error")


def error_response(
    status: int,
    message: str,
    type: str,
    code: str | None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """OpenAI's error object."""
    body = {"error": {"message": message, "type": type, "param": param, "code": code}}
    return web.json_response(
        body, status=status, headers=headers, dumps=lambda it: json.dumps(it, ensure_ascii=False)
    )


def _headers_of(error: Exception) -> dict[str, str]:
    match error:
        case EngineUnavailable():
            return {"Retry-After": str(math.ceil(error.retry_after_s))}
        case RateLimited():
            seconds = str(math.ceil(error.wait_ms / 1000))
            return {"Retry-After": seconds, "retry-after-ms": str(error.wait_ms)}
        case UnknownKey():
            return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        case KeyNeeded() | KeyMissing():
            return {"WWW-Authenticate": "Bearer"}
        case RangeNotSatisfiable():
            return {"Content-Range": f"bytes */{error.size_bytes}"}
    return {}


def _response_to_http(error: web.HTTPException) -> web.Response:
    messages = {
        404: "There is nothing at this address. Speech is at POST /v1/audio/speech.",
        405: f"This address does not take this method. {_allowed(error)}",
        412: "The audio is not, or no longer, what the request's conditions ask for.",
        413: f"The body is too large. {error.text or ''}",
    }
    message = messages.get(error.status, error.reason or "The request failed.").strip()
    kind = _INVALID if error.status < 500 else _SERVER
    code = HTTP_CODES.get(error.status, "http_error")
    kept = {name: value for name, value in error.headers.items() if name == "Allow"}
    return error_response(error.status, message, kind, code, headers=kept)


def _allowed(error: web.HTTPException) -> str:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"It takes {', '.join(sorted(error.allowed_methods))}."
    return ""
