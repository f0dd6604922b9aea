"""One process owns the cache's directory, and others can find out who.

diskcache survives several processes, but SQLite before 3.51.3 can damage a database when two
connections write its log back at once. So whoever opens the directory takes its lock first.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

_LOCK = "lock"
_OWNER = "owner.json"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has the directory, as it says itself."""

    pid: int
    url: str | None = None
    """Where it listens; None before that, and for a command that is no server."""
    certificate: str | None = None
    """SHA-256 of its certificate, in hexadecimal digits; None where it speaks HTTP."""


class CacheInUse(OSError):
    """Another process has the directory."""

    def __init__(self, directory: Path, owner: Owner | None) -> None:
        who = f"process {owner.pid}" if owner else "another process"
        where = f", a server at {owner.url}" if owner and owner.url else ""
        super().__init__(
            f"the cache in {directory} is in use by {who}{where}: stop it, or set cache.directory "
            "to another folder"
        )
        self.owner = owner


class Ownership:
    """The lock of one directory. The kernel lets go of it however the process ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = FileLock(directory / _LOCK, mode=0o600, thread_local=False)
        self._taken: os.stat_result | None = None
        self._url: str | None = None
        self._certificate: str | None = None

    def take(self) -> None:
        """Raises CacheInUse: another process has it. OSError: the directory cannot be written."""
        self.release()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory.chmod(0o700)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise CacheInUse(self._directory, read_owner(self._directory)) from None
        self._taken = (self._directory / _LOCK).stat()
        self._write()

    def announce(self, url: str, certificate: str | None = None) -> None:
        """Tell where the server listens, and how its certificate is known: whoever can write here
        owns the cache, so it is better proof of who answers than a name."""
        self._url, self._certificate = url, certificate
        self._write()

    def is_in_place(self) -> bool:
        """Whether the lock that is held is still the one in the directory."""
        try:
            return self._taken is not None and os.path.samestat(
                self._taken, (self._directory / _LOCK).stat()
            )
        except OSError:
            return False

    def release(self) -> None:
        if self._taken is None:
            return
        if self.is_in_place():
            (self._directory / _OWNER).unlink(missing_ok=True)
        self._taken = None
        self._lock.release()

    def _write(self) -> None:
        owner = Owner(os.getpid(), self._url, self._certificate)
        try:
            (self._directory / _OWNER).write_text(json.dumps(asdict(owner)), encoding="utf-8")
        except OSError as error:  # A full disk: no reason not to serve.
            logger.warning("cannot tell others who has %s: %s", self._directory, error)


def read_owner(directory: Path) -> Owner | None:
    """Who had the directory last, and may have it still. None: nobody tells."""
    try:
        match json.loads((directory / _OWNER).read_text(encoding="utf-8")):
            case {"pid": int(pid), "url": str() | None as url, **more}:
                certificate = more.get("certificate")
                return Owner(pid, url, certificate if isinstance(certificate, str) else None)
    except (OSError, ValueError):
        pass
    return None
