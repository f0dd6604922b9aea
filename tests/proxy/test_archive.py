"""Archives: what one cache wrote, another has; what is damaged or strange, it has not."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tarfile import BLOCKSIZE

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.cache.archive import Keeping, NotAnArchive, export_entries, import_entries
from proxy.cache.entry import Entry, pack
from proxy.cache.selection import Selection, select
from proxy.cache.steps import Exported, Imported, Problem, Step
from proxy.cache.tar import END, MAX_MEMBER_BYTES, pack_member
from tests.proxy.caches import (
    Stores,
    clip,
    damage,
    flipped,
    folder_of,
    ids,
    ids_of,
    opened,
    rendition,
    told_by,
)
from tests.proxy.storage import MIB

FIRST = "kokoro-edge-cache.json"


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with opened(tmp_path / "cache") as stores:
        yield stores


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Stores]:
    """Another machine's, and empty."""
    with opened(tmp_path / "other") as stores:
        yield stores


def exported(stores: Stores, selection: Selection | None = None) -> bytes:
    return told_exporting(stores, selection)[0]


def told_exporting(stores: Stores, selection: Selection | None = None) -> tuple[bytes, list[Step]]:
    pieces = list(export_entries(stores, selection or Selection(), "1.2.3"))
    return b"".join(piece for piece, _ in pieces), told_by(told for _, told in pieces)


def imported(
    stores: Stores, archive: bytes, keeping: Keeping | None = None
) -> tuple[list[str], Imported]:
    """What was wrong, and the end."""
    file = io.BytesIO(archive)
    told = told_by(import_entries(stores, file, len(archive), keeping or Keeping()))
    last = told[-1]
    assert isinstance(last, Imported)
    return [step.what for step in told if isinstance(step, Problem)], last


def archive_of(*members: tuple[str, bytes]) -> bytes:
    first = pack_member(FIRST, json.dumps({"schema": 1}).encode(), 0.0)
    return first + b"".join(pack_member(name, data, 0.0) for name, data in members) + END


def member_of(entry: Entry, tier: str = "traffic") -> tuple[str, bytes]:
    return f"{tier}/{entry.key.id}", pack(entry)


def put(stores: Stores, *traffic: Entry, pinned: tuple[Entry, ...] = ()) -> None:
    for store, wanted in zip(stores, (pinned, traffic), strict=True):
        for entry in wanted:
            store.put(entry)


def test_what_one_cache_exports_another_has(stores: Stores, others: Stores) -> None:
    small, large = clip("Small."), clip("Large.", seconds=3.0)
    pinned = rendition("Pinned.", voice="af_bella+af_sky")
    put(stores, small, large, pinned=(pinned,))
    archive, told = told_exporting(stores)
    assert told[-1] == Exported(entries=3, left_out=0)
    assert imported(others, archive) == ([], Imported(3, 0, 0, 0))
    assert others[0].get(pinned.key.id) == pinned
    assert [others[1].get(entry.key.id) for entry in (small, large)] == [small, large]
    assert ids_of(others) == ids(small, large, pinned)


def test_an_archive_is_a_tar_like_any_other(stores: Stores) -> None:
    entry, pinned = clip("One."), rendition("Pinned.")
    put(stores, entry, pinned=(pinned,))
    with tarfile.open(fileobj=io.BytesIO(exported(stores)), mode="r:") as tar:
        names = [member.name for member in tar]
        assert names == [FIRST, f"pinned/{pinned.key.id}", f"traffic/{entry.key.id}"]
        assert all(member.isreg() and member.mode == 0o600 for member in tar)
        first, last = tar.extractfile(names[0]), tar.extractfile(names[-1])
        assert first is not None and last is not None
        described = json.loads(first.read())
        assert last.read() == pack(entry)
    assert (described["schema"], described["version"]) == (1, "1.2.3")
    assert described["created"].startswith("20") and described["created"].endswith("+00:00")


def test_a_tar_that_tar_itself_has_written_is_taken(others: Stores) -> None:
    entry = clip("One.")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in ((FIRST, b'{"schema": 1}'), member_of(entry)):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    assert imported(others, file.getvalue()) == ([], Imported(1, 0, 0, 0))
    assert others[1].get(entry.key.id) == entry


def test_only_what_is_selected_is_exported(stores: Stores, others: Stores) -> None:
    wanted = clip("One.", voice="af_sky")
    put(stores, wanted, clip("Two."), pinned=(rendition("Pinned."),))
    archive, told = told_exporting(stores, select(voice="af_sky"))
    assert told[-1] == Exported(1, 0)
    imported(others, archive)
    assert ids_of(others) == ids(wanted)


def test_what_is_damaged_or_over_is_not_exported(stores: Stores, others: Stores) -> None:
    whole, bent = clip("Whole."), clip("Bent.")
    over = replace(clip("Over."), expires_at_s=time.time() - 1)
    put(stores, whole, bent, over)
    damage(folder_of(stores[1]), bent)
    archive, told = told_exporting(stores)
    assert told[-1] == Exported(entries=1, left_out=1)
    assert [step.id for step in told if isinstance(step, Problem)] == [bent.key.id]
    imported(others, archive)
    assert ids_of(others) == ids(whole)


def test_what_is_here_already_is_left_as_it_is(others: Stores) -> None:
    old, new = clip("One."), clip("One.", speed=1.5)
    assert old.key == new.key
    pinned = rendition("Pinned.")
    put(others, old, pinned=(pinned,))
    archive = archive_of(member_of(new), member_of(pinned), member_of(clip("Two.")))
    assert imported(others, archive) == ([], Imported(1, 2, 0, 0))
    assert others[1].get(old.key.id) == old
    assert not others[1].has(pinned.key.id)


def test_what_is_over_is_not_taken(others: Stores) -> None:
    over = replace(clip("Over."), expires_at_s=time.time() - 1)
    assert imported(others, archive_of(member_of(over))) == ([], Imported(0, 0, 1, 0))


def test_what_is_taken_is_kept_no_longer_than_this_machine_keeps_things(others: Stores) -> None:
    entry, pinned = clip("One.", age_s=10), rendition("Pinned.", age_s=10)
    soon = replace(clip("Soon."), expires_at_s=time.time() + 5)
    old = clip("Old.", age_s=100)
    archive = archive_of(
        member_of(entry), member_of(pinned, "pinned"), member_of(soon), member_of(old)
    )
    assert imported(others, archive, Keeping(ttl_s=60)) == ([], Imported(3, 0, 1, 0))
    assert others[1].get(entry.key.id) == replace(entry, expires_at_s=entry.stored_at_s + 60)
    assert others[1].get(soon.key.id) == soon
    assert others[0].get(pinned.key.id) == pinned


def test_text_is_taken_only_where_text_is_kept(stores: Stores, others: Stores) -> None:
    entry = clip("One.", text="One.")
    archive = archive_of(member_of(entry))
    imported(others, archive)
    assert others[1].get(entry.key.id) == clip_without_text(entry)
    imported(stores, archive, Keeping(text=True))
    assert stores[1].get(entry.key.id) == entry


def clip_without_text(entry: Entry) -> Entry:
    return replace(entry, about=replace(entry.about, text=None))


def test_what_no_longer_fits_among_the_pinned_is_kept_among_traffic(tmp_path: Path) -> None:
    pinned = [rendition(f"{number}.") for number in range(3)]
    pinned = [replace(entry, payload=bytes(MIB // 2), digest="") for entry in pinned]
    with opened(tmp_path / "small", MIB) as small:
        found = imported(small, archive_of(*(member_of(each, "pinned") for each in pinned)))
        assert found == ([], Imported(3, 0, 0, 0))
        assert len(small[0]) == 1
        assert small[0].size_bytes() <= MIB
        huge = replace(rendition("Huge."), payload=bytes(2 * MIB), digest="")
        problems, last = imported(small, archive_of(member_of(huge)))
        assert (problems, last.problems) == (["left out: it is larger than cache.disk_bytes"], 1)


def test_a_flipped_bit_is_told_and_the_rest_is_taken(others: Stores) -> None:
    entries = [clip(f"{number}.") for number in range(5)]
    bent = entries[2]
    name, data = member_of(bent)
    members = [member_of(entry) for entry in entries]
    members[2] = name, flipped(data)
    file = io.BytesIO(archive_of(*members))
    told = told_by(import_entries(others, file, None, Keeping()))
    assert [step for step in told if isinstance(step, Problem)] == [
        Problem("left out: its payload does not match its checksum", bent.key.id)
    ]
    assert told[-1] == Imported(4, 0, 0, 1)
    assert ids_of(others) == ids(*entries) - ids(bent)


@given(st.data())
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_a_bit_is_flipped_what_is_taken_is_whole(
    others: Stores, data: st.DataObject
) -> None:
    entries = [rendition(f"{number}.") for number in range(4)]
    archive = archive_of(*(member_of(entry) for entry in entries))
    place = data.draw(st.integers(0, len(archive) - 1))
    bent = bytearray(archive)
    bent[place] ^= 1 << data.draw(st.integers(0, 7))
    for entry in entries:
        others[1].delete(entry.key.id)
    try:
        problems, last = imported(others, bytes(bent))
    except NotAnArchive:
        assert ids_of(others) == set()
        return
    assert last.stored >= 3
    assert last.stored == 4 or problems
    for entry in entries:
        assert others[1].get(entry.key.id) in (entry, None)


@given(st.data())
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_archive_that_is_cut_short_anywhere_is_told_to_be(
    others: Stores, data: st.DataObject
) -> None:
    archive = archive_of(*(member_of(rendition(f"{number}.")) for number in range(4)))
    cut = archive[: data.draw(st.integers(0, len(archive) - len(END)))]
    try:
        problems, last = imported(others, cut)
    except NotAnArchive:
        return
    assert "cut short" in problems[-1]
    assert last.problems == 1


def test_an_entry_under_the_name_of_another_is_not_taken(others: Stores) -> None:
    one, two = clip("One."), clip("Two.")
    problems, last = imported(others, archive_of((f"traffic/{one.key.id}", pack(two))))
    assert "under another key" in problems[0]
    assert last.stored == 0


def test_a_clip_that_is_no_flac_is_not_taken(others: Stores) -> None:
    entry = replace(clip("One."), payload=b"RIFF", digest="")
    problems, _ = imported(others, archive_of(member_of(entry)))
    assert problems == ["left out: its payload is not FLAC"]
    assert ids_of(others) == set()


@pytest.mark.parametrize(
    "name",
    [
        "../{}",
        "traffic/../../{}",
        "/etc/{}",
        "traffic/{}/../x",
        "elsewhere/{}",
        "traffic/{}.tar",
        "traffic/short",
        "./traffic/{}",
        "TRAFFIC/{}",
        "\x1b[31m{}",
    ],
)
def test_a_member_of_any_other_name_is_refused_and_the_rest_is_taken(
    others: Stores, tmp_path: Path, name: str
) -> None:
    entry = clip("One.")
    before = set(tmp_path.rglob("*.*"))
    archive = archive_of((name.format("a" * 32), pack(clip("Two."))), member_of(entry))
    problems, last = imported(others, archive)
    assert len(problems) == 1 and "no member that belongs here" in problems[0]
    assert problems[0].isprintable()
    assert last == Imported(1, 0, 0, 1)
    assert ids_of(others) == ids(entry)
    assert {path.suffix for path in set(tmp_path.rglob("*.*")) - before} <= {".val", ".db-wal"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, b"L", b"x"])
def test_a_member_that_is_no_plain_file_is_refused(others: Stores, kind: bytes) -> None:
    entry = clip("One.")
    header = tarfile.TarInfo(f"traffic/{entry.key.id}")
    header.type, header.linkname = kind, "/etc/passwd"
    archive = archive_of(member_of(entry))
    split = archive.index(f"traffic/{entry.key.id}".encode())
    bent = archive[:split] + header.tobuf(tarfile.USTAR_FORMAT) + archive[split:]
    problems, last = imported(others, bent)
    assert len(problems) == 1
    assert last.stored == 1


class Unread(io.BytesIO):
    """Knows the most that was read of it at once."""

    most_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.most_bytes = max(self.most_bytes, len(data) if size is None else size)
        return data


@pytest.mark.parametrize("size_bytes", [MAX_MEMBER_BYTES + 1, 8**11 - 1, 2**62])
def test_a_member_of_an_absurd_size_is_refused_before_it_is_read(
    others: Stores, size_bytes: int
) -> None:
    entry = clip("One.")
    header = tarfile.TarInfo(f"traffic/{'a' * 32}")
    header.size = size_bytes
    archive = archive_of(member_of(entry))
    split = archive.index(f"traffic/{entry.key.id}".encode())
    bent = archive[:split] + header.tobuf(tarfile.GNU_FORMAT) + archive[split:]
    file = Unread(bent)
    told = told_by(import_entries(others, file, None, Keeping()))
    assert file.most_bytes < MIB
    problems = [step.what for step in told if isinstance(step, Problem)]
    assert len(problems) == 1 and f"{size_bytes} bytes" in problems[0]
    assert told[-1] == Imported(1, 0, 0, 1)


def zipped() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo(FIRST))
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        bytes(10 * BLOCKSIZE),
        b"x" * 10 * BLOCKSIZE,
        zipped(),
        pack_member("notes.txt", b"hello", 0.0) + END,
        pack_member(f"traffic/{'a' * 32}", b"hello", 0.0) + END,
        pack_member(FIRST, b"not json", 0.0) + END,
        pack_member(FIRST, b"[]", 0.0) + END,
        pack_member(FIRST, b"{}", 0.0) + END,
        pack_member(FIRST, b"\xff", 0.0) + END,
    ],
    ids=range(11),
)
def test_what_is_no_archive_is_one_error(others: Stores, data: bytes) -> None:
    with pytest.raises(NotAnArchive):
        imported(others, data)
    assert ids_of(others) == set()


def test_an_archive_of_another_kind_is_an_error_that_says_so(others: Stores) -> None:
    with pytest.raises(NotAnArchive, match="kind 2"):
        imported(others, pack_member(FIRST, b'{"schema": 2}', 0.0) + END)


def test_an_empty_cache_makes_an_archive_that_can_be_taken(stores: Stores, others: Stores) -> None:
    archive, told = told_exporting(stores)
    assert told == [Exported(0, 0)]
    assert imported(others, archive) == ([], Imported(0, 0, 0, 0))
