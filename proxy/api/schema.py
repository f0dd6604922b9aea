"""The body of a speech request, as OpenAI's API has it."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from proxy.api.errors import BadRequest
from proxy.speech.plan import DEFAULT_FORMAT, Wanted
from synth.audio.encode import FORMATS
from synth.voices import DEFAULT_VOICE, near

MAX_INPUT_CHARS = 4096
MIN_SPEED, MAX_SPEED = 0.25, 4.0

_Name = Annotated[StrictStr, Field(max_length=256)]
"""Of a model, a voice, a format, a language. Bounded, since what is named is looked up by it."""


class SpeechRequest(BaseModel):
    """`POST /v1/audio/speech`. What it does not know, it ignores; null is as good as left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    input: Annotated[StrictStr, Field(min_length=1, max_length=MAX_INPUT_CHARS)]
    model: _Name = "kokoro"
    """Any name: there is one model."""
    voice: _Name = DEFAULT_VOICE
    response_format: _Name = DEFAULT_FORMAT
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False)] = 1.0
    lang_code: _Name | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}

    def wanted(self) -> Wanted:
        return Wanted(
            text=self.input,
            voice=self.voice,
            speed=self.speed,
            language=self.lang_code,
            format=self.response_format,
        )


def parse(body: bytes) -> SpeechRequest:
    """Read a request's body.

    Raises:
        BadRequest: it is not JSON, or a field is missing or wrong. Names the first such field.
    """
    try:
        request = SpeechRequest.model_validate_json(body)
    except pydantic.ValidationError as invalid:
        raise _explained(invalid.errors()[0]) from None
    if not request.input.strip():
        raise BadRequest("'input' is empty: there is nothing to say.", param="input")
    if request.response_format not in FORMATS:
        raise BadRequest(
            f"There is no response_format {request.response_format[:40]!r}; "
            f"there are {', '.join(FORMATS)}.{near(request.response_format[:40], FORMATS)}",
            param="response_format",
        )
    return request


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
    return BadRequest(f"'{field}' is wrong: {error['msg']}.", param=field)
