"""What voice platforms send that ask for speech in words of their own, at one address each.

Vapi's custom voice: https://docs.vapi.ai/customization/custom-voices/custom-tts
jambonz's custom speech vendor: https://docs.jambonz.org/guides/features/custom-tts-providers

What their requests cannot say is said in the address: `/v1/webhooks/vapi?voice=af_bella&speed=1.1`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from proxy.api.conditional import terms_of
from proxy.api.errors import BadRequest
from proxy.api.gate import VAPI_PATH
from proxy.api.patience import whole_body
from proxy.api.schema import explained, parse_fields
from proxy.api.speech import SpeechApi
from proxy.speech.plan import Planner
from synth.voices import DEFAULT_VOICE, near

JAMBONZ_PATH = "/v1/webhooks/jambonz"

VAPI_QUERY = ("voice", "speed", "lang_code", "phrasebook")
VAPI_RATES_HZ = (8_000, 16_000, 22_050, 24_000)

JAMBONZ_QUERY = ("speed", "phrasebook", "response_format", "sample_rate")
JAMBONZ_FORMATS = ("l16", "wav", "mp3")
"""Those that it plays. The first is the default: a telephone's samples, with nothing to decode."""
JAMBONZ_L16_RATES_HZ = (8_000, 16_000)
"""It hands others on by names that FreeSWITCH takes for samples of 24 or 32 bits, or not at all."""

Body = TypeVar("Body", bound=BaseModel)

_TELEPHONE_RATE_HZ = 8_000
_NUMBERS = ("speed", "sample_rate")


class VapiMessage(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    type: Literal["voice-request"]
    text: StrictStr
    sampleRate: int


class VapiRequest(BaseModel):
    """Among what it tells about the call, which is ignored."""

    model_config = ConfigDict(frozen=True, strict=True)

    message: VapiMessage


class JambonzRequest(BaseModel):
    """What it says of the call beside this is ignored."""

    model_config = ConfigDict(frozen=True, strict=True)

    text: StrictStr
    voice: StrictStr | None = None
    """None and nothing are what it sends where no voice is chosen."""
    language: Annotated[StrictStr, Field(max_length=64)] | None = None
    """A BCP 47 tag. In a language of its own, a voice keeps its accent."""
    type: Literal["text"] = "text"


class WebhooksApi:
    """Each request is put into our own words, and answered as if it had come in them."""

    def __init__(self, planner: Planner, speech: SpeechApi) -> None:
        self._planner = planner
        self._speech = speech

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post(VAPI_PATH, self.vapi)
        app.router.add_post(JAMBONZ_PATH, self.jambonz)

    async def vapi(self, request: web.Request) -> web.StreamResponse:
        """Raw 16-bit samples at exactly the rate that it names, and no header."""
        asked = (await _read(request, VapiRequest)).message
        if asked.sampleRate not in VAPI_RATES_HZ:
            raise BadRequest(
                f"'message.sampleRate' is {asked.sampleRate}; it must be one of "
                f"{', '.join(map(str, VAPI_RATES_HZ))}.",
                param="message.sampleRate",
            )
        fields = {"response_format": "pcm", "sample_rate": asked.sampleRate, "input": asked.text}
        fields |= _query(request, VAPI_QUERY)
        return await self._answer(
            request, fields, "message.text", content_type="application/octet-stream"
        )

    async def jambonz(self, request: web.Request) -> web.StreamResponse:
        """In a format by whose Content-Type jambonz knows what to do with it, and whole: it plays
        nothing before the end, and waits for ever for the rest of a reply that breaks off."""
        asked = await _read(request, JambonzRequest)
        voice = asked.voice or DEFAULT_VOICE
        fields: dict[str, object] = {"input": asked.text, "voice": voice}
        if asked.language:
            fields["lang_code"] = self._language(voice, asked.language)
        fields |= {"response_format": JAMBONZ_FORMATS[0]} | _query(request, JAMBONZ_QUERY)
        format = fields["response_format"]
        if format not in JAMBONZ_FORMATS:
            raise BadRequest(
                f"jambonz does not play {str(format)[:40]!r}; 'response_format' must be one of "
                f"{', '.join(JAMBONZ_FORMATS)}.",
                param="response_format",
            )
        rate_hz = fields.setdefault("sample_rate", _TELEPHONE_RATE_HZ)
        if format == "l16" and rate_hz not in JAMBONZ_L16_RATES_HZ:
            raise BadRequest(
                f"jambonz plays no l16 at {str(rate_hz)[:40]} Hz; 'sample_rate' must be one of "
                f"{', '.join(map(str, JAMBONZ_L16_RATES_HZ))}.",
                param="sample_rate",
            )
        return await self._answer(request, fields, "text", whole=True)

    def _language(self, voice: str, tag: str) -> str | None:
        """A caller of jambonz must name a language: where it is the voice's own, in whatever
        country, the voice decides. None: its own."""
        own = self._planner.voice(voice).language
        same = _primary(tag) == _primary(own.tag)
        return None if same else tag

    async def _answer(
        self,
        request: web.Request,
        fields: dict[str, object],
        text_field: str,
        content_type: str | None = None,
        whole: bool = False,
    ) -> web.StreamResponse:
        """`text_field` is where their request has the text."""
        began_s = time.perf_counter()
        terms = terms_of(request.headers.getall("Cache-Control", ()))
        try:
            wanted = parse_fields(fields)
        except BadRequest as error:
            if error.param != "input":
                raise
            # By the name that they know it by.
            told = str(error).replace("'input'", f"'{text_field}'")
            raise BadRequest(told, text_field, error.code) from None
        asked = self._speech.ask(wanted, content_type=content_type)
        return await self._speech.answer(request, asked, terms, began_s, whole)


def _primary(tag: str) -> str:
    """The language itself, without a country."""
    return tag.strip().lower().replace("_", "-").partition("-")[0]


async def _read(request: web.Request, kind: type[Body]) -> Body:
    try:
        return kind.model_validate_json(await whole_body(request))
    except pydantic.ValidationError as invalid:
        raise _explained(invalid.errors()[0]) from None


def _explained(error: Any) -> BadRequest:
    if error["loc"] == ("type",) and error["input"] == "ssml":
        return BadRequest(
            "'type' is 'ssml', which is not understood: send plain text.", param="type"
        )
    return explained(error)


def _query(request: web.Request, known: Iterable[str]) -> dict[str, object]:
    """The fields that the address sets. Somebody wrote it by hand, so a mistake in it is told."""
    fields: dict[str, object] = {}
    for name, value in request.query.items():
        if name not in known:
            raise BadRequest(
                f"The address sets {name[:40]!r}, which is none of {', '.join(known)}."
                f"{near(name[:40], known)}",
                param=name[:40],
            )
        if name in fields:
            raise BadRequest(f"The address sets {name!r} twice.", param=name)
        fields[name] = _number(value) if name in _NUMBERS else value
    return fields


def _number(value: str) -> object:
    """Left as it is where it is none: whoever checks the field says so."""
    try:
        number = json.loads(value)
    except ValueError:
        return value
    return number if isinstance(number, int | float) else value
