"""The body of a speech request, as OpenAI's API has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from proxy.api.errors import BadRequest
from proxy.speech.plan import DEFAULT_FORMAT, Wanted
from synth.audio.encode import CODECS, SAMPLE_RATES_HZ, format_of
from synth.engine import SAMPLE_RATE_HZ
from synth.voices import DEFAULT_VOICE, near

MAX_INPUT_CHARS = 4096
MIN_SPEED, MAX_SPEED = 0.25, 4.0

_CODEC_AND_RATE_HZ: dict[str, tuple[str, int | None]] = {
    **{codec: (codec, None) for codec in CODECS},
    **{f"{codec}_{rate_hz}": (codec, rate_hz) for codec in CODECS for rate_hz in SAMPLE_RATES_HZ},
}
"""What `response_format` may be: a codec or, for clients that can set nothing else, one with its
sample rate."""

_Name = Annotated[StrictStr, Field(max_length=256)]
"""Of a model, a voice, a format, a language. Bounded, since what is named is looked up by it."""


_MODEL_AND_RATE = re.compile(r".*@(\d{4,6})")


class SpeechRequest(BaseModel):
    """`POST /v1/audio/speech`. What it does not know, it ignores; null is as good as left out."""

    # What is not known is let through only to be counted.
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

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
    sample_rate: int | None = None
    """In Hz. None: what `response_format` says, or the model's own."""
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False)] = 1.0
    lang_code: _Name | None = None
    phrasebook: _Name | None = None
    """The phrasebook by whose lexicon words are pronounced."""
    stream_format: Literal["audio", "sse"] = "audio"
    """The bytes themselves, or events that carry them: see `proxy.api.events`."""

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
        """Of a request that was checked: see `parse`. `base_rate_hz` is what the address says, for
        a request that says nothing."""
        codec, named_rate_hz = _CODEC_AND_RATE_HZ[self.response_format]
        rate_hz = (
            self.sample_rate
            or named_rate_hz
            or self.model_rate_hz
            or base_rate_hz
            or SAMPLE_RATE_HZ
        )
        return Wanted(
            text=self.input,
            voice=self.voice,
            speed=self.speed,
            language=self.lang_code,
            format=format_of(codec, rate_hz).name,
            phrasebook=self.phrasebook,
        )


def parse(body: bytes) -> SpeechRequest:
    """Read a request's body.

    Raises:
        BadRequest: it is not JSON, or a field is missing or wrong. Names the first such field.
    """
    try:
        return _checked(SpeechRequest.model_validate_json(body))
    except pydantic.ValidationError as invalid:
        raise _explained(invalid.errors()[0]) from None


def parse_fields(fields: Mapping[str, object]) -> SpeechRequest:
    """The same of fields that did not come as JSON."""
    try:
        return _checked(SpeechRequest.model_validate(fields))
    except pydantic.ValidationError as invalid:
        raise _explained(invalid.errors()[0]) from None


def _checked(request: SpeechRequest) -> SpeechRequest:
    if not request.input.strip():
        raise BadRequest("'input' is empty: there is nothing to say.", param="input")
    _check_format(request)
    if request.model_rate_hz not in (None, *SAMPLE_RATES_HZ):
        where = "The sample rate behind @ in 'model'"
        raise no_such_rate(request.model_rate_hz, where, param="model")
    return request


def _check_format(request: SpeechRequest) -> None:
    name, rate_hz = request.response_format, request.sample_rate
    if name not in _CODEC_AND_RATE_HZ:
        raise BadRequest(
            f"There is no response_format {name[:40]!r}; "
            f"there are {', '.join(CODECS)}.{near(name[:40], _CODEC_AND_RATE_HZ)}",
            param="response_format",
        )
    if rate_hz is None:
        return
    if rate_hz not in SAMPLE_RATES_HZ:
        raise no_such_rate(rate_hz)
    _, named_rate_hz = _CODEC_AND_RATE_HZ[name]
    if named_rate_hz not in (None, rate_hz):
        raise BadRequest(
            f"'sample_rate' is {rate_hz}, but response_format is {name!r}: leave one of them out.",
            param="sample_rate",
        )


def no_such_rate(
    given: object, where: str = "'sample_rate'", param: str = "sample_rate"
) -> BadRequest:
    """`where` says to people where it was given."""
    *rates, last = map(str, SAMPLE_RATES_HZ)
    return BadRequest(
        f"{where} is {repr(given)[:40]}; it must be {', '.join(rates)} or {last}, "
        "a whole number in Hz.",
        param=param,
    )


def _explained(error: Any) -> BadRequest:
    field = str(error["loc"][0]) if error["loc"] else None
    match error["type"], field:
        case "json_invalid", _:
            return BadRequest(f"The body is not valid JSON: {error['ctx']['error']}.")
        case _, None:
            return BadRequest("The body must be a JSON object.")
        case "missing", _:
            return BadRequest(f"'{field}' is required.", param=field)
        case "string_too_short", "input":
            return BadRequest("'input' is empty: there is nothing to say.", param=field)
        case "string_too_long", "input":
            return BadRequest(
                f"'input' has {len(error['input'])} characters; {MAX_INPUT_CHARS} are allowed.",
                param=field,
                code="string_above_max_length",
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
        case _, "sample_rate":
            return no_such_rate(error["input"])
    return BadRequest(f"'{field}' is wrong: {error['msg']}.", param=field)
