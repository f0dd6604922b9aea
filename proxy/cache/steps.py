"""What administration tells while it works, and at the end. All of it serialises to JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator, TypeAdapter

from proxy.cache.counts import Counts
from proxy.cache.entry import About
from proxy.cache.store import Row, Tier

Unit = Literal["entries", "bytes"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    done: int
    total: int | None = None
    """None where that is not known."""
    unit: Unit = "entries"
    step: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something is not as it should be."""

    what: str
    id: str | None = None
    """None where it is not about one entry."""
    tier: Tier | None = None
    repaired: bool = False
    step: Literal["problem"] = "problem"


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry, as its row tells of it."""

    id: str
    tier: Tier
    size_bytes: int
    stored_at_s: float
    """In seconds since 1970."""
    about: About | None = None
    """None where the row was not written by us."""
    step: Literal["entry"] = "entry"

    @classmethod
    def of(cls, row: Row) -> Listed:
        return cls(row.id, row.tier, row.size_bytes, row.stored_at_s, row.about)


@dataclass(slots=True)
class Share:
    """A part of what a store holds."""

    entries: int = 0
    size_bytes: int = 0
    """Of the payloads, without what the database adds."""


@dataclass(slots=True)
class StoreStats:
    """What one store holds."""

    tier: Tier
    max_bytes: int
    size_bytes: int = 0
    """What the entries and their database take."""
    entries: int = 0
    oldest_s: float | None = None
    """When the oldest entry was made, in seconds since 1970; None where there is none."""
    newest_s: float | None = None
    by_kind: dict[str, Share] = field(default_factory=dict)
    by_voice: dict[str, Share] = field(default_factory=dict)
    """By the canonical spelling of the voice or blend."""


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """What a running server has in memory."""

    entries: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What the cache holds."""

    stores: list[StoreStats]
    memory: MemoryStats | None = None
    """None, as `counts` is, where no server runs."""
    counts: Counts | None = None
    step: Literal["stats"] = "stats"


@dataclass(frozen=True, slots=True)
class Verified:
    """The end of `verify`."""

    checked: int
    problems: int
    repaired: int
    step: Literal["verified"] = "verified"


@dataclass(frozen=True, slots=True)
class Purged:
    """The end of `purge`."""

    entries: int
    pinned: int
    """How many of them were pinned."""
    size_bytes: int
    step: Literal["purged"] = "purged"


@dataclass(frozen=True, slots=True)
class Exported:
    """The end of `export`."""

    entries: int
    left_out: int
    """Damaged ones."""
    step: Literal["exported"] = "exported"


@dataclass(frozen=True, slots=True)
class Imported:
    """The end of `import`."""

    stored: int
    here_already: int
    expired: int
    problems: int
    step: Literal["imported"] = "imported"


Step = Progress | Problem | Listed | Stats | Verified | Purged | Exported | Imported

_STEP: TypeAdapter[Step] = TypeAdapter(Annotated[Step, Discriminator("step")])


def to_json(step: Step) -> bytes:
    """One line, without its end."""
    return _STEP.dump_json(step, exclude_none=True)


def from_json(line: bytes) -> Step:
    """Raises ValueError: it is not what `to_json` wrote."""
    return _STEP.validate_json(line)
