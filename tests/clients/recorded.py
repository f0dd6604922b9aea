"""Requests as Twilio, Asterisk, FreeSWITCH and Vapi send them, and what they make of the answers.

Those of Asterisk and FreeSWITCH are what their sources have libcurl send (`res_http_media_cache.c`,
`mod_http_cache.c`). Vapi's is as its documentation has it, and Twilio's by its documentation and
what its proxy is known to send elsewhere.
"""

from __future__ import annotations

import io
import re
import socket
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from multidict import CIMultiDict

_HERE = Path(__file__).parent / "recorded"
_DEADLINE_S = 60.0

TWILIO_PLAYS = {
    *("audio/mpeg", "audio/wav", "audio/wave", "audio/x-wav", "audio/aiff", "audio/x-aifc"),
    *("audio/x-aiff", "audio/x-gsm", "audio/gsm", "audio/ulaw"),
}

_ASTERISK_BY_TYPE = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/basic": "ulaw",
    "audio/gsm": "gsm",
    "audio/x-vox": "vox",
}
_ASTERISK_BY_EXTENSION = {
    **dict.fromkeys(("ulaw", "ul", "mu", "ulw", "pcm"), "ulaw"),
    **dict.fromkeys(("alaw", "al", "alw"), "alaw"),
    **dict.fromkeys(("sln", "slin", "raw"), "sln"),
    **{name: name for name in ("wav", "wav16", "mp3", "sln16", "sln24", "g722", "gsm")},
}
"""Which of its formats reads a file: `.pcm` is mu-law to it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def type(self) -> str:
        """Its media type, without parameters."""
        return self.headers["Content-Type"].split(";")[0].strip().lower()


def replay(url: str, name: str, **values: object) -> Answer:
    """Send a recorded request, with `{name}` in it replaced, over a connection of its own."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    text = (_HERE / f"{name}.http").read_text(encoding="utf-8")
    head, _, body = text.partition("\n\n")
    body = _filled(body.strip(), values)
    head = _filled(head, {**values, "host": parts.netloc, "length": len(body.encode())})
    with socket.create_connection((parts.hostname, parts.port), timeout=_DEADLINE_S) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode())
        response = HTTPResponse(connection, method=head.split(" ", 1)[0])
        response.begin()
        return Answer(response.status, CIMultiDict(response.getheaders()), response.read())


def _filled(text: str, values: Mapping[str, object]) -> str:
    """By name alone: there are other braces in JSON."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def read_by_asterisk(path: str, answer: Answer) -> str | None:
    """As which of its formats Asterisk plays the answer: the type counts first, then the name."""
    if (by_type := _ASTERISK_BY_TYPE.get(answer.type)) is not None:
        return by_type
    return _ASTERISK_BY_EXTENSION.get(path.split("?")[0].rpartition(".")[2])


def is_wav_of_asterisk(body: bytes) -> bool:
    """16 bit PCM, mono, 8 kHz, in a file that tells its true length."""
    with wave.open(io.BytesIO(body)) as file:
        told = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        return told == (1, 2, 8000) and len(file.readframes(-1)) == 2 * file.getnframes()


def extension_for_freeswitch(url: str) -> str:
    """What it takes for the file's extension: found from the end of the address, query and all."""
    match = re.search(r"\.([^./\\?#]*)(?:[?#][^./\\]*)?$", url)
    return match[1] if match else ""


def max_age_s(answer: Answer) -> int:
    """How long it is kept by all three. Nothing in it sends them back each time."""
    control = answer.headers["Cache-Control"]
    assert "no-cache" not in control and "must-revalidate" not in control
    match = re.search(r"max-age=(\d+)", control)
    assert match, control
    return int(match[1])
