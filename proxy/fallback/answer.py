"""A provider's answer over HTTP: its bytes, or why there are none."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aiohttp
from aiohttp.helpers import parse_mimetype

from proxy import __version__
from proxy.fallback.request import CannotAsk, Request
from proxy.speech.elsewhere import NotSpoken

_ABOUT_THE_REQUEST = frozenset({400, 404, 413, 415, 422})
"""Refusals that say nothing of the next request: of the text, the voice or the model."""

_MOST_OF_AN_ERROR_BYTES = 4096
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_NO_SAMPLES = re.compile(r"text/|application/json|audio/(mpeg|mp3|(x-)?wav|wave|ogg|opus|flac|aac)")


def open_session() -> aiohttp.ClientSession:
    """For all providers. Cookies are not kept, and nothing is taken from the environment."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"kokoro-edge/{__version__}"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None),
    )


async def read_answer(
    session: aiohttp.ClientSession, request: Request, timeout_s: float, stall_s: float
) -> AsyncGenerator[bytes]:
    """The bytes of the answer as they come: the first within `timeout_s` of asking, each other
    within `stall_s` of the one before.

    Raises:
        NotSpoken: there was no answer, another than samples, or not all of it.
    """
    try:
        async with aclosing(_pieces(session, request)) as pieces:
            patience_s, late = timeout_s, f"no audio within {timeout_s:g} s"
            while True:
                # Around one step, not around the `yield`: the next one may be another task's.
                async with asyncio.timeout(patience_s):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece
                patience_s, late = stall_s, f"nothing more for {stall_s:g} s"
    except TimeoutError:
        raise NotSpoken(late) from None
    except aiohttp.ClientPayloadError:
        raise NotSpoken("the connection broke before the end") from None
    except (aiohttp.ClientError, OSError) as problem:
        # By its kind alone: the message of some has the address with all that is in it.
        raise NotSpoken(f"cannot be reached ({type(problem).__name__})") from None


async def _pieces(session: aiohttp.ClientSession, request: Request) -> AsyncGenerator[bytes]:
    async with session.post(
        request.url,
        json=request.body,
        headers=request.headers,
        allow_redirects=False,  # A key is for the server that was named, and no other.
    ) as answer:
        if answer.status != 200:
            raise await _refusal(answer)
        _check_type(answer)
        async for piece in answer.content.iter_any():
            if piece:
                yield piece


def _check_type(answer: aiohttp.ClientResponse) -> None:
    if _NO_SAMPLES.match(answer.content_type):
        raise NotSpoken(f"answered with {answer.content_type} instead of raw samples")
    told = parse_mimetype(answer.headers.get("Content-Type", "")).parameters
    if told.get("rate", "24000") != "24000":
        raise NotSpoken("answered with another sample rate than 24 kHz")
    if told.get("channels", "1") != "1":
        raise NotSpoken("answered with more than one channel")


async def _refusal(answer: aiohttp.ClientResponse) -> NotSpoken:
    code = _code_in(await answer.content.read(_MOST_OF_AN_ERROR_BYTES))
    said = f"answered {answer.status}" + (f" ({code})" if code else "")
    return CannotAsk(said) if answer.status in _ABOUT_THE_REQUEST else NotSpoken(said)


def _code_in(body: bytes) -> str | None:
    """What an error is called. Never its message, which may quote the text."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    inner = next((told[name] for name in ("error", "detail") if name in told), None)
    for holder in (inner, told):
        if isinstance(holder, dict):
            for name in ("code", "error_code", "status", "type"):
                code = holder.get(name)
                if isinstance(code, str) and _CODE.fullmatch(code):
                    return code
    return None
