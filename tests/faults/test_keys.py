"""Fault 12: what must sound the same shares a hit, and nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.faults.conftest import StartServer
from tests.faults.server import key_of
from tests.proxy.conftest import HIT, MISS

VOICES = ("af_bella", "af_sky")
Request = tuple[str, dict[str, Any]]

SAME: list[list[Request]] = [
    # A letter with its accent, and one followed by its accent.
    [("The caf\u00e9 is open.", {}), ("The cafe\u0301 is open.", {})],
    [("It is slow.", {})] + [("It is slow.", {"speed": speed}) for speed in (1, 1.0, 1.001)],
    [("Both speak.", {"voice": f"{one}+{two}"}) for one, two in (VOICES, VOICES[::-1])],
    [("It is folded.", {}), ("  It is\tfolded. \n", {}), ("It\u00a0is  folded.", {})],
]
"""In each, requests that must share one reply."""

APART: list[Request] = [
    ("Hello af_sky", {}),
    ("Hello", {"voice": "af_sky"}),
    ("Hello", {}),
    ('Hello", "voice": "af_sky', {}),
    ("Hello af_sky a 1.00", {}),
    ("Hello;af_sky;a;1.00", {}),
    ("Hello", {"voice": "af_sky", "speed": 1.01}),
    ("Hello", {"voice": "af_sky", "lang_code": "b"}),
    ("Hello", {"voice": "af_sky+af_bella"}),
    ("Hello", {"voice": "af_sky(2)+af_bella"}),
    ("Hello", {"response_format": "pcm"}),
]
"""Requests that must not share a reply, however alike their fields are when run together."""


def test_requests_that_mean_the_same_share_a_reply(start_server: StartServer) -> None:
    server = start_server()
    for requests in SAME:
        heard = [server.say(text, **fields) for text, fields in requests]
        assert [each.status for each in heard] == [200] * len(requests), requests
        assert [each.outcome for each in heard] == [MISS] + [HIT] * (len(requests) - 1), requests
        assert len({each.body for each in heard}) == 1


def test_requests_that_mean_something_else_do_not(start_server: StartServer) -> None:
    server = start_server()
    heard = [server.say(text, **fields) for text, fields in APART]
    assert [each.status for each in heard] == [200] * len(APART)
    assert {each.outcome for each in heard} == {MISS}
    assert len({key_of(each) for each in heard}) == len(APART)
    # The scripted engine has a pitch for every text, voice, language and speed.
    assert len({each.body for each in heard}) == len(APART)


def test_a_delimiter_in_a_voice_is_no_voice(start_server: StartServer) -> None:
    server = start_server()
    for voice in ("af_bella\x00Hello", "af_bella|Hello", "af_bella\nHello", "../af_bella"):
        assert server.say("Hello", voice=voice).status == 400


def test_another_model_or_another_voice_file_is_another_reply(
    start_server: StartServer, weights_folder: Path, tmp_path: Path
) -> None:
    def says(changed: str | None) -> list[str]:
        weights = tmp_path / "weights"
        shutil.rmtree(weights, ignore_errors=True)
        shutil.copytree(weights_folder, weights)
        if changed is not None:
            (weights / changed).write_text("of a newer version", encoding="utf-8")
        server = start_server(settings={"engine.weights": weights})
        outcomes = [server.say("Hello there.", voice=voice).outcome for voice in VOICES]
        assert server.stop() == 0
        return outcomes

    assert says(None) == [MISS, MISS]
    assert says(None) == [HIT, HIT]
    assert says("kokoro-v1_0.pth") == [MISS, MISS]
    assert says(f"voices/{VOICES[1]}.pt") == [HIT, MISS]
    assert says(None) == [HIT, HIT]
