"""The words shared by everything that brings model weights: errors, progress, and what a source is.

Errors, all of them `WeightsError`:

- `SourceUnreachable`: the source did not answer, and another one may.
- `ConversionError`: what came is not the model that we know how to convert.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

REPOSITORY = "hexgrad/Kokoro-82M"
"""On the hub; `kokoro` asks for it wherever it makes a model or a pipeline."""

CONFIG_FILE = "config.json"
MODEL_FILE = "kokoro-v1_0.pth"
DATA_FOLDER = Path(__file__).parent / "data"


class WeightsError(Exception):
    """Weights could not be had. One line: what was wrong, where, and what to do about it."""


class SourceUnreachable(WeightsError):
    """The source did not answer, or not with the files it is known to have."""


class ConversionError(WeightsError):
    """The files hold something else than the conversion expects; the message says what."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a fetch; the same `what` is reported again while it goes on."""

    what: str
    done_bytes: int = 0
    total_bytes: int | None = None
    """None when the step cannot tell."""


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Obtained:
    """A file that a source has brought into the workspace, not yet hashed or installed."""

    name: str
    """Relative posix name, e.g. `voices/af_bella.pt`."""
    path: Path
    expected_sha256: str | None
    """Hex digest that the content must have; None where the source made the file itself."""


class Source(Protocol):
    """Somewhere that all files of the model can be had from."""

    @property
    def origin(self) -> str:
        """`hub` or `registries`: names the folder under `models/`."""

    @property
    def recipe(self) -> str:
        """What exactly is fetched and how it is made. Files of another recipe are not reused."""

    @property
    def files(self) -> tuple[str, ...]:
        """Relative names of all files of an install."""

    def obtain(self, wanted: Sequence[str], workspace: Path, report: Report) -> Iterator[Obtained]:
        """Bring exactly `wanted` into `workspace`, an empty folder that is deleted afterwards.

        Each file may be moved away before the next is asked for.

        :raises SourceUnreachable: when another source may do better.
        :raises WeightsError: when what came is not what was expected.
        """


def voice_file(name: str) -> str:
    """The relative name of a voice's file."""
    return f"voices/{name}.pt"


@functools.cache
def packaged_voice_digests() -> Mapping[str, str]:
    """Voice name to sha256 of its raw float32 file in npm `kokoro-js` 1.2.1; all 54 voices."""
    digests: dict[str, str] = json.loads((DATA_FOLDER / "voices.sha256.json").read_text("utf-8"))
    return digests


def model_files(voices: Sequence[str]) -> tuple[str, ...]:
    """Relative names of a whole install, small files first."""
    return (CONFIG_FILE, *(voice_file(name) for name in sorted(voices)), MODEL_FILE)
