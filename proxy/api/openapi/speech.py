"""What is asked for to be heard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, create_model

from proxy.api import events
from proxy.api.answer import CLIPS_PATH
from proxy.api.gate import SIGNED_CLIPS, VAPI_PATH
from proxy.api.openapi import JsonObject
from proxy.api.openapi.operation import Access, Answer, Body, Operation
from proxy.api.openapi.parameters import RATE_LIMIT
from proxy.api.openapi.refusals import SPOKEN
from proxy.api.schema import SpeechRequest
from proxy.api.webhooks import (
    JAMBONZ_PATH,
    JAMBONZ_QUERY,
    VAPI_QUERY,
    JambonzRequest,
    VapiRequest,
)
from synth.audio.formats import FORMATS

_AUDIO = tuple(sorted({it.content_type.partition(";")[0] for it in FORMATS.values()}))

_CLIP_TYPES = (*_AUDIO, "audio/ulaw")
"""Twilio has a name of its own for one of them."""

_EXAMPLES: Mapping[str, JsonObject] = {
    "plain": {"model": "kokoro", "voice": "af_bella", "input": "Thank you for calling."},
    "blend": {"input": "How can I help?", "voice": "af_bella(2)+af_sky(1)", "speed": 1.1},
    "telephone": {"input": "One moment, please.", "response_format": "wav", "sample_rate": 8000},
    "events": {"input": "Got it.", "response_format": "pcm", "stream_format": "sse"},
}
_VAPI_EXAMPLE: JsonObject = {
    "message": {"type": "voice-request", "text": "How can I help?", "sampleRate": 24000}
}
_JAMBONZ_EXAMPLE: JsonObject = {
    "type": "text",
    "text": "How can I help?",
    "voice": "af_bella",
    "language": "en-US",
}

_REPLY_HEADERS = ("ETag", "Age", "X-Accel-Buffering")
_SPOKEN_HEADERS = (
    *_REPLY_HEADERS,
    *RATE_LIMIT,
    *("Content-Location", "X-Voice", "X-Generation-Time", "X-Encode-Time", "X-Total-Time"),
)
_CLIP_HEADERS = (*_REPLY_HEADERS, "Cache-Control", "Accept-Ranges")
_CONDITIONS = ("if_match", "if_none_match")


def _speech(id: str, parameters: tuple[str, ...] = ()) -> Operation:
    return Operation(
        id,
        "Speak a text",
        {
            200: Answer(
                "The reply: whole, with its length, or as it is made; or events that carry it. If "
                "that fails, the connection is aborted; a reply that ends cleanly is whole.",
                media_types=(*_AUDIO, events.CONTENT_TYPE),
                headers=_SPOKEN_HEADERS,
            )
        },
        (*SPOKEN, 412, *((404,) if parameters else ())),
        parameters=(*parameters, "request_id", "cache_control", *_CONDITIONS),
        body=Body(SpeechRequest, examples=_EXAMPLES),
        access=Access.CALLER,
    )


def _clip(id: str, summary: str, signed: bool = False) -> Operation:
    return Operation(
        id,
        summary,
        {
            200: Answer("All of it.", media_types=_CLIP_TYPES, headers=_CLIP_HEADERS),
            206: Answer(
                "The range that was asked for.",
                media_types=_CLIP_TYPES,
                headers=(*_CLIP_HEADERS, "Content-Range"),
            ),
            304: Answer("These bytes are here already.", media_types=(), headers=_CLIP_HEADERS),
        },
        (*((403,) if signed else ()), 404, 412, 416, 502, 503),
        parameters=(
            *(("signature",) if signed else ()),
            *("clip_id", "clip_ext", "request_id", *_CONDITIONS, "range", "if_range"),
        ),
        access=Access.ANYBODY if signed else Access.CALLER,
    )


def _webhook(
    id: str,
    who: str,
    query: type[BaseModel],
    body: Body,
    media_types: tuple[str, ...],
    access: Access,
) -> Operation:
    return Operation(
        id,
        f"Speak a text for {who}",
        {200: Answer("The reply.", media_types=media_types, headers=_SPOKEN_HEADERS)},
        (*SPOKEN, 412),
        tag="webhooks",
        parameters=("request_id", "cache_control", *_CONDITIONS),
        query=query,
        body=body,
        access=access,
    )


def _query(name: str, fields: Iterable[str]) -> type[BaseModel]:
    """Fields of a speech request that the address may set."""
    known = SpeechRequest.model_fields
    picked: dict[str, Any] = {field: (known[field].annotation, known[field]) for field in fields}
    return create_model(name, **picked)


SPEECH: Mapping[tuple[str, str], Operation] = {
    ("POST", "/v1/audio/speech"): _speech("createSpeech"),
    ("POST", "/v1/rate/{base_rate_hz}/audio/speech"): _speech("createSpeechAtRate", ("base_rate",)),
    ("GET", f"{CLIPS_PATH}/{{id}}.{{ext}}"): _clip("getClip", "Fetch a reply again"),
    ("HEAD", f"{CLIPS_PATH}/{{id}}.{{ext}}"): _clip("headClip", "Ask about a reply"),
    ("GET", SIGNED_CLIPS): _clip(
        "getSignedClip", "Fetch a reply again, without a key", signed=True
    ),
    ("HEAD", SIGNED_CLIPS): _clip(
        "headSignedClip", "Ask about a reply, without a key", signed=True
    ),
    ("POST", VAPI_PATH): _webhook(
        "speakForVapi",
        "Vapi, as raw samples",
        _query("VapiQuery", VAPI_QUERY),
        Body(VapiRequest, examples={"request": _VAPI_EXAMPLE}),
        ("application/octet-stream",),
        Access.VAPI,
    ),
    ("POST", JAMBONZ_PATH): _webhook(
        "speakForJambonz",
        "jambonz, whole",
        _query("JambonzQuery", JAMBONZ_QUERY),
        Body(JambonzRequest, examples={"request": _JAMBONZ_EXAMPLE}),
        ("audio/l16", "audio/mpeg", "audio/wav"),
        Access.CALLER,
    ),
}
