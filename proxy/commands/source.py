"""What the commands of `kokoro-edge cache` ask, wherever the cache is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import BinaryIO, Protocol, TypedDict

from proxy.cache.entry import Kind
from proxy.cache.steps import Step
from proxy.cache.store import Tier


class Filters(TypedDict, total=False):
    """As for `proxy.cache.selection.select`. Those that are not given are not there."""

    kind: Kind
    voice: str
    tier: Tier
    older_than_s: float
    text: str


Steps = AsyncIterator[list[Step]]
"""What there is to tell, some at a time."""


class Source(Protocol):
    """A cache. Everything raises CommandFailed where it cannot be done."""

    @property
    def where(self) -> str:
        """Which cache it is, for people."""
        ...

    @property
    def is_there(self) -> bool:
        """False: there is none yet, which is as good as an empty one."""
        ...

    def stats(self) -> Steps: ...

    def entries(self, filters: Filters) -> Steps: ...

    def verify(self, repair: bool) -> Steps: ...

    def purge(self, filters: Filters) -> Steps:
        """Without filters: everything."""
        ...

    def export_archive(self, filters: Filters) -> AsyncIterator[tuple[bytes, list[Step]]]: ...

    def import_archive(self, file: BinaryIO, size_bytes: int | None) -> Steps: ...
