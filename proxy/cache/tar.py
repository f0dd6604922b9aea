"""A tar of plain files, written and read block by block.

`tarfile` makes and reads the headers alone. The rest of it does what a tar may ask for, such as
names of any length, links and holes, before one could refuse.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import BLOCKSIZE, TarInfo
from typing import BinaryIO

END = bytes(2 * BLOCKSIZE)
"""Comes after the last member."""

MAX_MEMBER_BYTES = 256 * 1024**2
"""More than an hour of WAV."""

_SKIP_BYTES = 1024**2
_BLOCKS_A_STEP = 256


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the tar."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Something of the tar that is no member, or none that was looked for."""

    what: str


def pack_member(name: str, data: bytes, changed_at_s: float) -> bytes:
    """A member with its header, up to where the next one begins. Names are short and ASCII."""
    header = TarInfo(name)
    header.size = len(data)
    header.mode = 0o600
    header.mtime = int(changed_at_s)
    return header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(_padding_bytes(len(data)))


class Reader:
    """Reads a tar once, from its beginning, and never seeks."""

    def __init__(self, file: BinaryIO, names: re.Pattern[str]) -> None:
        """Members are what has one of these names."""
        self.read_bytes = 0
        """How much of the file has been read."""
        self._file = file
        self._names = names

    def __iter__(self) -> Iterator[Member | Damage | None]:
        """Every member, and what is wrong in between. None: it is still looking for the next."""
        lost = False
        blocks = 0
        while True:
            began = self.read_bytes
            block = self._read(BLOCKSIZE)
            if len(block) < BLOCKSIZE:
                if not lost:
                    yield Damage("the archive is cut short")
                return
            if lost and (blocks := blocks + 1) % _BLOCKS_A_STEP == 0:
                yield None
            if block.count(0) == BLOCKSIZE:
                if lost:
                    continue
                return
            header = _header(block)
            if header is None or not 0 <= header.size <= MAX_MEMBER_BYTES:
                if not lost:
                    yield Damage(_lost_at(began, header))
                lost = True
            elif self._names.fullmatch(header.name) and header.isreg():
                lost = False
                member = self._member(header)
                yield member
                if isinstance(member, Damage):
                    return
            elif not lost:
                yield Damage(f"{header.name[:80]!a} is no member that belongs here")
                yield from self._skip(header.size + _padding_bytes(header.size))

    def _member(self, header: TarInfo) -> Member | Damage:
        data = self._read(header.size)
        if len(data) < header.size:
            return Damage(f"the archive is cut short in {header.name}")
        self._read(_padding_bytes(header.size))
        return Member(header.name, data)

    def _skip(self, size_bytes: int) -> Iterator[None]:
        while size_bytes > 0 and (skipped := len(self._read(min(size_bytes, _SKIP_BYTES)))):
            size_bytes -= skipped
            yield None

    def _read(self, size_bytes: int) -> bytes:
        data = self._file.read(size_bytes)
        self.read_bytes += len(data)
        return data


def _header(block: bytes) -> TarInfo | None:
    """None: it is damaged, or no header."""
    try:
        return TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None


def _lost_at(place: int, header: TarInfo | None) -> str:
    if header is None:
        return f"the archive is damaged at byte {place}; what follows it is looked for"
    return f"the archive has a member of {header.size} bytes, which is none that belongs here"


def _padding_bytes(size_bytes: int) -> int:
    return -size_bytes % BLOCKSIZE
