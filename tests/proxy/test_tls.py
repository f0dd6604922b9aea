"""HTTPS by certificate files."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from proxy.cache.owner import Ownership
from proxy.commands.cache import announced_certificate
from proxy.layers import SettingsError
from proxy.settings import ServerSettings, Settings
from proxy.tls import Certificate, build_certificate
from tests.proxy.commands import Command, assert_one_line
from tests.proxy.serving import ScriptedApp, Serving, serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def issue(authority: trustme.CA, folder: Path) -> tuple[Path, Path]:
    """A new certificate for this machine, in place of the one that was there."""
    issued = authority.issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA)
    folder.mkdir(exist_ok=True)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    for path, blobs in (
        (certificate, issued.cert_chain_pems),
        (key, [issued.private_key_pem]),
    ):
        new = path.with_suffix(".new")
        new.write_bytes(b"".join(blob.bytes() for blob in blobs))
        os.replace(new, path)
    return certificate, key


def with_tls(settings: Settings, files: tuple[Path, Path]) -> Settings:
    certificate, key = files
    server = replace(settings.server, tls_certificate=certificate, tls_key=key)
    return replace(settings, server=server)


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> tuple[Path, Path]:
    return issue(authority, tmp_path / "tls")


@pytest.fixture
def command(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Command:
    return Command(tmp_path, settings.cache.directory, monkeypatch, capsysbinary)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def announced(server: Serving, settings: Settings) -> dict[str, Any]:
    """What lies beside the cache's lock, once it says where the server listens."""
    await server.wait_until_ready()
    path = settings.cache.directory / "audio" / "owner.json"
    while True:
        told = json.loads(await asyncio.to_thread(path.read_text) or "{}")
        if told.get("url"):
            return dict(told)


async def test_it_speaks_https_and_nothing_older_than_tls_1_2(
    scripted_app: ScriptedApp,
    settings: Settings,
    authority: trustme.CA,
    files: tuple[Path, Path],
) -> None:
    assert Certificate(*files).open().minimum_version == ssl.TLSVersion.TLSv1_2
    async with serving(scripted_app, with_tls(settings, files)) as server:
        url = f"https://127.0.0.1:{server.port}/health"
        async with aiohttp.ClientSession() as http:
            async with http.get(url, ssl=trusting(authority)) as answer:
                assert answer.status == 200
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await http.get(url)
            with pytest.raises(aiohttp.ClientError):
                await http.get(f"http://127.0.0.1:{server.port}/health")
            old = trusting(authority)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            async with http.get(url, ssl=old) as answer:
                assert answer.status == 200


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_commands_on_this_machine_know_the_server_by_its_certificate(
    scripted_app: ScriptedApp,
    settings: Settings,
    files: tuple[Path, Path],
    command: Command,
    tmp_path: Path,
) -> None:
    async with serving(scripted_app, with_tls(settings, files)) as server:
        told = await announced(server, settings)
        assert told["url"] == f"https://127.0.0.1:{server.port}"
        done = await command("cache", "stats", "--json")
        assert (done.code, done.err) == (0, "")
        # Named by hand, too, by whichever name of this machine, as long as its cache is known.
        for url in (told["url"], told["url"].replace("127.0.0.1", "localhost") + "/v1"):
            done = await command("cache", "stats", "--url", url)
            assert (done.code, done.err) == (0, "")
            done = await command("warm", "--dry-run", "--url", url)
            assert (done.code, done.err) == (0, "")
            done = await command("phrasebook", "mine", "--url", url)
            assert_one_line(done, 1, "mine.enabled")
        # Otherwise by the authorities of this machine, of which ours is none.
        elsewhere = {"KOKORO_EDGE_CACHE_DIRECTORY": str(tmp_path / "elsewhere")}
        done = await command("cache", "stats", "--url", told["url"], environment=elsewhere)
        assert_one_line(done, 1, "is not to be trusted", "set cache.directory")
        # Somebody else at the same address is not who told.
        owner = settings.cache.directory / "audio" / "owner.json"
        owner.write_text(json.dumps({**told, "certificate": "0" * 64}))
        for named in ((), ("--url", told["url"])):
            done = await command("cache", "stats", *named)
            assert_one_line(done, 1, "has not the certificate that the server told")
    gc.collect()  # The connections that were refused, which aiohttp leaves half closed.


@pytest.mark.parametrize(
    ("url", "is_it"),
    [
        ("https://127.0.0.1:8443", True),
        ("https://localhost:8443/v1/", True),
        ("https://[::1]:8443", True),
        ("http://127.0.0.1:8443", False),
        ("https://127.0.0.1:8444", False),
        ("https://127.0.0.1", False),
        ("https://tts.example:8443", False),
        ("https://127.0.0.1:port", False),
        ("nonsense", False),
        (None, False),
    ],
)
def test_only_the_server_that_has_the_cache_is_known_by_its_certificate(
    url: str | None, is_it: bool, settings: Settings
) -> None:
    assert announced_certificate(url, settings) is None
    owner = Ownership(settings.cache.directory / "audio")
    owner.take()
    assert announced_certificate(url, settings) is None
    owner.announce("https://127.0.0.1:8443", "ab" * 32)
    assert announced_certificate(url, settings) == ("ab" * 32 if is_it else None)
    owner.release()
    assert announced_certificate(url, settings) is None


async def test_a_renewed_certificate_is_taken_over_while_it_runs(
    scripted_app: ScriptedApp, settings: Settings, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    async with serving(scripted_app, with_tls(settings, files)) as server:
        first = await announced(server, settings)
        assert await is_seen(server, first["certificate"])
        issue(authority, files[0].parent)
        while (told := await announced(server, settings)) == first:
            pass
        assert await is_seen(server, told["certificate"])
        assert not await is_seen(server, first["certificate"])


async def test_a_certificate_behind_a_link_to_a_folder_is_taken_over_when_the_link_is_moved(
    authority: trustme.CA, tmp_path: Path
) -> None:
    issue(authority, tmp_path / "v1")
    issue(authority, tmp_path / "v2")
    current = tmp_path / "current"
    current.symlink_to("v1")
    certificate = Certificate(current / "tls.crt", current / "tls.key", look_every_s=0.01)
    async with changes_of(certificate) as changes:
        first = certificate.fingerprint
        (tmp_path / "new").symlink_to("v2")
        os.replace(tmp_path / "new", current)
        second = await changes.get()
        assert second == certificate.fingerprint != first
        # And what is written behind the link after that.
        issue(authority, tmp_path / "v2")
        assert await changes.get() == certificate.fingerprint != second


async def test_watching_goes_on_whatever_went_wrong(
    authority: trustme.CA, files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(*files, look_every_s=0.01)
    # What failed is done once more, though the files are the same.
    async with changes_of(certificate, fails=2) as changes:
        issue(authority, files[0].parent)
        assert await changes.get() == certificate.fingerprint
    failed = [each for each in caplog.records if "watching the certificate failed" in each.message]
    assert len(failed) == 2 and all(each.exc_info for each in failed)


@asynccontextmanager
async def changes_of(certificate: Certificate, fails: int = 0) -> AsyncIterator[asyncio.Queue[str]]:
    """The fingerprints that it tells of, once telling has failed so often."""
    changes: asyncio.Queue[str] = asyncio.Queue()

    async def changed() -> None:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise LookupError("nobody could be told")
        changes.put_nowait(certificate.fingerprint)

    certificate.open()
    task = asyncio.create_task(certificate.watch(changed))
    try:
        async with asyncio.timeout(60):
            yield changes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_no_certificate_is_not_taken_over(
    files: tuple[Path, Path], authority: trustme.CA, tmp_path: Path
) -> None:
    certificate = Certificate(*files)
    certificate.open()
    known = certificate.fingerprint
    another, _ = issue(authority, tmp_path / "another")
    for content in (b"", b"nothing", another.read_bytes()):  # The last without its key.
        files[0].write_bytes(content)
        assert not await certificate._take_over()
        assert certificate.fingerprint == known


async def is_seen(server: Serving, fingerprint: str) -> bool:
    """Whether a new connection meets this certificate."""
    pinned = aiohttp.Fingerprint(bytes.fromhex(fingerprint))
    url = f"https://127.0.0.1:{server.port}/health"
    async with aiohttp.ClientSession() as http:
        try:
            async with http.get(url, ssl=pinned) as answer:
                return answer.status == 200
        except aiohttp.ServerFingerprintMismatch:
            return False


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("tls.crt", None, "are set both, or neither"),
        (None, "tls.key", "are set both, or neither"),
        ("gone.crt", "tls.key", "gone.crt cannot be read: No such file"),
        ("tls.crt", "gone.key", "gone.key cannot be read: No such file"),
        ("tls.key", "tls.crt", "cannot be used"),
        ("text", "tls.key", "cannot be used"),
        ("tls.crt", "other/tls.key", "cannot be used"),
        ("tls.crt", "locked.key", "has a passphrase"),
    ],
)
async def test_what_cannot_be_used_is_said_in_one_line(
    certificate: str | None,
    key: str | None,
    says: str,
    files: tuple[Path, Path],
    authority: trustme.CA,
) -> None:
    folder = files[0].parent
    issue(authority, folder / "other")
    (folder / "text").write_text("hello")
    secret = load_pem_private_key(files[1].read_bytes(), None)
    locked = secret.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase")
    )
    (folder / "locked.key").write_bytes(locked)
    settings = ServerSettings(
        tls_certificate=None if certificate is None else folder / certificate,
        tls_key=None if key is None else folder / key,
    )
    with pytest.raises(SettingsError, match=says) as wrong:
        found = build_certificate(settings)
        assert found is not None
        found.open()
    assert "\n" not in str(wrong.value)
