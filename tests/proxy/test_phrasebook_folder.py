"""Folders of phrasebooks, and files that include others."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.phrasebook.reading.folder import MAX_FILE_BYTES
from proxy.phrasebook.reading.read import read_books
from tests.proxy.phrasebooks import HEAD, PHRASES, told, write, write_recording


def problems(folder: Path) -> list[str]:
    return told(read_books(folder), folder)


def test_every_file_of_the_folder_is_a_book_but_those_that_are_included(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b.yml": PHRASES.replace("test", "b") + "  - Hi.",
            "a.yaml": PHRASES.replace("test", "a") + "  - Hi.\ninclude: [part.yaml]",
            "part.yaml": "phrases: [Ho.]",
            "notes.txt": "no book",
            "sub/c.yaml": PHRASES.replace("test", "c") + "  - Hi.",
        },
    )
    books = read_books(tmp_path)
    assert told(books, tmp_path) == []
    assert [book.name for book in books.books] == ["a", "b"]


def test_what_is_included_comes_after_and_inherits_what_it_does_not_set(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "book.yaml": HEAD
            + "tags: [all]\npriority: 3\nslots: {who: [Ann], when: [today]}\n"
            + "lexicon: {Kokoro: kO}\ninclude: [parts/one.yaml, parts/two.yaml]\n"
            + "phrases: ['I am {who}, {when}.']",
            "parts/one.yaml": "voices: [af_sky]\ntags: [one]\nslots: {who: [Bob, Eve]}\n"
            "include: [deep/three.yaml]\nphrases: ['{who} speaks {when}.']",
            "parts/two.yaml": "formats: [mp3]\nlexicon: {Acme: ak}\nphrases: [Two.]",
            "parts/deep/three.yaml": "name: three\nspeeds: [2]\nphrases: ['{who} here.']",
        },
    )
    books = read_books(tmp_path)
    assert told(books, tmp_path) == []
    [book] = books.books
    assert [phrase.text for phrase in book.phrases] == [
        "I am Ann, today.",
        "Bob speaks today.",
        "Eve speaks today.",
        "Bob here.",
        "Eve here.",
        "Two.",
    ]
    first, one, _, three, _, two = book.phrases
    assert [each.voices for each in (first, one, three, two)] == [
        ("af_bella",),
        ("af_sky",),
        ("af_sky",),
        ("af_bella",),
    ]
    assert (one.tags, three.tags, two.tags) == (("all", "one"), ("all", "one"), ("all",))
    assert (three.speeds, three.formats, three.priority) == ((2.0,), ("pcm",), 3)
    assert two.formats == ("mp3",)
    assert (three.path, three.line) == (tmp_path / "parts" / "deep" / "three.yaml", 3)
    assert book.lexicon.phonemes == {"Kokoro": "kO", "Acme": "ak"}
    assert [path.name for path in book.files] == ["book.yaml", "one.yaml", "three.yaml", "two.yaml"]
    before = book.digest
    write(tmp_path, {"parts/two.yaml": "phrases: [Three.]"})
    assert read_books(tmp_path).books[0].digest != before


def test_a_file_that_only_includes_is_a_book(tmp_path: Path) -> None:
    write(tmp_path, {"book.yaml": HEAD + "include: [p/a.yaml]", "p/a.yaml": "phrases: [Hi.]"})
    assert problems(tmp_path) == []


def test_paths_begin_at_the_file_that_they_stand_in(tmp_path: Path) -> None:
    write_recording(tmp_path / "p" / "hi.wav")
    files = {
        "book.yaml": HEAD + "include: [p/q/a.yaml]",
        "p/q/a.yaml": "include: [../b.yaml]",
        "p/b.yaml": "phrases: [{text: Hi., recording: hi.wav}]",
    }
    write(tmp_path, files)
    [book] = read_books(tmp_path).books
    assert book.files[2:] == (tmp_path / "p" / "b.yaml", tmp_path / "p" / "hi.wav")


def test_a_circle_is_told_once_where_it_closes(tmp_path: Path) -> None:
    files = {
        "book.yaml": HEAD + "include: [parts/a.yaml]\nphrases: [Hi.]",
        "parts/a.yaml": "include: [b.yaml]",
        "parts/b.yaml": "phrases: [Ho.]\ninclude: [a.yaml]",
    }
    assert problems(write(tmp_path, files)) == [
        "parts/b.yaml:2: include: this is a circle: parts/a.yaml → parts/b.yaml → parts/a.yaml. "
        "Take one of the includes out"
    ]


def test_books_that_include_each_other_are_a_circle(tmp_path: Path) -> None:
    files = {
        name: f"name: {name[0]}\nvoices: [af_bella]\nformats: [pcm]\ninclude: [{other}]"
        for name, other in (("a.yaml", "b.yaml"), ("b.yaml", "a.yaml"))
    }
    assert problems(write(tmp_path, files)) == [
        "b.yaml:4: include: this is a circle: a.yaml → b.yaml → a.yaml. "
        "Take one of the includes out"
    ]


def test_a_book_has_each_file_once(tmp_path: Path) -> None:
    files = {
        "book.yaml": HEAD + "include:\n  - p/a.yaml\n  - p/b.yaml",
        "p/a.yaml": "include: [b.yaml]",
        "p/b.yaml": "phrases: [Hi.]",
    }
    assert problems(write(tmp_path, files)) == [
        "book.yaml:6: include: 'p/b.yaml' is included already, on line 1 of p/a.yaml: a book has "
        "each file once"
    ]


def test_a_chain_of_includes_has_an_end(tmp_path: Path) -> None:
    files = {f"p/{n}.yaml": f"include: [{n + 1}.yaml]" for n in range(3000)}
    files["book.yaml"] = HEAD + "include: [p/0.yaml]"
    [problem] = problems(write(tmp_path, files))
    assert problem.startswith("p/19.yaml:1: include: more than 20 files include each other")


@pytest.mark.parametrize("written", ["../outside.yaml", "p/../../outside.yaml", "link.yaml", "ABS"])
def test_nothing_outside_the_folder_is_included(tmp_path: Path, written: str) -> None:
    outside = write(tmp_path, {"outside.yaml": "phrases: [Secret.]"}) / "outside.yaml"
    folder = write(tmp_path / "books", {"p/x.yaml": ""})
    (folder / "sub").mkdir()
    (folder / "link.yaml").symlink_to(outside)
    written = written.replace("ABS", str(outside))
    write(folder, {"book.yaml": HEAD + f"include: [{written}]"})
    assert problems(folder) == [
        f"book.yaml:4: include: {written!r} lies outside the folder of this book: copy it there",
        "link.yaml: is a link to outside the folder: copy the file in its place",
    ]


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    write(tmp_path, {"data/book.yaml": PHRASES + "  - Hi."})
    (tmp_path / "book.yaml").symlink_to(Path("data") / "book.yaml")
    [book] = read_books(tmp_path).books
    assert book.path == tmp_path / "book.yaml"


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "book.yaml").symlink_to("book.yaml")
    [problem] = problems(tmp_path)
    assert problem.startswith("book.yaml: cannot be read: ")


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"name: test\n\xff\xfe\x00")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    write(tmp_path, {"z.yaml": PHRASES + "  - 5"})
    assert problems(tmp_path) == [
        "binary.yaml:2: this is not UTF-8: save the file as that",
        "folder.yaml: cannot be read: it is a folder",
        "large.yaml: is larger than 2 MiB: make several files of it",
        "z.yaml:5: phrases: YAML reads 5 as a number, not as text: put it in quotes",
    ]


def test_a_part_is_not_taken_for_a_book_while_its_book_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"book.yaml": "include: [part.yaml", "part.yaml": "phrases: [Hi.]"})
    [problem] = problems(tmp_path)
    assert problem.startswith("book.yaml:1: this is not YAML")


def test_a_mistake_in_what_two_books_include_is_told_once(tmp_path: Path) -> None:
    files = {
        f"{name}.yaml": HEAD.replace("test", name) + "include: [p/x.yaml]" for name in ("a", "b")
    }
    books = read_books(write(tmp_path, files | {"p/x.yaml": "phrases: [Hi., '...']"}))
    assert told(books, tmp_path) == [
        "p/x.yaml:1: there is nothing to say here: the text has no letters or digits"
    ]
    assert books.books == ()


def test_an_included_file_may_be_wrong_in_one_book_alone(tmp_path: Path) -> None:
    files = {
        "a.yaml": HEAD.replace("test", "a") + "include: [p/x.yaml]",
        "b.yaml": HEAD.replace("test", "b") + "slots: {who: [Ann]}\ninclude: [p/x.yaml]",
        "p/x.yaml": "phrases: ['{who}.']",
    }
    books = read_books(write(tmp_path, files))
    assert [book.name for book in books.books] == ["b"]
    assert [problem.path.name for problem in books.problems] == ["x.yaml"]


def test_two_books_of_one_name_are_told_of_in_the_later_one(tmp_path: Path) -> None:
    books = read_books(write(tmp_path, {f"{n}.yaml": PHRASES + "  - Hi." for n in ("a", "b")}))
    assert [book.path.name for book in books.books] == ["a.yaml"]
    assert told(books, tmp_path) == [
        "b.yaml:1: name: 'test' is the name of a.yaml already: choose another"
    ]


def test_a_word_has_the_same_phonemes_in_all_of_a_book(tmp_path: Path) -> None:
    files = {
        "book.yaml": PHRASES + "  - Hi.\nlexicon: {Kokoro: a}\ninclude: [p/x.yaml]",
        "p/x.yaml": "lexicon:\n  Hi: b\n  kokoro: c\nphrases: [Ho.]",
    }
    assert problems(write(tmp_path, files)) == [
        "p/x.yaml:3: lexicon: 'kokoro' has other phonemes on line 6 of book.yaml, and a book has "
        "one lexicon: keep one of them"
    ]


def test_an_id_is_told_of_with_the_file_that_has_it_already(tmp_path: Path) -> None:
    files = {
        "book.yaml": PHRASES + "  - {text: Hi., id: a}\ninclude: [p/x.yaml]",
        "p/x.yaml": "phrases: [{text: Ho., id: a}]",
    }
    assert problems(write(tmp_path, files)) == [
        "p/x.yaml:1: id: 'a' stands on line 5 of book.yaml already: choose another"
    ]


def test_a_folder_that_holds_no_book_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"notes.txt": "no book"})
    assert [str(each) for each in read_books(tmp_path).problems] == [
        f"{tmp_path}: holds no phrasebook (*.yaml or *.yml)"
    ]
    nowhere = tmp_path / "nowhere"
    assert [str(each) for each in read_books(nowhere).problems] == [
        f"{nowhere}: is not a folder of phrasebooks"
    ]
