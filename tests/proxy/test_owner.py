"""One process has the cache's folder, says who it is, and loses it however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.cache.owner import CacheInUse, Owner, Ownership
from tests.proxy.storage import LARGE, SMALL, Audio, write

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:8880"

ANOTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from tests.proxy.storage import LARGE, Audio, write

async def main():
    async with Audio(Path(sys.argv[1])).opened() as tier:
        if len(sys.argv) > 2:
            tier.owner.announce(sys.argv[2])
        await write(tier, LARGE)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@contextmanager
def another_process_has(audio: Audio, url: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process with the folder open; it ends when it is told to on its standard input."""
    arguments = [str(audio.path)] if url is None else [str(audio.path), url]
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_PROCESS, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    return Audio(tmp_path / "audio")


async def test_a_folder_that_another_process_has_is_refused_and_the_error_says_whose_it_is(
    audio: Audio,
) -> None:
    with another_process_has(audio, URL) as other:
        with pytest.raises(CacheInUse) as refused:
            async with audio.opened():
                pass
        assert refused.value.owner == Owner(other.pid, URL)
        for said in (f"process {other.pid}", URL, str(audio.path), "cache.directory"):
            assert said in str(refused.value)


async def test_one_that_is_no_server_is_told_by_its_process(audio: Audio) -> None:
    with another_process_has(audio) as other:
        with pytest.raises(CacheInUse, match=rf"process {other.pid}: ") as refused:
            async with audio.opened():
                pass
        assert refused.value.owner == Owner(other.pid, None)


async def test_a_refused_tier_does_nothing_to_the_folder(audio: Audio) -> None:
    with another_process_has(audio, URL):
        before = (audio.path / "owner.json").read_bytes()
        tier = audio.tier()
        with pytest.raises(CacheInUse):
            await tier.open()
        await tier.close()
        assert (audio.path / "owner.json").read_bytes() == before
        assert audio["traffic"].ids() == {LARGE.key.id}


async def test_a_folder_whose_owner_was_killed_can_be_opened(audio: Audio) -> None:
    with another_process_has(audio, URL) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert (audio.path / "owner.json").exists()
        async with audio.opened() as tier:
            found = await tier.get(LARGE.key.id)
            assert found is not None and found.payload == LARGE.payload
            assert owner_of(audio) == {"pid": os.getpid(), "url": None, "certificate": None}


async def test_a_folder_whose_owner_closed_it_can_be_opened(audio: Audio) -> None:
    with another_process_has(audio, URL) as other:
        other.communicate("")
        assert other.returncode == 0
        assert not (audio.path / "owner.json").exists()
        async with audio.opened() as tier:
            found = await tier.get(LARGE.key.id)
            assert found is not None and found.payload == LARGE.payload


async def test_closing_lets_go_and_leaves_no_owner(audio: Audio) -> None:
    for _ in range(3):
        async with audio.opened() as tier:
            tier.owner.announce(URL)
            assert owner_of(audio) == {"pid": os.getpid(), "url": URL, "certificate": None}
            await write(tier, SMALL)
        assert not (audio.path / "owner.json").exists()


async def test_a_second_tier_of_the_same_process_is_refused_too(audio: Audio) -> None:
    async with audio.opened() as tier:
        with pytest.raises(CacheInUse, match=f"process {os.getpid()}"):
            async with audio.opened():
                pass
        await write(tier, SMALL)
        assert await tier.get(SMALL.key.id) == SMALL


@pytest.mark.parametrize(
    "told",
    ["", "not json", "null", "[]", "{}", '{"pid": "5", "url": null}', '{"pid": 5, "url": 6}'],
)
async def test_an_owner_that_cannot_be_read_is_another_process(audio: Audio, told: str) -> None:
    async with audio.opened():
        (audio.path / "owner.json").write_text(told)
        with pytest.raises(CacheInUse, match="in use by another process: ") as refused:
            async with audio.opened():
                pass
        assert refused.value.owner is None


def test_the_lock_knows_whether_it_is_still_the_one_in_the_folder(audio: Audio) -> None:
    ownership = Ownership(audio.path)
    assert not ownership.is_in_place()
    ownership.take()
    assert ownership.is_in_place()
    (audio.path / "lock").rename(audio.path / "elsewhere")
    assert not ownership.is_in_place()
    (audio.path / "lock").touch()
    assert not ownership.is_in_place()
    ownership.release()


def test_who_lost_the_lock_leaves_the_owner_to_who_took_it(audio: Audio) -> None:
    lost, taken = Ownership(audio.path), Ownership(audio.path)
    lost.take()
    lost.announce(URL)
    (audio.path / "lock").unlink()
    taken.take()
    lost.release()
    assert owner_of(audio) == {"pid": os.getpid(), "url": None, "certificate": None}
    taken.release()


def test_where_it_listens_is_told_again_when_the_lock_is_taken_anew(audio: Audio) -> None:
    ownership = Ownership(audio.path)
    ownership.take()
    ownership.announce(URL)
    (audio.path / "owner.json").unlink()
    ownership.take()
    assert owner_of(audio) == {"pid": os.getpid(), "url": URL, "certificate": None}
    ownership.release()
    ownership.release()


def test_who_does_not_have_the_folder_lets_go_of_nothing(audio: Audio) -> None:
    holder, other = Ownership(audio.path), Ownership(audio.path)
    holder.take()
    with pytest.raises(CacheInUse, match=re.escape(str(audio.path))):
        other.take()
    other.release()
    with pytest.raises(CacheInUse):
        other.take()
    holder.release()
    other.take()
    other.release()


def owner_of(audio: Audio) -> object:
    return json.loads((audio.path / "owner.json").read_text())


def test_how_its_certificate_is_known_is_told_with_where_it_listens(audio: Audio) -> None:
    ownership = Ownership(audio.path)
    ownership.take()
    ownership.announce("https://127.0.0.1:8880", "ab" * 32)
    with pytest.raises(CacheInUse) as in_use:
        Ownership(audio.path).take()
    assert in_use.value.owner == Owner(os.getpid(), "https://127.0.0.1:8880", "ab" * 32)
    ownership.release()
