"""The body of a speech request, as OpenAI's API has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from proxy.api.errors import TOO_LONG, BadRequest
from proxy.speech.plan import DEFAULT_FORMAT, Wanted
from synth.audio.codecs import SAMPLE_RATES_HZ
from synth.audio.formats import FORMATS, Format, NoSuchFormat, format_named, format_of, rates_in
from synth.voices import DEFAULT_VOICE, near

MAX_INPUT_CHARS = 4096
MIN_SPEED, MAX_SPEED = 0.25, 4.0

_EXAMPLES = {
    "sample_rate": f"Hz: {', '.join(map(str, SAMPLE_RATES_HZ[:-1]))} or {SAMPLE_RATES_HZ[-1]}",
    "bitrate_kbps": "kbit/s, such as 64",
}

_Name = Annotated[StrictStr, Field(max_length=256)]
"""Of a model, a voice, a format, a language. Bounded, since what is named is looked up by it."""


_MODEL_AND_RATE = re.compile(r".*@(\d{4,6})")


class SpeechRequest(BaseModel):
    """`POST /v1/audio/speech`. What it does not know, it ignores; null is as good as left out."""

    # What is not known is let through only to be counted.
    model_config = ConfigDict(
        frozen=True, extra="allow", strict=True, use_attribute_docstrings=True
    )

    input: Annotated[StrictStr, Field(min_length=1, max_length=MAX_INPUT_CHARS)]
    model: _Name = "kokoro"
    """Any name: there is one model. Clients that can set nothing else append a sample rate in Hz:
    `tts-1@8000`."""
    voice: _Name = DEFAULT_VOICE
    """A voice, a blend or an alias; or, as OpenAI writes voices of one's own, `{"id": "af_bella"}`.
    """
    instructions: Any = None
    """Taken, and without effect: the model has one manner of speaking."""
    response_format: _Name = DEFAULT_FORMAT
    """A codec or, for clients that can set nothing else, one with its rates: `mp3_8000_24k`."""
    sample_rate: int | None = None
    """In Hz. None: what `response_format` says, or the codec's default."""
    bitrate_kbps: int | None = None
    """None: what `response_format` says, or the codec's default."""
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False)] = 1.0
    lang_code: _Name | None = None
    phrasebook: _Name | None = None
    """The phrasebook by whose lexicon words are pronounced."""
    stream_format: Literal["audio", "sse"] = "audio"
    """`audio`: the bytes themselves; `sse`: events that carry them."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}

    @pydantic.field_validator("voice", mode="before")
    @classmethod
    def _voice_by_id(cls, voice: Any) -> Any:
        return voice["id"] if isinstance(voice, dict) and "id" in voice else voice

    @property
    def unknown_fields(self) -> tuple[str, ...]:
        """Names of the fields that were ignored."""
        return tuple(self.model_extra or ())

    @property
    def model_rate_hz(self) -> int | None:
        """What the model's name says of the sample rate."""
        match = _MODEL_AND_RATE.fullmatch(self.model)
        return int(match[1]) if match else None

    def wanted(self, base_rate_hz: int | None = None) -> Wanted:
        """Of a request that was checked: see `parse`."""
        return Wanted(
            text=self.input,
            voice=self.voice,
            speed=self.speed,
            language=self.lang_code,
            format=self.format(base_rate_hz).name,
            phrasebook=self.phrasebook,
        )

    def format(self, base_rate_hz: int | None = None) -> Format:
        """`base_rate_hz` is the sample rate in the address, for a request that says nothing of it.
        Raises `NoSuchFormat`."""
        codec, named_rate_hz, named_kbps = rates_in(self.response_format)
        rates_hz = (self.sample_rate, named_rate_hz, self.model_rate_hz, base_rate_hz)
        return format_of(
            codec,
            next((rate_hz for rate_hz in rates_hz if rate_hz is not None), None),
            named_kbps if self.bitrate_kbps is None else self.bitrate_kbps,
        )


def parse(body: bytes, base_rate_hz: int | None = None) -> SpeechRequest:
    """Read a request's body; `base_rate_hz` as for `SpeechRequest.format`.

    Raises:
        BadRequest: it is not JSON, or a field is missing or wrong. Names the first such field.
    """
    try:
        return _checked(SpeechRequest.model_validate_json(body), base_rate_hz)
    except pydantic.ValidationError as invalid:
        raise _explained(invalid.errors()[0]) from None


def parse_fields(fields: Mapping[str, object]) -> SpeechRequest:
    """The same of fields that did not come as JSON."""
    try:
        return _checked(SpeechRequest.model_validate(fields), base_rate_hz=None)
    except pydantic.ValidationError as invalid:
        raise _explained(invalid.errors()[0]) from None


def _checked(request: SpeechRequest, base_rate_hz: int | None) -> SpeechRequest:
    if not request.input.strip():
        raise BadRequest("'input' is empty: there is nothing to say.", param="input")
    _check_format(request, base_rate_hz)
    return request


def _check_format(request: SpeechRequest, base_rate_hz: int | None) -> None:
    name = request.response_format
    try:
        format_named(name)
    except NoSuchFormat as error:
        guess = near(name[:40], FORMATS) if error.field == "codec" else ""
        raise BadRequest(
            f"There is no response_format {name[:40]!r}: {error}.{guess}", param="response_format"
        ) from None
    _, rate_hz, kbps = rates_in(name)
    _refuse_contradiction(name, "sample_rate", request.sample_rate, rate_hz)
    _refuse_contradiction(name, "bitrate_kbps", request.bitrate_kbps, kbps)
    try:
        request.format(base_rate_hz)
    except NoSuchFormat as error:
        raise _explained_format(request, base_rate_hz, error) from None


def _explained_format(
    request: SpeechRequest, base_rate_hz: int | None, error: NoSuchFormat
) -> BadRequest:
    """What is wrong, and where it stands."""
    if error.field == "bitrate_kbps":
        _, _, named_kbps = rates_in(request.response_format)
        kbps = named_kbps if request.bitrate_kbps is None else request.bitrate_kbps
        return BadRequest(f"'bitrate_kbps' is {kbps}, but {error}.", error.field)
    if request.sample_rate is not None:
        return BadRequest(f"'sample_rate' is {request.sample_rate}, but {error}.", error.field)
    if request.model_rate_hz is not None:
        told = f"'model' ends with @ and a sample rate, {request.model_rate_hz}, but {error}."
        return BadRequest(told, "model")
    told = f"The address sets a sample rate, {base_rate_hz}, but {error}."
    return BadRequest(told, error.field)


def _refuse_contradiction(name: str, field: str, given: int | None, named: int | None) -> None:
    if None not in (given, named) and given != named:
        raise BadRequest(
            f"'{field}' is {given}, but response_format is {name!r}: leave one of them out.",
            param=field,
        )


def _no_whole_number(field: str, given: object) -> BadRequest:
    return BadRequest(
        f"'{field}' is {repr(given)[:40]}; it must be a whole number of {_EXAMPLES[field]}.",
        param=field,
    )


def _explained(error: Any) -> BadRequest:
    field = str(error["loc"][0]) if error["loc"] else None
    match error["type"], field:
        case "string_too_short", "input":
            return BadRequest("'input' is empty: there is nothing to say.", param=field)
        case "string_too_long", "input":
            return BadRequest(
                f"'input' has {len(error['input'])} characters; {MAX_INPUT_CHARS} are allowed.",
                param=field,
                code=TOO_LONG,
            )
        case "greater_than_equal" | "less_than_equal" | "finite_number", "speed":
            return BadRequest(
                f"'speed' is {error['input']}; it must be from {MIN_SPEED} to {MAX_SPEED}.",
                param=field,
            )
        case _, "stream_format":
            return BadRequest(
                f"'stream_format' is {repr(error['input'])[:40]}; it must be 'audio' or 'sse'.",
                param=field,
            )
        case "string_type", "voice":
            return BadRequest(
                '\'voice\' must be a name, or an object with one, as in {"id": "af_bella"}.',
                param=field,
            )
        case _, "sample_rate" | "bitrate_kbps":
            return _no_whole_number(field, error["input"])
    return explained(error)


def explained(error: Any) -> BadRequest:
    """What pydantic found wrong with a body, where there is nothing more to say of the field."""
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "json_invalid":
        return BadRequest(f"The body is not valid JSON: {error['ctx']['error']}.")
    if not field:
        return BadRequest("The body must be a JSON object.")
    if error["type"] == "missing":
        return BadRequest(f"'{field}' is required.", param=field)
    return BadRequest(f"'{field}' is wrong: {error['msg']}.", param=field)
