"""Speech from kokoro-edge, for backends.

    async with KokoroTTSService("http://127.0.0.1:8000/v1") as speech:
        audio = await speech.generate_audio("Your table is booked.", voice="bf_emma")

Whatever goes wrong is a KokoroError:

    KokoroError
    ├── BadRequest      400 and other 4xx: asked again in the same words, it is refused again
    ├── NotAuthorized   401, 403: the key is missing, wrong, or not for this
    ├── RateLimited     429: more than the key may ask for
    ├── Unavailable     503, 409: not now
    ├── ServerFailed    any other answer that is no speech
    ├── TimedOut        no audio in time; 408
    ├── Unreachable     there is no connection
    └── BrokenOff       the connection ended before the reply did

Importing this loads httpx and pydantic, and neither the server nor the engine.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import random
import re
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC
from types import TracebackType
from typing import Annotated, Any, Self, TypeVar

import httpx
import pydantic
from pydantic import BaseModel, ConfigDict, Field

from proxy import __version__

T = TypeVar("T")


class KokoroError(Exception):
    """There is no speech, or not all of it. The message is for people."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP; None where there was no answer."""
        self.code = code
        """The server's name for what was wrong, such as `voice_not_found`."""
        self.param = param
        """The field that was wrong."""
        self.request_id = request_id
        """Finds the request in the server's log."""
        self.retry_after_s = retry_after_s
        """How long the server asks to be left alone; None where it did not say."""


class BadRequest(KokoroError):
    """Something is wrong with what was asked for. Without a status it was not sent at all."""


class NotAuthorized(KokoroError):
    """The key is missing, wrong, or not for this."""


class RateLimited(KokoroError):
    """More was asked for than the key allows."""


class Unavailable(KokoroError):
    """Not now: the engine is loading, or has more to do than it can in good time."""


class ServerFailed(KokoroError):
    """The server failed, or something else than kokoro-edge answered."""


class TimedOut(KokoroError):
    """It took longer than `Timeouts` allows."""


class Unreachable(KokoroError):
    """There is no connection to the server."""


class BrokenOff(KokoroError):
    """The connection ended before the reply did: what was heard of it is not the whole."""


_OF_HTTPX: tuple[tuple[type[httpx.HTTPError], type[KokoroError]], ...] = (
    (httpx.ConnectTimeout, Unreachable),
    (httpx.TimeoutException, TimedOut),
    (httpx.ConnectError, Unreachable),
    (httpx.ProxyError, Unreachable),
    (httpx.UnsupportedProtocol, Unreachable),
    (httpx.LocalProtocolError, Unreachable),
    (httpx.HTTPError, BrokenOff),
)
"""The first that fits."""

_OF_STATUS = {
    **{401: NotAuthorized, 403: NotAuthorized, 429: RateLimited},
    **{408: TimedOut, 409: Unavailable, 503: Unavailable},
}

_RETRIED = (Unreachable, BrokenOff, RateLimited, Unavailable)
_NEVER_RETRIED_STATUSES = (501, 505)
_NOT_CACHED = "not_cached"

_CODECS = (
    "mp3",
    "opus",
    "aac",
    "flac",
    "wav",
    "pcm",
    "ulaw",
    "alaw",
    "wav_ulaw",
    "wav_alaw",
    "l16",
)
_RATES = r"(?:_(?P<rate>[1-9]\d{3,5}))?(?:_[1-9]\d{0,2}k)?"
_RESPONSE_FORMAT = rf"^(?:{'|'.join(_CODECS)}){_RATES}$"
_VOICE = r"[^()+\s]+(?:\s*\(\s*\d{1,9}(?:\.\d{1,4})?\s*\))?"
_VOICES = rf"^\s*{_VOICE}(?:\s*\+\s*{_VOICE})*\s*$"

_ERROR_BYTES = 64 * 1024
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 8.0


class KokoroSettings(BaseModel):
    """How an agent speaks: what a platform stores with it, as JSON.

    Which voices, phrasebooks and rates there are is the server's to say. Here only that is checked
    which is wrong with any server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    voice: Annotated[str, Field(max_length=256, pattern=_VOICES)] = "af_bella"
    """A name, or a blend: `af_bella(2)+af_sky(1)`."""
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    response_format: Annotated[str, Field(pattern=_RESPONSE_FORMAT)] = "mp3"
    """A codec, or one with its rates, such as `pcm_8000` and `mp3_8000_24k`."""
    sample_rate: Annotated[int, Field(gt=0)] | None = None
    """In Hz. None: what `response_format` says, or the codec's own."""
    bitrate_kbps: Annotated[int, Field(gt=0)] | None = None
    """None: the codec's own."""
    lang_code: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """None: the language of the voice."""
    phrasebook: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The phrasebook by whose lexicon words are pronounced."""

    @pydantic.model_validator(mode="after")
    def _has_one_rate(self) -> Self:
        match = re.match(_RESPONSE_FORMAT, self.response_format)
        named = match and match["rate"]
        if named and self.sample_rate not in (None, int(named)):
            raise ValueError(
                f"sample_rate is {self.sample_rate}, but response_format is "
                f"{self.response_format!r}: leave one of them out"
            )
        return self


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long is waited for what."""

    connect_s: float = 2.0
    """For a connection."""
    first_audio_s: float = 10.0
    """For the first byte of audio, connecting included; of every try."""
    stall_s: float = 10.0
    """For every further one."""
    total_s: float | None = None
    """For all of it: tries, the waits between them and, of a stream, the time its reader takes."""

    def __post_init__(self) -> None:
        for limit_s in (self.connect_s, self.first_audio_s, self.stall_s, self.total_s):
            if limit_s is not None and not 0 < limit_s < math.inf:
                raise ValueError(f"a timeout is {limit_s}; it must be above 0, in seconds")


class KokoroTTSService:
    """A client of one server, for as many replies at a time as one likes. Close it at the end:
    `async with`, or `aclose`."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        settings: KokoroSettings | None = None,
        timeouts: Timeouts | None = None,
        max_retries: int = 2,
        http_client: httpx.AsyncClient | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            base_url: as OpenAI's clients take it: `http://127.0.0.1:8000/v1`.
            settings: for calls that bring none of their own.
            max_retries: how often a reply that has not begun is asked for again, where that may
                help. Once audio was handed out it is never asked for again.
            http_client: with proxies or certificates of your own. It is not closed with this.
            sleep: these three are the world's, and for tests to replace.
            jitter: from 0 up to 1.
            now_s: in seconds since 1970.

        Raises:
            ValueError: the address is none, or the key holds what no header can.
        """
        self._url = _speech_url(base_url)
        self._settings = settings or KokoroSettings()
        self._timeouts = timeouts or Timeouts()
        self._max_retries = max_retries
        self._client = http_client or httpx.AsyncClient(
            # Calls are many, and agents are silent for a while between two replies.
            limits=httpx.Limits(max_connections=None, keepalive_expiry=60.0)
        )
        self._owns_client = http_client is None
        self._headers = {
            "Content-Type": "application/json",
            # Audio gains nothing, and a stream would be held back.
            "Accept-Encoding": "identity",
            "User-Agent": f"kokoro-edge-client/{__version__}",
        }
        if api_key is not None:
            if not (api_key.isascii() and api_key.isprintable()):
                raise ValueError("the api_key holds characters that no header can")
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._sleep, self._jitter, self._now_s = sleep, jitter, now_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; those of a `http_client` that was given are its owner's."""
        if self._owns_client:
            await self._client.aclose()

    async def generate_audio(
        self,
        text: str,
        voice: str | None = None,
        speed: float | None = None,
        response_format: str | None = None,
        *,
        settings: KokoroSettings | None = None,
    ) -> bytes:
        """The whole reply. What is given here beats `settings`, which beat the service's own.

        Raises:
            KokoroError: see the tree above. A reply that is not whole is never returned.
        """
        stream = self.stream_audio(text, voice, speed, response_format, settings=settings)
        async with aclosing(stream) as audio:
            return b"".join([chunk async for chunk in audio])

    async def stream_audio(
        self,
        text: str,
        voice: str | None = None,
        speed: float | None = None,
        response_format: str | None = None,
        *,
        settings: KokoroSettings | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The reply as it comes, in pieces of any size but 0. Who may stop before its end wraps it
        in `contextlib.aclosing`, which hangs up: the server then makes no more of it.

        Raises:
            KokoroError: as `generate_audio`; BrokenOff and TimedOut after any number of pieces.
        """
        given = {"voice": voice, "speed": speed, "response_format": response_format}
        body = _body(text, settings or self._settings, given)
        request_id = uuid.uuid4().hex
        clock_s = asyncio.get_running_loop().time
        total_s = self._timeouts.total_s
        deadline_s = math.inf if total_s is None else clock_s() + total_s
        tried, begun = 0, False
        while True:
            try:
                async with aclosing(self._ask(body, request_id, deadline_s)) as audio:
                    async for chunk in audio:
                        begun = True
                        yield chunk
                return
            except KokoroError as error:
                wait_s = self._wait_s(error, tried)
                if begun or wait_s is None or clock_s() + wait_s >= deadline_s:
                    raise
            tried += 1
            await self._sleep(wait_s)

    async def _ask(
        self, body: bytes, request_id: str, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        """One try. `deadline_s` is by the loop's clock."""
        clock_s, limits = asyncio.get_running_loop().time, self._timeouts
        by_s = min(deadline_s, clock_s() + limits.first_audio_s)
        request = self._client.build_request(
            *("POST", self._url),
            content=body,
            headers={**self._headers, "X-Request-Id": request_id},
            # Reading has limits of ours, which a trickle does not draw out.
            timeout=httpx.Timeout(None, connect=limits.connect_s, pool=limits.connect_s),
        )
        response = await _in_time(self._client.send(request, stream=True), by_s, request_id)
        try:
            if not _is_speech(response):
                raise await self._refusal(response, by_s, request_id)
            size_bytes = 0
            chunks = response.aiter_raw()
            while (chunk := await _in_time(anext(chunks, None), by_s, request_id)) is not None:
                size_bytes += len(chunk)
                yield chunk
                by_s = min(deadline_s, clock_s() + limits.stall_s)
            promised = response.headers.get("Content-Length", size_bytes)
            if size_bytes == 0 or int(promised) != size_bytes:
                raise BrokenOff(
                    f"the reply ended after {size_bytes} bytes", status=200, request_id=request_id
                )
        finally:
            await response.aclose()

    def _wait_s(self, error: KokoroError, tried: int) -> float | None:
        """How long to wait before the next try; None: there is to be none.

        A server that wants to be left alone for longer than a caller would wait is believed, and so
        not asked again."""
        if tried >= self._max_retries or not _may_pass(error):
            return None
        if error.retry_after_s is None:
            wait_s = min(_LONGEST_WAIT_S, math.ldexp(_FIRST_WAIT_S, tried))
            return wait_s * (1 - self._jitter() / 2)
        return error.retry_after_s if error.retry_after_s <= _LONGEST_WAIT_S else None

    async def _refusal(self, response: httpx.Response, by_s: float, request_id: str) -> KokoroError:
        """What an answer that is no speech says."""
        status, told = response.status_code, b""
        try:
            chunks = response.aiter_raw()
            while len(told) < _ERROR_BYTES:
                chunk = await _in_time(anext(chunks, None), by_s, request_id)
                if chunk is None:
                    break
                told += chunk
        except (BrokenOff, TimedOut):
            pass  # The status says enough.
        error = _error_in(told)
        kind = BadRequest if 400 <= status < 500 else ServerFailed
        return _OF_STATUS.get(status, kind)(
            _text(error.get("message")) or f"{self._url} answered {status}, and no speech",
            status=status,
            code=_text(error.get("code")),
            param=_text(error.get("param")),
            request_id=response.headers.get("X-Request-Id", request_id),
            retry_after_s=_retry_after_s(response.headers, self._now_s()),
        )


def _speech_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.rstrip("/") + "/audio/speech")
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is no address of a server: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{base_url!r} is no address: write it as in http://127.0.0.1:8000/v1")
    return url


def _body(text: str, settings: KokoroSettings, given: dict[str, Any]) -> bytes:
    """Raises BadRequest: what was given is wrong."""
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        # Not `model_copy`, which checks nothing.
        settings = KokoroSettings.model_validate({**settings.model_dump(), **chosen})
    except pydantic.ValidationError as invalid:
        wrong = invalid.errors()[0]
        param = str(wrong["loc"][0]) if wrong["loc"] else None
        raise BadRequest(f"{param or 'settings'}: {wrong['msg']}", param=param) from None
    # In ASCII: half of a surrogate pair is the server's to refuse.
    fields = settings.model_dump(exclude_none=True)
    return json.dumps({"model": "kokoro", "input": text, **fields}).encode()


async def _in_time(awaited: Awaitable[T], by_s: float, request_id: str) -> T:
    """The one place where httpx's errors become ours. `by_s` is by the loop's clock."""
    try:
        async with asyncio.timeout_at(by_s):
            return await awaited
    except TimeoutError:
        raise TimedOut("the server did not send in time", request_id=request_id) from None
    except httpx.HTTPError as error:
        kind = next(ours for theirs, ours in _OF_HTTPX if isinstance(error, theirs))
        raise kind(str(error) or type(error).__name__, request_id=request_id) from error


def _is_speech(response: httpx.Response) -> bool:
    kind: str = response.headers.get("Content-Type", "")
    return response.status_code == 200 and kind.lower().startswith("audio/")


def _may_pass(error: KokoroError) -> bool:
    """Whether the same request may fare better in a moment. A reply that was not begun in time is
    not waited for as long again: whoever has another provider asks that one now."""
    if error.status is not None and error.status >= 500:
        return error.status not in _NEVER_RETRIED_STATUSES and error.code != _NOT_CACHED
    return isinstance(error, _RETRIED) or error.status == httpx.codes.REQUEST_TIMEOUT


def _error_in(told: bytes) -> dict[Any, object]:
    """OpenAI's error object; empty where that is none."""
    try:
        match json.loads(told):
            case {"error": {**error}}:
                return error
    except ValueError:
        pass
    return {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _retry_after_s(headers: httpx.Headers, now_s: float) -> float | None:
    """`retry-after-ms`, as OpenAI has it, or Retry-After (RFC 9110, 10.2.3); None: neither says."""
    milliseconds, seconds = headers.get("retry-after-ms"), headers.get("Retry-After")
    for value, unit_s in ((milliseconds, 0.001), (seconds, 1.0)):
        try:
            wait_s = float(value) * unit_s
        except (TypeError, ValueError):
            continue
        if math.isfinite(wait_s):
            return max(0.0, wait_s)
    try:
        date = email.utils.parsedate_to_datetime(seconds or "")
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None
