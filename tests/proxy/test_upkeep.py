"""Looking after a cache: what is counted, listed, found wrong, mended and deleted."""

from __future__ import annotations

import pickle
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from diskcache.core import MODE_PICKLE, MODE_RAW

from proxy.cache.entry import Entry, WordSpan
from proxy.cache.selection import NothingToSay, Selection, select
from proxy.cache.steps import (
    Listed,
    Problem,
    Progress,
    Purged,
    Share,
    Stats,
    Step,
    Verified,
    from_json,
    to_json,
)
from proxy.cache.upkeep import entries, purge, purge_all, stats, verify
from synth.voices import UnknownVoice
from tests.proxy.caches import (
    Stores,
    clip,
    damage,
    folder_of,
    ids,
    ids_of,
    opened,
    rendition,
    told_by,
)
from tests.proxy.entries import entry_of

DAY_S = 86_400.0


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self._path), "w")


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with opened(tmp_path / "cache") as stores:
        yield stores


def put(stores: Stores, *traffic: Entry, pinned: tuple[Entry, ...] = ()) -> None:
    for store, wanted in zip(stores, (pinned, traffic), strict=True):
        for entry in wanted:
            store.put(entry)


def last_of(steps: Iterator[list[Step]]) -> Step:
    return told_by(steps)[-1]


def problems_of(steps: Iterator[list[Step]]) -> tuple[list[Problem], Step]:
    told = told_by(steps)
    return [step for step in told if isinstance(step, Problem)], told[-1]


def test_stats_count_by_tier_kind_and_voice(stores: Stores) -> None:
    old, new = clip("One.", age_s=DAY_S), clip("Two.", voice="af_sky")
    whole = rendition("One.", "Two.")
    put(stores, old, new, pinned=(whole,))
    found = last_of(stats(stores))
    assert isinstance(found, Stats)
    pinned, traffic = found.stores
    assert (pinned.entries, traffic.entries) == (1, 2)
    assert pinned.by_kind == {"rendition": Share(1, whole.size_bytes)}
    assert traffic.by_kind == {"clip": Share(2, old.size_bytes + new.size_bytes)}
    assert traffic.by_voice["af_sky"] == Share(1, new.size_bytes)
    assert traffic.oldest_s == pytest.approx(old.stored_at_s, abs=0.001)
    assert traffic.newest_s == pytest.approx(new.stored_at_s, abs=0.001)
    assert traffic.size_bytes >= old.size_bytes + new.size_bytes
    assert traffic.max_bytes == stores[1].max_bytes


def test_rows_that_tell_nothing_are_counted_too(stores: Stores) -> None:
    folder_of(stores[1]).plant("a" * 32, MODE_RAW, b"")
    found = last_of(stats(stores))
    assert isinstance(found, Stats)
    assert found.stores[1].by_kind == {"unknown": Share(1, 0)}
    assert found.stores[1].oldest_s == 0.0


def test_every_entry_is_listed_with_what_is_known_of_it(stores: Stores) -> None:
    plain, told = clip("One."), rendition("One.", "Two.", text="One. Two.")
    put(stores, plain, pinned=(told,))
    listed = told_by(entries(stores, Selection()))
    assert all(isinstance(step, Listed) for step in listed)
    assert {step.id: step.tier for step in listed if isinstance(step, Listed)} == {
        plain.key.id: "traffic",
        told.key.id: "pinned",
    }
    [first] = [step for step in listed if isinstance(step, Listed) and step.id == told.key.id]
    assert first.about == told.about
    assert first.size_bytes == told.size_bytes


@pytest.fixture
def assorted(stores: Stores) -> dict[str, Entry]:
    """By what is the matter with each."""
    named = {
        "clip": clip("One."),
        "old": clip("Old one.", age_s=10 * DAY_S),
        "sky": clip("Sky.", voice="af_sky"),
        "blend": rendition("Blend.", voice="af_bella(2)+af_sky(1)"),
        "rendition": rendition("One.", "Three."),
        "pinned": rendition("Pinned."),
    }
    put(
        stores,
        *(entry for name, entry in named.items() if name != "pinned"),
        pinned=(named["pinned"],),
    )
    return named


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (select(), {"clip", "old", "sky", "blend", "rendition", "pinned"}),
        (select(kind="clip"), {"clip", "old", "sky"}),
        (select(tier="pinned"), {"pinned"}),
        (select(voice="af_sky"), {"sky", "blend"}),
        (select(voice="af_bella"), {"clip", "old", "blend", "rendition", "pinned"}),
        (select(voice="af_sky(2)+af_bella(4)"), {"blend"}),
        (select(voice="af_bella+af_sky"), set()),
        (select(older_than_s=9 * DAY_S), {"old"}),
        (select(older_than_s=11 * DAY_S), set()),
        (select(text="One."), {"clip", "rendition"}),
        (select(text="One. Old one."), {"clip", "rendition", "old"}),
        (select(text="One.", kind="rendition"), {"rendition"}),
        (select(text="One.", older_than_s=DAY_S), set()),
        (select(kind="clip", voice="af_sky", tier="pinned"), set()),
    ],
)
def test_conditions_select_what_all_of_them_are_true_of(
    stores: Stores, assorted: dict[str, Entry], selection: Selection, names: set[str]
) -> None:
    found = {step.id for step in told_by(entries(stores, selection)) if isinstance(step, Listed)}
    assert found == ids(*(assorted[name] for name in names))


def test_a_text_is_found_in_any_language_and_however_it_is_decorated(stores: Stores) -> None:
    english, french = clip("It isn't 7 o'clock."), clip("Il est tard.", language="f")
    put(stores, english, french)
    for text, entry in (
        ("**It isn’t 7:00.** 😀", english),
        ("Il est tard.", french),
        ("  Il   est\ttard. ", french),
    ):
        found = told_by(entries(stores, select(text=text)))
        assert [step.id for step in found if isinstance(step, Listed)] == [entry.key.id], text


def test_a_voice_or_text_that_cannot_be_is_an_error() -> None:
    with pytest.raises(UnknownVoice, match="af_bella"):
        select(voice="af_bela")
    with pytest.raises(NothingToSay):
        select(text="... 😀")


def test_the_text_that_is_looked_for_is_not_shown_by_a_selection() -> None:
    selection = select(text="My number is 1234.")
    assert "1234" not in repr(selection)
    assert not any(each in repr(selection) for each in selection.says or ())


def test_a_whole_cache_has_no_problems(stores: Stores) -> None:
    put(
        stores,
        clip("One.", words=(WordSpan(0, 3, 0.0, 0.1),), text="One."),
        clip("Long.", seconds=3.0),
        rendition("One.", "Two.", speed=1.25),
        replace(rendition("Over."), expires_at_s=time.time() - 5),
        pinned=(rendition("Pinned."),),
    )
    problems, last = problems_of(verify(stores))
    assert problems == []
    assert last == Verified(checked=5, problems=0, repaired=0)


@pytest.mark.parametrize("repair", [False, True])
def test_everything_that_is_wrong_is_found_and_repaired_where_that_is_wanted(
    stores: Stores, tmp_path: Path, repair: bool
) -> None:
    whole, bent, bent_file = clip("Whole."), rendition("Bent."), clip("Bent.", seconds=2.0)
    lost, no_flac = clip("Lost.", seconds=2.0), entry_of("no flac")
    untold, false = clip("Untold."), clip("False.", voice="af_sky")
    put(stores, whole, bent, no_flac, untold, false, pinned=(bent_file, lost))
    pinned, traffic = map(folder_of, stores)
    damage(traffic, bent)
    damage(pinned, bent_file)
    [(name,)] = pinned.execute("SELECT filename FROM Cache WHERE key = ?", lost.key.id)
    (pinned.path / str(name)).unlink()
    traffic.execute("UPDATE Cache SET tag = NULL WHERE key = ?", untold.key.id)
    traffic.execute(
        "UPDATE Cache SET tag = (SELECT tag FROM Cache WHERE key = ?) WHERE key = ?",
        *(whole.key.id, false.key.id),
    )
    exploded = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(exploded))
    traffic.plant("e" * 32, MODE_PICKLE, bomb)
    traffic.plant(bomb, MODE_RAW, b"", raw=0)
    traffic.plant(7, MODE_RAW, b"")
    traffic.execute("UPDATE Cache SET key = CAST(x'ff61' AS TEXT) WHERE key = 7")
    (traffic.path / "ab").mkdir(exist_ok=True)
    (traffic.path / "ab" / "orphan.val").write_bytes(b"half")

    problems, last = problems_of(verify(stores, repair))
    assert {(it.tier, it.id): it.what for it in problems if it.id is not None} == {
        ("traffic", bent.key.id): "its payload does not match its checksum",
        ("pinned", bent_file.key.id): "its payload does not match its checksum",
        ("pinned", lost.key.id): "its file is missing",
        ("traffic", no_flac.key.id): "its payload is not FLAC",
        ("traffic", untold.key.id): "its row does not tell what it is",
        ("traffic", false.key.id): "its row does not tell what it is",
        ("traffic", "e" * 32): "it is a pickle",
    }
    assert [problem.what for problem in problems if problem.id is None] == [
        "2 rows have keys of no entry",
        "1 file is named by no entry",
    ]
    assert all(problem.repaired is repair for problem in problems)
    assert last == Verified(checked=8, problems=9, repaired=9 if repair else 0)
    assert not exploded.exists()

    remaining, again = problems_of(verify(stores))
    if repair:
        assert again == Verified(checked=3, problems=0, repaired=0)
        assert ids_of(stores) == ids(whole, untold, false)
        assert stores[1].get(false.key.id) == false
        assert not (traffic.path / "ab" / "orphan.val").exists()
        assert traffic.execute("SELECT COUNT(*) FROM Cache") == [(3,)]
    else:
        assert remaining == problems


def test_what_comes_and_goes_while_it_is_verified_is_no_problem(stores: Stores) -> None:
    made = [clip(f"Number {number}.", seconds=1.5) for number in range(20)]
    put(stores, *made)
    steps = verify(stores)
    looked: list[Step] = [Progress(0, 20)]
    assert looked in steps  # It knows by now which there are.
    for entry in made[:10]:
        stores[1].delete(entry.key.id)
    for entry in made[10:15]:
        stores[1].put(clip(f"Number {made.index(entry)}.", seconds=1.0, speed=1.5))
    problems, last = problems_of(steps)
    assert problems == []
    assert isinstance(last, Verified)


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process cannot open any, as when it has too many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_cannot_be_read_now_is_told_and_kept(stores: Stores) -> None:
    large = clip("Large.", seconds=2.0)
    put(stores, large)
    with no_more_files():
        problems, last = problems_of(verify(stores, repair=True))
    what = "it cannot be read: Too many open files"
    assert problems == [Problem(what, large.key.id, "traffic", repaired=False)]
    assert last == Verified(checked=1, problems=1, repaired=0)
    assert stores[1].get(large.key.id) == large


def test_purging_deletes_what_is_selected_and_nothing_else(
    stores: Stores, assorted: dict[str, Entry]
) -> None:
    gone = [assorted["sky"], assorted["blend"]]
    assert last_of(purge(stores, select(voice="af_sky"))) == Purged(
        2, 0, sum(entry.size_bytes for entry in gone)
    )
    assert ids_of(stores) == ids(*assorted.values()) - ids(*gone)


def test_purging_a_text_deletes_its_clips_and_every_rendition_that_says_it(stores: Stores) -> None:
    secret, other = clip("My name is Ann."), clip("My name is Bob.")
    saying, silent = rendition("Hello.", "My name is Ann."), rendition("Hello.", "Bye.")
    pinned = rendition("My name is Ann.", format="wav")
    put(stores, secret, other, saying, silent, pinned=(pinned,))
    last = last_of(purge(stores, select(text="My name is Ann.")))
    assert isinstance(last, Purged)
    assert (last.entries, last.pinned) == (3, 1)
    assert ids_of(stores) == ids(other, silent)


def test_purging_reaches_what_has_expired_and_what_lies_in_files(stores: Stores) -> None:
    over = replace(clip("Over."), expires_at_s=time.time() - 5)
    large = clip("Large.", seconds=2.0)
    put(stores, over, large)
    assert isinstance(last_of(purge(stores, select(kind="clip"))), Purged)
    assert ids_of(stores) == set()
    assert folder_of(stores[1]).value_files() == []


def test_rows_that_tell_nothing_are_purged_by_age_alone(stores: Stores) -> None:
    folder_of(stores[1]).plant("a" * 32, MODE_RAW, b"")
    for spared in (select(voice="af_bella"), select(text="One."), select(kind="clip")):
        assert last_of(purge(stores, spared)) == Purged(0, 0, 0)
    assert last_of(purge(stores, select(older_than_s=5))) == Purged(1, 0, 0)


def test_purging_everything_leaves_nothing_whatever_it_is(stores: Stores) -> None:
    put(stores, *(clip(f"{number}.") for number in range(120)), pinned=(clip("P."),))
    for store in stores:
        folder = folder_of(store)
        folder.plant(b"foreign", MODE_RAW, b"", raw=0)
        folder.plant("untold", MODE_RAW, b"")
        (folder.path / "orphan.val").write_bytes(b"half")
        shutil.copytree(folder.path, store.aside)
    last = last_of(purge_all(stores))
    assert isinstance(last, Purged)
    assert (last.entries, last.pinned) == (123, 2)
    for store in stores:
        assert folder_of(store).execute("SELECT COUNT(*) FROM Cache") == [(0,)]
        assert folder_of(store).value_files() == []
        assert not store.aside.exists()


def test_an_empty_cache_can_be_looked_after(stores: Stores) -> None:
    assert last_of(verify(stores, repair=True)) == Verified(0, 0, 0)
    assert last_of(purge_all(stores)) == Purged(0, 0, 0)
    assert told_by(entries(stores, Selection())) == []


@pytest.mark.parametrize(
    "step",
    [
        Progress(1, 2),
        Progress(1, None, "bytes"),
        Problem("it is a pickle", "a" * 32, "traffic", True),
        Problem("lost"),
        Listed("a" * 32, "pinned", 5, 1.5),
        Verified(1, 2, 3),
    ],
    ids=repr,
)
def test_what_is_told_survives_being_sent(step: Step) -> None:
    line = to_json(step)
    assert b"\n" not in line
    assert from_json(line) == step


def test_all_that_is_known_of_an_entry_survives_being_sent(stores: Stores) -> None:
    put(stores, rendition("Olá.", text="Olá.", language="p"))
    for step in (*told_by(entries(stores, Selection())), *told_by(stats(stores))):
        assert from_json(to_json(step)) == step


def test_a_line_that_is_no_step_is_an_error() -> None:
    for line in (b"", b"{}", b'{"step": "dance"}', b'{"step": "verified"}', b"\xff"):
        with pytest.raises(ValueError):
            from_json(line)
