"""The cache in a directory that no server has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from proxy import __version__
from proxy.cache import upkeep
from proxy.cache.archive import Keeping, NotAnArchive, export_entries, import_entries
from proxy.cache.owner import CacheInUse, Ownership
from proxy.cache.selection import select
from proxy.cache.steps import Stats, Step, StoreStats
from proxy.cache.store import STORAGE_FAULTS, Store
from proxy.commands.failure import CommandFailed
from proxy.commands.source import Filters, Steps
from proxy.settings import CacheSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Here:
    """A directory that this process has taken, or one that is not there yet."""

    directory: Path
    settings: CacheSettings
    stores: tuple[Store, ...]
    """None where it is not there yet."""

    @property
    def where(self) -> str:
        return f"the cache in {self.directory}"

    @property
    def is_there(self) -> bool:
        return bool(self.stores)

    async def stats(self) -> Steps:
        if not self.is_there:
            yield [
                Stats(
                    [
                        StoreStats("pinned", self.settings.pinned_bytes),
                        StoreStats("traffic", self.settings.disk_bytes),
                    ]
                )
            ]
            return
        async for told in self._steps(upkeep.stats(self.stores)):
            yield told

    def entries(self, filters: Filters) -> Steps:
        return self._steps(upkeep.entries(self.stores, select(**filters)))

    def verify(self, repair: bool) -> Steps:
        return self._steps(upkeep.verify(self.stores, repair))

    def purge(self, filters: Filters) -> Steps:
        if not filters:
            forget_heard(self.directory)
            return self._steps(upkeep.purge_all(self.stores))
        return self._steps(upkeep.purge(self.stores, select(**filters)))

    def export_archive(self, filters: Filters) -> AsyncIterator[tuple[bytes, list[Step]]]:
        return self._steps(export_entries(self.stores, select(**filters), __version__))

    def import_archive(self, file: BinaryIO, size_bytes: int | None) -> Steps:
        keeping = Keeping(text=self.settings.keep_text, ttl_s=self.settings.ttl_s)
        return self._steps(import_entries(self.stores, file, size_bytes, keeping))

    async def _steps(self, steps: Iterator[T]) -> AsyncIterator[T]:
        while True:
            try:
                step = next(steps)
            except StopIteration:
                return
            except NotAnArchive as error:
                raise CommandFailed(str(error)) from None
            except STORAGE_FAULTS as error:
                raise _unusable(self.directory, error) from None
            yield step
            await asyncio.sleep(0)  # Where an interrupt is noticed.


def forget_heard(directory: Path) -> None:
    """What was counted of what callers hear holds text, and goes with everything else."""
    from proxy.phrasebook.mining.miner import HEARD

    (directory / HEARD).unlink(missing_ok=True)


@contextmanager
def open_here(settings: CacheSettings, make: bool) -> Iterator[Here]:
    """Take the directory for as long as the block lasts. Where there is none it is as good as
    empty, and it is made only where `make` says so.

    Raises:
        CacheInUse: another process has it.
        CommandFailed: it cannot be used.
    """
    directory = settings.directory.expanduser() / "audio"
    stores = (
        Store("pinned", directory / "pinned", settings.pinned_bytes),
        Store("traffic", directory / "traffic", settings.disk_bytes),
    )
    owner = Ownership(directory)
    try:
        try:
            is_there = make or directory.is_dir()
            if is_there:
                owner.take()
                for store in stores:
                    store.open()
        except CacheInUse:
            raise
        except STORAGE_FAULTS as error:
            raise _unusable(directory, error) from None
        yield Here(directory, settings, stores if is_there else ())
    finally:
        for store in stores:
            with suppress(*STORAGE_FAULTS):
                store.close()
        owner.release()


def _unusable(directory: Path, error: Exception) -> CommandFailed:
    return CommandFailed(f"the cache in {directory} cannot be used: {error}")
