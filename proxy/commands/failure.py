"""What a command ends with when it cannot do what it is for."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BUSY = 3


class CommandFailed(Exception):
    """One line, for whoever called the command: what is wrong, and what to do."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(plain(" ".join(message.split())))
        self.code = code


def plain(text: str) -> str:
    """Without what a terminal would take for a command: it may come from another machine."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
