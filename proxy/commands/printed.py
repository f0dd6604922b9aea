"""What commands print, and how they end where nobody reads it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from proxy.commands.failure import EXIT_FAILED, CommandFailed


def printed(command: Callable[[], int]) -> int:
    """Run a command that prints its results. Returns its exit code.

    Raises:
        CommandFailed: the operating system refused something.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Not every terminal can show every text.
    try:
        code = command()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read has had enough. Python would complain of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        raise CommandFailed(f"failed: {error}") from None


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 entry`, `2 entries`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
