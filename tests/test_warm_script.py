"""The pure parts of `scripts/bench warm`: nothing here needs the model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import warm
from warm_plain import ASKED, Asked, Phrase, speech_in

from proxy.phrasebook.reading.read import read_books
from synth.engine import SAMPLE_RATE_HZ

BOOK = """\
name: desk
voices: [af_bella, bf_emma]
speeds: [1.0, 1.25]
formats: [mp3, {codec: wav, sample_rate: 8000}]
priority: 3
lexicon: {Kokoro: kˈOkəɹO}
phrases:
  - Kokoro speaks.
  - {text: "One moment. [pause:0.5s] Thank you.", voices: [am_adam], speeds: [1.0]}
  - {text: "Bonjour.", voices: [ff_siwis], language: fr-fr, speeds: [1.0]}
"""
OTHER = "{name: other, voices: [am_adam], formats: [pcm], phrases: [One moment. Thank you., No.]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "desk.yaml").write_text(BOOK, encoding="utf-8")
    (tmp_path / "other.yaml").write_text(OTHER, encoding="utf-8")
    return tmp_path


def test_books_are_chosen_by_name_and_an_unknown_name_ends_it(folder: Path) -> None:
    found = read_books(folder)
    assert found.problems == ()
    assert warm.choose(found.books, ["all"]) == [*found.books]
    assert [book.name for book in warm.choose(found.books, ["other", "other"])] == ["other"]
    with pytest.raises(SystemExit, match="'desks'; there are desk, other"):
        warm.choose(found.books, ["desks"])


def test_the_loop_says_each_phrase_once_in_every_voice_and_speed(folder: Path) -> None:
    phrases = warm.phrases_in(read_books(folder).books)
    assert phrases == [
        Phrase("Kokoro speaks.", "af_bella", "a", 1.0),
        Phrase("Kokoro speaks.", "af_bella", "a", 1.25),
        Phrase("Kokoro speaks.", "bf_emma", "b", 1.0),
        Phrase("Kokoro speaks.", "bf_emma", "b", 1.25),
        Phrase("One moment. Thank you.", "am_adam", "a", 1.0),
        Phrase("Bonjour.", "ff_siwis", "f", 1.0),
        Phrase("No.", "am_adam", "a", 1.0),
    ]


def test_a_book_that_was_cut_short_is_read_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    books = [warm.shortened(book, 2) for book in read_books(folder).books]
    assert [len(book.phrases) for book in books] == [2, 2]
    again = read_books(warm.write_books(books, tmp_path / "short"))
    assert again.problems == ()
    assert warm.phrases_in(again.books) == warm.phrases_in(books)
    for book, same in zip(books, again.books, strict=True):
        assert (same.name, same.lexicon) == (book.name, book.lexicon)
        for phrase, kept in zip(book.phrases, same.phrases, strict=True):
            assert (kept.text, kept.formats) == (phrase.text, phrase.formats)
            assert (kept.language, kept.priority) == (phrase.language, phrase.priority)


def test_what_the_loop_is_asked_for_is_read_as_it_was_written(tmp_path: Path) -> None:
    asked = Asked(tmp_path, "cpu", 2, [Phrase("Yes.", "af_bella(2)+af_sky(1)", "a", 1.0)])
    assert ASKED.validate_json(ASKED.dump_json(asked)) == asked


def test_the_silence_around_a_phrase_is_no_speech() -> None:
    at_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 220 * at_s)).astype(np.float32)
    silence = np.zeros(SAMPLE_RATE_HZ // 2, np.float32)
    assert speech_in(np.concatenate([silence, tone, silence]), 1.0) == pytest.approx(1, abs=0.06)
    assert speech_in(silence, 1.0) == 0


def test_a_ratio_is_the_middle_of_the_rounds() -> None:
    assert warm.ratio([3.0], [2.0]) == "1.50"
    assert warm.ratio([3.0, 2.0, 1.0], [2.0, 2.0, 2.0]) == "1.00 (0.50 to 1.50)"


def test_what_a_folder_takes_on_disk_grows_with_what_is_in_it(tmp_path: Path) -> None:
    before_bytes = warm.disk_bytes(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(np.random.default_rng(0).bytes(100_000))
    assert warm.disk_bytes(tmp_path) - before_bytes >= 100_000


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--help"], 0, "plain loop"),
        (["--phrases", "0"], 2, "--phrases"),
        (["--books", "nobody"], 1, "no book 'nobody'; there are telephone-"),
    ],
)
def test_it_explains_itself_and_what_is_wrong(options: list[str], code: int, said: str) -> None:
    command = [sys.executable, str(Path(warm.__file__)), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr


def test_without_the_model_it_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(warm.__file__))]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env={"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["the model is not here yet: run `kokoro-edge fetch`"]
