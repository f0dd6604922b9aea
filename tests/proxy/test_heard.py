"""What was heard: counts that are never too high, in little room, and that survive a restart."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.phrasebook.mining.heard import Asked, Heard, Sentence, Totals
from proxy.whole_file import write_whole

FEW = 6
MILLION = 1_000_000


def sentence(
    text: str, voice: str = "af_bella", language: str = "a", speed: float = 1.0
) -> Sentence:
    return Sentence(text, voice, language, speed)


def missed(text: str) -> Asked:
    return Asked(sentence(text), in_phrasebook=False, missed=True)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_sentence_counts_once_for_each_request_that_has_it() -> None:
    heard = Heard()
    heard.note([missed("Sure."), missed("Sure."), missed("One moment.")])
    heard.note([missed("Sure.")])
    assert heard.counted() == [
        (sentence("Sure."), 2, 2),
        (sentence("One moment."), 1, 1),
    ]


def test_the_same_words_in_another_voice_or_at_another_speed_are_another_sentence() -> None:
    heard = Heard()
    said = {
        sentence("Sure."),
        sentence("Sure.", voice="am_adam"),
        sentence("Sure.", voice="bf_emma", language="b"),
        sentence("Sure.", speed=1.25),
    }
    heard.note([Asked(each, False, True) for each in said])
    assert {counted.sentence for counted in heard.counted()} == said


def test_what_a_phrasebook_has_is_in_the_totals_only() -> None:
    heard = Heard()
    heard.note([Asked(sentence("Sure."), in_phrasebook=True, missed=False), missed("No.")])
    assert [counted.sentence.text for counted in heard.counted()] == ["No."]
    assert heard.totals == Totals(
        requests=1,
        sentences=2,
        characters=8,
        sentences_in_phrasebooks=1,
        characters_in_phrasebooks=5,
        sentences_missed=1,
        characters_missed=3,
    )


def test_what_the_cache_had_is_counted_and_not_missed() -> None:
    heard = Heard()
    heard.note([Asked(sentence("Sure."), in_phrasebook=False, missed=False)])
    assert heard.counted() == [(sentence("Sure."), 1, 1)]
    assert (heard.totals.sentences, heard.totals.sentences_missed) == (1, 0)


@pytest.mark.parametrize("max_sentences", [1, FEW, 100, 4096])
def test_as_many_sentences_as_there_is_room_for_are_counted_without_error(
    max_sentences: int,
) -> None:
    heard = Heard(max_sentences)
    for number in range(max_sentences):
        heard.note([missed(f"This is number {number}.")])
    assert heard.max_error == 0
    assert len(heard.counted()) == max_sentences


def test_there_is_no_room_for_less_than_one_sentence() -> None:
    with pytest.raises(ValueError, match="max_sentences"):
        Heard(0)


@given(st.lists(st.integers(0, 40), max_size=300))
def test_a_count_is_never_too_high_and_never_lower_than_its_error(said: list[int]) -> None:
    heard = Heard(FEW)
    for number in said:
        heard.note([missed(str(number))])
    exactly = Counter(map(str, said))
    for counted in heard.counted():
        times = exactly.pop(counted.sentence.text)
        assert counted.at_least <= times <= counted.at_most
        assert counted.at_most - counted.at_least <= heard.max_error
    assert all(times <= heard.max_error for times in exactly.values())


def test_a_million_different_sentences_take_little_room_and_hide_nothing_that_is_frequent() -> None:
    heard = Heard()
    before_bytes, began_s = resident_bytes(), time.process_time()
    for number in range(MILLION):
        heard.note([missed(f"Sentence {number} is said to nobody else, ever again.")])
        if number % 100 == 0:
            heard.note([missed("One moment, please.")])
    took_s = time.process_time() - began_s
    assert resident_bytes() - before_bytes < 32 * 1024**2
    assert took_s / MILLION < 50e-6
    assert len(heard.to_bytes()) < 4 * 1024**2
    first = heard.counted()[0]
    assert first.sentence.text == "One moment, please."
    assert first.at_least <= MILLION / 100 <= first.at_most
    assert heard.max_error < 200
    assert heard.totals.requests == MILLION + MILLION / 100


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.booleans(), st.booleans()),
        max_size=20,
    )
)
def test_what_is_kept_is_read_back(said: list[tuple[str, bool, bool]]) -> None:
    heard = Heard(FEW)
    for text, in_phrasebook, made in said:
        heard.note([Asked(sentence(text, speed=0.85), in_phrasebook, made)])
    back = Heard.from_bytes(heard.to_bytes(), FEW)
    assert back.counted() == heard.counted()
    assert back.totals == heard.totals
    assert back.max_error == heard.max_error


def test_counting_goes_on_where_it_was() -> None:
    heard = Heard()
    heard.note([missed("Sure.")])
    back = Heard.from_bytes(heard.to_bytes())
    back.note([missed("Sure.")])
    assert back.counted() == [(sentence("Sure."), 2, 2)]
    assert back.totals.requests == 2


def test_a_count_with_more_room_can_be_read_into_less() -> None:
    heard = Heard(1000)
    for number in range(1000):
        heard.note([missed(f"Number {number}."), missed("Sure.")])
    back = Heard.from_bytes(heard.to_bytes(), FEW)
    assert len(back.counted()) <= 2 * FEW
    first = back.counted()[0]
    assert first.sentence.text == "Sure."
    assert first.at_least <= 1000 <= first.at_most


@given(st.data())
def test_what_is_damaged_is_not_read(data: st.DataObject) -> None:
    heard = Heard()
    heard.note([missed("Sure."), missed("One moment.")])
    whole = heard.to_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(changed), whole[:place], whole + b"\0"):
        with pytest.raises(ValueError):
            Heard.from_bytes(damaged)


def test_another_version_is_not_read() -> None:
    with pytest.raises(ValueError, match="another version"):
        Heard.from_bytes(Heard().to_bytes().replace(b"heard 1", b"heard 2"))


def test_what_is_saved_can_be_loaded_and_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "heard"
    heard = Heard()
    heard.note([missed("Sure.")])
    write_whole(path, heard.to_bytes())
    assert Heard.load(path).counted() == heard.counted()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    heard.note([missed("Sure.")])
    write_whole(path, heard.to_bytes())
    assert Heard.load(path).totals.requests == 2
    assert os.listdir(tmp_path) == ["heard"]


def test_what_cannot_be_saved_leaves_nothing_behind(tmp_path: Path) -> None:
    in_the_way = tmp_path / "heard"
    in_the_way.mkdir()
    with pytest.raises(OSError):
        write_whole(in_the_way, Heard().to_bytes())
    with pytest.raises(OSError):
        write_whole(tmp_path / "nowhere" / "heard", Heard().to_bytes())
    assert os.listdir(tmp_path) == ["heard"]


def test_what_was_never_saved_is_told_from_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "heard"
    with pytest.raises(FileNotFoundError):
        Heard.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError):
        Heard.load(path)
