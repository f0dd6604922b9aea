"""What may stand in a phrasebook, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.api.schema import MAX_INPUT_CHARS
from proxy.api.schema import MAX_SPEED as MAX_SPEED_OF_REQUESTS
from proxy.api.schema import MIN_SPEED as MIN_SPEED_OF_REQUESTS
from proxy.phrasebook.reading.document import MAX_DEPTH, read_document
from proxy.phrasebook.reading.read import read_book, read_books, shipped_directory
from proxy.phrasebook.reading.schema import (
    MAX_SPEED,
    MAX_TEXT_CHARS,
    MIN_SPEED,
    PhrasebookFile,
    json_schema,
)
from proxy.phrasebook.reading.slots import MAX_COMBINATIONS
from synth.audio.codecs import CODECS, SAMPLE_RATES_HZ
from tests.proxy.phrasebooks import HEAD, PHRASES, book_of, told, write, write_recording

FULL = """\
name: front-desk
language: en-us
voices: [af_bella, af_sky + af_bella(1)]
speeds: [1.0, 1.234, 1.23]
formats: [mp3, wav_8000, {codec: pcm, sample_rate: 16000}, {codec: wav},
  mp3_8000_24k, {codec: opus, bitrate_kbps: 24}, ulaw,
  {codec: mp3, bitrate_kbps: 64, sample_rate: 8000}]
tags: [support]
priority: 5
lexicon: {Kokoro: /kˈOkəɹO/, New York: nˈu jˈɔɹk}
slots: {company: [Acme, Globex], day: [Monday, Tuesday]}
phrases:
  - Plain text.
  - text: Thank you for calling {company} on {day}.
    id: greeting
    slots: {company: [Initech, Hooli]}
  - text: Hola.
    voices: [ef_dora]
    language: es
    speeds: [2]
    formats: [wav]
    tags: [spanish, support]
    priority: -100
  - text: One moment, [pause:0.4s] please. It is [Kokoro](/kˈOkəɹO/).
  - "Open on {day}: all of it."
"""


def test_a_book_is_read_with_what_each_phrase_inherits(tmp_path: Path) -> None:
    book = book_of(tmp_path, FULL)
    assert (book.name, book.path) == ("front-desk", tmp_path / "book.yaml")
    assert book.lexicon.phonemes == {"Kokoro": "kˈOkəɹO", "New York": "nˈu jˈɔɹk"}
    plain, *_ = book.phrases
    assert plain.text == "Plain text."
    assert plain.voices == ("af_bella", "af_bella+af_sky")
    assert plain.speeds == (1.0, 1.23)
    assert plain.formats == (
        *("mp3", "wav_8000", "pcm_16000", "wav"),
        *("mp3_8000_24k", "opus_24k", "ulaw", "mp3_8000_64k"),
    )
    assert (plain.language, plain.tags, plain.priority) == ("a", ("support",), 5)
    assert (plain.id, plain.recording) == (None, None)
    assert (plain.path, plain.line) == (tmp_path / "book.yaml", 13)
    [spanish] = [phrase for phrase in book.phrases if phrase.text == "Hola."]
    assert (spanish.voices, spanish.language) == (("ef_dora",), "e")
    assert (spanish.speeds, spanish.formats, spanish.priority) == ((2.0,), ("wav",), -100)
    assert spanish.tags == ("support", "spanish")


def test_what_nobody_sets_has_a_default(tmp_path: Path) -> None:
    [phrase] = book_of(tmp_path, PHRASES + "  - Hi.").phrases
    assert (phrase.speeds, phrase.tags, phrase.priority) == ((1.0,), (), 0)
    assert phrase.language is None


def test_slots_are_filled_in_in_order_and_the_last_changes_fastest(tmp_path: Path) -> None:
    book = book_of(tmp_path, FULL)
    greetings = [phrase.text for phrase in book.phrases if phrase.id == "greeting"]
    assert greetings == [
        "Thank you for calling Initech on Monday.",
        "Thank you for calling Initech on Tuesday.",
        "Thank you for calling Hooli on Monday.",
        "Thank you for calling Hooli on Tuesday.",
    ]


def test_a_slot_that_comes_twice_has_one_value(tmp_path: Path) -> None:
    book = book_of(tmp_path, HEAD + "slots: {n: [a, b]}\nphrases: ['{n} and {n}.']")
    assert [phrase.text for phrase in book.phrases] == ["a and a.", "b and b."]


def test_values_make_as_many_texts_as_are_allowed(tmp_path: Path) -> None:
    values = ", ".join(f"x{number}" for number in range(MAX_COMBINATIONS))
    book = book_of(tmp_path, HEAD + f"slots: {{n: [{values}]}}\nphrases: ['{{n}}']")
    assert len(book.phrases) == MAX_COMBINATIONS


def test_a_recording_goes_with_its_phrase(tmp_path: Path) -> None:
    write_recording(tmp_path / "ann" / "hello.wav")
    content = PHRASES + "  - {text: Hello., recording: ann/hello.wav}\n  - Bye."
    book = book_of(tmp_path, content)
    hello, bye = book.phrases
    assert hello.recording is not None and bye.recording is None
    assert book.files == (tmp_path / "book.yaml", tmp_path / "ann" / "hello.wav")
    write_recording(tmp_path / "ann" / "hello.wav", tone_hz=300)
    assert book_of(tmp_path, content).digest != book.digest


def test_a_slot_with_one_value_can_have_a_recording(tmp_path: Path) -> None:
    write_recording(tmp_path / "hello.wav")
    content = PHRASES + "  - {text: 'Hi {n}.', slots: {n: [Ann]}, recording: hello.wav}"
    assert [phrase.text for phrase in book_of(tmp_path, content).phrases] == ["Hi Ann."]


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    book = book_of(tmp_path, FULL)
    assert book_of(tmp_path, FULL).digest == book.digest
    assert book_of(tmp_path, FULL + "  - More.").digest != book.digest


def test_the_same_words_may_come_twice_if_they_are_said_alike(tmp_path: Path) -> None:
    content = HEAD + "lexicon: {Kokoro: kˈO}\nphrases:\n"
    content += "  - Hi Kokoro.\n  - Hi Kokoro.\n  - Hi [Kokoro](/kˈO/).\n"
    content += "  - {text: 'Hi [Kokoro](/kO/).', voices: [af_sky]}\n"
    content += "  - {text: 'Hi [Kokoro](/kOO/).', speeds: [2]}\n"
    assert len(book_of(tmp_path, content).phrases) == 5


def test_a_voice_may_speak_another_language_than_its_own(tmp_path: Path) -> None:
    [phrase] = book_of(tmp_path, PHRASES + "  - {text: Hola., language: es}").phrases
    assert (phrase.voices, phrase.language) == (("af_bella",), "e")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_byte_order_mark_and_any_line_endings_are_taken(tmp_path: Path, ending: str) -> None:
    content = "\ufeff" + (PHRASES + "  - Hi.\n  - Ho.\n").replace("\n", ending)
    (tmp_path / "book.yaml").write_bytes(content.encode())
    [book] = read_books(tmp_path).books
    assert [phrase.line for phrase in book.phrases] == [5, 6]


def test_the_shipped_books_are_whole() -> None:
    books = read_books(shipped_directory())
    assert [str(problem) for problem in books.problems] == []
    assert books.books


def test_one_book_is_read_alone(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": PHRASES + "  - Hi.", "b.yaml": "name: ["})
    books = read_book(tmp_path / "a.yaml", tmp_path)
    assert ([book.name for book in books.books], books.problems) == (["test"], ())
    missing = read_book(tmp_path / "c.yaml")
    assert told(missing, tmp_path) == ["c.yaml: cannot be read: No such file or directory"]


def test_limits_are_those_of_requests() -> None:
    assert MAX_TEXT_CHARS == MAX_INPUT_CHARS
    assert (MIN_SPEED, MAX_SPEED) == (MIN_SPEED_OF_REQUESTS, MAX_SPEED_OF_REQUESTS)


def test_what_is_nested_too_deeply_is_not_read_further() -> None:
    document = read_document("[" * 100_000)
    assert document.broken and len(document.problems) == 1
    assert not read_document("[" * MAX_DEPTH + "]" * MAX_DEPTH).broken


def test_the_schema_says_what_it_is_and_describes_every_key() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "kokoro-edge phrasebook"
    json.dumps(schema)
    for described in (schema, *schema["$defs"].values()):
        assert all(each["description"] for each in described["properties"].values())
    entry = schema["$defs"]["FormatEntry"]["properties"]
    assert entry["codec"]["enum"] == [*CODECS]
    assert entry["sample_rate"]["enum"] == [*SAMPLE_RATES_HZ]
    assert entry["bitrate_kbps"]["minimum"] == 1
    assert "af_bella" in schema["properties"]["voices"]["items"]["examples"]
    assert "null" not in json.dumps(schema)


def _checker() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def test_the_schema_and_the_models_take_every_shipped_file_and_good_examples() -> None:
    checker = _checker()
    shipped = sorted(shipped_directory().rglob("*.yaml"))
    assert shipped
    for content in (FULL, *(path.read_text(encoding="utf-8") for path in shipped)):
        checker.validate(yaml.safe_load(content))
        PhrasebookFile.model_validate_json(json.dumps(yaml.safe_load(content)))


@pytest.mark.parametrize(
    "mistake",
    [
        *("formats: [mp3_k]", "formats: [ogg]", "formats: [{codec: mp3, bitrate_kbps: 0}]"),
        *("voices: af_bella", "speeds: [5]", "tags: [a b]", "extra: 1", "language:"),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(tmp_path: Path, mistake: str) -> None:
    content = f"name: test\nphrases: [Hi.]\n{mistake}\n"
    assert not _checker().is_valid(yaml.safe_load(content))
    assert read_books(write(tmp_path, {"book.yaml": content})).problems


def test_a_book_with_a_problem_is_not_among_the_books_and_others_are(tmp_path: Path) -> None:
    good = PHRASES.replace("test", "good") + "  - Hi."
    write(tmp_path, {"a.yaml": PHRASES + "  - 5", "b.yml": good})
    books = read_books(tmp_path)
    assert [book.name for book in books.books] == ["good"]
    assert [problem.path.name for problem in books.problems] == ["a.yaml"]
