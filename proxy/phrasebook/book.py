"""Phrasebooks: YAML to phrases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails

from proxy.speech.plan import Wanted
from synth.audio.encode import FORMATS
from synth.voices import parse_voice

_SUFFIXES = (".yaml", ".yml")
_PACKAGED = Path(__file__).parent / "shipped"
_IN_A_CHECKOUT = Path(__file__).parents[2] / "phrasebooks"


class PhrasebookError(Exception):
    """A phrasebook cannot be used. One line: which file, and what to mend."""


class Phrasebook(BaseModel):
    """The phrases of one file, and the voices and formats they are rendered in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    voices: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    formats: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    phrases: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]

    @pydantic.field_validator("formats")
    @classmethod
    def _known(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        for name in formats:
            if name not in FORMATS:
                raise ValueError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
        return formats

    @pydantic.field_validator("voices")
    @classmethod
    def _speakable(cls, voices: tuple[str, ...]) -> tuple[str, ...]:
        for voice in voices:
            parse_voice(voice)
        return voices

    def wanted(self) -> Iterator[Wanted]:
        """Every phrase in every voice and format. What agents say first comes first."""
        for text in self.phrases:
            for voice in self.voices:
                for format in self.formats:
                    yield Wanted(text=text, voice=voice, format=format)


def shipped_directory() -> Path:
    """Where the phrasebooks are that come with kokoro-edge."""
    return _PACKAGED if _PACKAGED.is_dir() else _IN_A_CHECKOUT


def read_all(directory: Path) -> tuple[Phrasebook, ...]:
    """Every `*.yaml` and `*.yml` in the directory, by name.

    Raises:
        PhrasebookError: the directory is not there or holds no phrasebook, or a file is none.
    """
    if not directory.is_dir():
        raise PhrasebookError(f"{directory}: is not a folder of phrasebooks")
    paths = sorted(path for path in directory.iterdir() if path.suffix in _SUFFIXES)
    if not paths:
        raise PhrasebookError(f"{directory}: holds no phrasebook (*.yaml or *.yml)")
    return tuple(read(path) for path in paths)


def read(path: Path) -> Phrasebook:
    """Raises PhrasebookError: the file cannot be read, or is not a phrasebook."""
    try:
        return Phrasebook.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise PhrasebookError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise PhrasebookError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    except pydantic.ValidationError as invalid:
        raise PhrasebookError(f"{path}: {_told(invalid.errors()[0])}") from None


def _told(error: ErrorDetails) -> str:
    """Where in the file, and what to mend."""
    match error:
        case {"loc": (str(name), int(index)), "type": "string_type", "input": given}:
            # `- No`, `- 5` and `- Note: call back` are no text to YAML.
            return (
                f"{name}: entry {index + 1} is read by YAML as {_shown(given)}, which is no text: "
                "put it in quotes"
            )
        case {"loc": ("phrases",), "type": "tuple_type"}:
            return "phrases: must be a list, one phrase a line, each after '- '"
        case {"loc": (str(name),), "type": "tuple_type", "input": str(given)}:
            return f"{name}: must be a list: write [{given}]"
        case {"type": "value_error", "ctx": {"error": reason}}:
            message = str(reason)
        case _:
            message = error["msg"]
    return f"{'.'.join(str(part) for part in error['loc']) or 'the file'}: {message}"


def _shown(value: object, limit: int = 60) -> str:
    shown = repr(value)
    return shown if len(shown) <= limit else shown[:limit] + "…"
