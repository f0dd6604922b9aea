"""Faults 10 and 11: somebody writes to the cache's directory what a server must not believe."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from diskcache.core import MODE_BINARY, MODE_PICKLE

from proxy.cache.key import text_digest
from tests.faults.audio import TIERS, read_all, stores
from tests.faults.conftest import StartServer
from tests.faults.server import Server, key_of
from tests.proxy.conftest import HIT, MISS

SECRET = b"the combination of the safe"
TEXT = "This is a reply."
OTHER = "This is another."


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self._path), "w")


def execute(store: Path, statement: str, *values: object) -> None:
    """Do something to a database behind the server's back."""
    with closing(sqlite3.connect(store / "cache.db")) as database, database:
        database.execute(statement, values)


def plant(
    store: Path, key: object, raw: int, mode: int, filename: str | None, value: object
) -> None:
    """Put a row in place of the one that has this key."""
    execute(store, "DELETE FROM Cache WHERE key = ?", key)
    execute(
        store,
        "INSERT INTO Cache (key, raw, store_time, access_time, access_count, size, mode, filename,"
        " value) VALUES (?, ?, 0, 0, 0, 0, ?, ?, ?)",
        *(key, raw, mode, filename, value),
    )


def speaks_as_before(server: Server, text: str, body: bytes) -> None:
    heard = server.say(text)
    assert (heard.status, heard.outcome, heard.body) == (200, MISS, body)
    heard = server.say(text)
    assert (heard.status, heard.outcome, heard.body) == (200, HIT, body)


def test_a_planted_pickle_is_never_run_and_a_file_elsewhere_never_read(
    start_server: StartServer, cache: Path, tmp_path: Path
) -> None:
    fuse, secret, bomb = tmp_path / "exploded", tmp_path / "secret", tmp_path / "bomb"
    secret.write_bytes(SECRET)
    bomb.write_bytes(pickle.dumps(Bomb(fuse)))
    up = "../" * 3
    assert (cache / "audio" / "traffic" / f"{up}secret").resolve() == secret
    plants = {
        "A pickle in a row.": (MODE_PICKLE, None, bomb.read_bytes()),
        "A pickle in a file.": (MODE_PICKLE, f"{up}bomb", None),
        "A file above.": (MODE_BINARY, f"{up}secret", None),
        "A file that is named in full.": (MODE_BINARY, str(secret), None),
        "A file by another way.": (MODE_BINARY, f"/proc/self/root{secret}", None),
    }
    server = start_server()
    bodies = {text: server.say(text).body for text in plants}
    assert server.stop() == 0
    says = {text_digest(text): text for text in plants}
    for id, entry in read_all(cache).entries.items():
        planted = plants[says[entry.about.says[0]]]
        for tier in TIERS:
            plant(cache / "audio" / tier, id, 1, *planted)
            # And under a key that is a pickle itself.
            plant(cache / "audio" / tier, bomb.read_bytes() + id.encode(), 0, *planted)
    server = start_server()
    # Whoever looks after the cache comes to all of it.
    assert server.request("GET", "/v1/admin/cache").status == 200
    assert SECRET not in server.request("GET", "/v1/admin/cache/entries").body
    assert SECRET not in server.request("GET", "/v1/admin/cache/export").body
    for text, body in bodies.items():
        speaks_as_before(server, text, body)
    assert server.request("POST", "/v1/admin/cache/verify", '{"repair": true}').status == 200
    assert server.stop() == 0
    assert not fuse.exists()
    assert secret.read_bytes() == SECRET and bomb.exists()


def test_another_reply_under_the_same_hash_is_a_miss(
    start_server: StartServer, cache: Path, tmp_path: Path
) -> None:
    """As if somebody had constructed a text whose xxh3 is that of another."""
    server = start_server()
    body = server.say(TEXT).body
    other = server.say(OTHER)
    assert server.stop() == 0
    with stores(cache) as (_, traffic):
        rows = [row for rows in traffic.rows() for row in rows]
        entries = [entry for row in rows if (entry := traffic.read(row.id)) is not None]
        found = {(entry.about.kind, entry.about.says): entry for entry in entries}
        assert len(found) == 4
        [says] = {entry.about.says for entry in entries if entry.key.id == key_of(other)}
        for (kind, said), entry in found.items():
            if said != says:
                forged = found[kind, says]
                key = entry.key._replace(check=forged.key.check)
                traffic.put(replace(forged, key=key))
    server = start_server()
    assert body != other.body
    speaks_as_before(server, TEXT, body)
    assert server.syntheses()[TEXT] == 2
    assert server.say(OTHER).body == other.body
