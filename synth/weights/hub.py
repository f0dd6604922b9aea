"""Weights from the Hugging Face hub, at one pinned revision, every file checked by digest.

`HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and the rest of huggingface_hub's environment apply.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from synth.weights.sources import (
    CONFIG_FILE,
    MODEL_FILE,
    REPOSITORY,
    Obtained,
    Progress,
    Report,
    SourceUnreachable,
    WeightsError,
    model_files,
    packaged_voice_digests,
)

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

REVISION = "f3ff3571791e39611d31c381e3a41a3af07b4987"
PINNED_SHA256: Mapping[str, str] = {
    CONFIG_FILE: "5abb01e2403b072bf03d04fde160443e209d7a0dad49a423be15196b9b43c17f",
    MODEL_FILE: "496dba118d1a58f5f3db2efc88dbdc216e0483fc89fe6e47ee1f2c53f18ad1e4",
}

_TICK_S = 0.25

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hub:
    """The Hugging Face hub as a `Source`. The fields are what a test replaces."""

    endpoint: str | None = None
    """Base URL; None means huggingface_hub's own choice, `HF_ENDPOINT` included."""
    pinned_sha256: Mapping[str, str] = field(default_factory=lambda: PINNED_SHA256)
    voices: tuple[str, ...] = field(default_factory=lambda: tuple(packaged_voice_digests()))
    answer_deadline_s: float = 15.0
    """How long the hub may take to list the files."""
    stall_deadline_s: float = 60.0
    """How long a download may go without a new byte."""

    @property
    def origin(self) -> str:
        return "hub"

    @property
    def recipe(self) -> str:
        return f"{REPOSITORY} {REVISION}"

    @property
    def files(self) -> tuple[str, ...]:
        return model_files(self.voices)

    def obtain(self, wanted: Sequence[str], workspace: Path, report: Report) -> Iterator[Obtained]:
        """See `Source.obtain`."""
        report(Progress(f"asking the hub for {REPOSITORY}"))
        listed = self._listing(wanted)
        expected = {name: self._expected_sha256(name, listed) for name in wanted}
        for name in wanted:
            path = self._download(name, listed[name].size, workspace, report)
            yield Obtained(name, path, expected[name])

    def _listing(self, names: Sequence[str]) -> dict[str, RepoFile]:
        """What the hub says about the files: their sizes and, for large ones, digests."""
        from huggingface_hub import HfApi, RepoFile

        api = HfApi(endpoint=self.endpoint)
        found = _answer(
            lambda: api.get_paths_info(REPOSITORY, list(names), revision=REVISION),
            self.answer_deadline_s,
            lambda: 0,
        )
        listed = {file.path: file for file in found if isinstance(file, RepoFile)}
        if missing := [name for name in names if name not in listed]:
            raise SourceUnreachable(f"the hub's {REPOSITORY} lacks {', '.join(missing[:3])}")
        return listed

    def _expected_sha256(self, name: str, listed: Mapping[str, RepoFile]) -> str:
        if name in self.pinned_sha256:
            return self.pinned_sha256[name]
        lfs = listed[name].lfs
        if lfs is None:
            raise WeightsError(f"the hub publishes no sha256 for {name}: use another source")
        return lfs.sha256

    def _download(self, name: str, size_bytes: int, workspace: Path, report: Report) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

        if not are_progress_bars_disabled():
            disable_progress_bars()  # Whoever asked draws one; two would fight for the line.

        before = _bytes_under(workspace)

        def done_bytes() -> int:
            done = max(0, min(_bytes_under(workspace) - before, size_bytes))
            report(Progress(name, done, size_bytes))
            return done

        path = _answer(
            lambda: hf_hub_download(
                REPOSITORY,
                name,
                revision=REVISION,
                local_dir=workspace,
                endpoint=self.endpoint,
            ),
            self.stall_deadline_s,
            done_bytes,
        )
        report(Progress(name, size_bytes, size_bytes))
        return Path(path)


def _answer(ask: Callable[[], T], patience_s: float, progress: Callable[[], int]) -> T:
    """The result of `ask`, given up when `progress()` has not changed for `patience_s`.

    A thread, because huggingface_hub's retries add up to minutes and cannot all be configured.
    One that was given up ends with its own timeouts, or with the process.

    :raises SourceUnreachable: when it fails or is given up.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        # Everything, because the transport's exceptions belong to a library that has changed
        # between versions of huggingface_hub (requests, httpx, httpx2). It is re-raised below.
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    last, since = progress(), time.monotonic()
    threading.Thread(target=run, name="hub", daemon=True).start()
    while not concurrent.futures.wait([future], timeout=min(_TICK_S, patience_s)).done:
        if (now := progress()) != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since >= patience_s:
            raise SourceUnreachable(f"the hub did not answer within {patience_s:g} s")
    if (error := future.exception()) is not None:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceUnreachable(f"the hub cannot be used: {reason}") from error
    return future.result()


def _bytes_under(folder: Path) -> int:
    """Size of all files in `folder`: huggingface_hub names an unfinished file as it likes."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # It has just been renamed.
    return total
