"""Phrasebooks: YAML to phrases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from proxy.speech.plan import Wanted
from synth.audio.encode import FORMATS

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
    """Every `*.yaml` in the directory, by name.

    Raises:
        PhrasebookError: the directory is not there, or a file is not a phrasebook.
    """
    if not directory.is_dir():
        raise PhrasebookError(f"{directory}: is not a folder of phrasebooks")
    return tuple(read(path) for path in sorted(directory.glob("*.yaml")))


def read(path: Path) -> Phrasebook:
    """Raises PhrasebookError: the file cannot be read, or is not a phrasebook."""
    try:
        return Phrasebook.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise PhrasebookError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise PhrasebookError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    except pydantic.ValidationError as invalid:
        first = invalid.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise PhrasebookError(f"{path}: {where}: {first['msg']}") from None
