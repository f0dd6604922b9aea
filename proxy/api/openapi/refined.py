"""What requests may be, where that is more, or less, than the types of their fields say."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.api.openapi import JsonObject
from proxy.api.schema import MAX_INPUT_CHARS
from proxy.api.webhooks import JAMBONZ_FORMATS, VAPI_RATES_HZ
from synth.audio.codecs import CODECS, SAMPLE_RATES_HZ

_TEXT: JsonObject = {"minLength": 1, "maxLength": MAX_INPUT_CHARS, "pattern": r"\S"}

_RATE: JsonObject = {"enum": list(SAMPLE_RATES_HZ)}

_FORMAT: JsonObject = {
    "pattern": (
        f"^({'|'.join(CODECS)})(_({'|'.join(map(str, SAMPLE_RATES_HZ))}))?(_[1-9][0-9]{{0,3}}k)?$"
    )
}

_ALL_KBPS = [
    kbps for codec in CODECS.values() for each in codec.bitrates_kbps.values() for kbps in each
]

_NARROWER: Mapping[str, Mapping[str, JsonObject]] = {
    "SpeechRequest": {
        "input": _TEXT,
        "response_format": _FORMAT,
        "sample_rate": _RATE,
        "bitrate_kbps": {"minimum": min(_ALL_KBPS), "maximum": max(_ALL_KBPS)},
    },
    "VapiMessage": {"text": _TEXT, "sampleRate": {"enum": list(VAPI_RATES_HZ)}},
    "JambonzRequest": {"text": _TEXT},
    "JambonzQuery": {
        "response_format": {"enum": list(JAMBONZ_FORMATS)},
        "sample_rate": _RATE,
    },
}
"""By the name of the type and of its field."""

_VOICE_BY_ID: JsonObject = {
    "type": "object",
    "properties": {"id": {"type": "string", "maxLength": 256}},
    "required": ["id"],
}

_WIDER: Mapping[str, Mapping[str, JsonObject]] = {"SpeechRequest": {"voice": _VOICE_BY_ID}}

_NULL_IS_NOTHING = ("SpeechRequest",)
"""Null is as good as left out, in every field that may be."""


def refined(name: str, schema: JsonObject) -> JsonObject:
    """`schema` is pydantic's of the type of this name."""
    if "properties" not in schema:
        return schema
    nullable = set(schema["properties"]) - set(schema.get("required", ()))
    if name not in _NULL_IS_NOTHING:
        nullable = set()
    properties = {
        field: _refined_field(name, field, described, field in nullable)
        for field, described in schema["properties"].items()
    }
    return {**schema, "properties": properties}


def _refined_field(name: str, field: str, schema: JsonObject, nullable: bool) -> JsonObject:
    narrower = _NARROWER.get(name, {}).get(field, {})
    wider = _WIDER.get(name, {}).get(field)
    if not (narrower or wider or nullable):
        return schema
    told = {key: schema[key] for key in ("description", "default") if key in schema}
    plain = {key: value for key, value in schema.items() if key not in ("title", *told)}
    first, *others = plain.pop("anyOf", [plain])
    kinds = [{**first, **narrower}, *others]
    if wider is not None:
        kinds.append(wider)
    if nullable and {"type": "null"} not in kinds:
        kinds.append({"type": "null"})
    return {**told, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})}
