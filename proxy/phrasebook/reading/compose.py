"""From the files of a book to its phrases: slots filled in, what is inherited in its place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from proxy.phrasebook.book import Phrase, Phrasebook, Problem
from proxy.phrasebook.reading.checked import nearest
from proxy.phrasebook.reading.folder import Folder
from proxy.phrasebook.reading.include import Part
from proxy.phrasebook.reading.lexicon import join_lexicons, unused_lexicons
from proxy.phrasebook.reading.sayable import check_marks, plain_words
from proxy.phrasebook.reading.schema import MAX_TEXT_CHARS
from proxy.phrasebook.reading.slots import (
    MAX_COMBINATIONS,
    combinations,
    expand,
    longest,
    slots_in,
    unused,
)
from proxy.phrasebook.reading.twice import SaidTwice
from proxy.phrasebook.reading.written import Place, Slot, Terms, Text, WrittenPhrase
from synth.audio.recording import BadRecording, Recording, read_recording
from synth.engine import CannotSay
from synth.text.marks import LANGUAGES_WITH_PRONUNCIATIONS
from synth.voices import Language, UnknownLanguage, parse_voice, require_installed

MAX_PHRASES = 100_000
"""Of one book, slots filled in."""

_DEFAULT_SPEEDS = (1.0,)


def compose(book: Part, folder: Folder) -> tuple[Phrasebook, tuple[Problem, ...]]:
    """The book, and what is wrong with its files together. Where that is anything, or something is
    wrong with a file by itself, the book is not whole."""
    composer = _Composer(book, folder)
    return composer.compose(), tuple(composer.problems)


class _Composer:
    def __init__(self, book: Part, folder: Folder) -> None:
        self._book = book
        self._folder = folder
        self._ids: dict[str, Place] = {}
        self._languages: set[str] = set()
        """Codes of those that something is said in."""
        self._unclear = False
        """Whether it is not known of every phrase, since something is wrong with it."""
        self._meant: set[str] = set()
        """Slots that a misspelt name seems to stand for."""
        self._count = 0
        """Of the texts so far."""
        self._said = SaidTwice(folder)
        self._recordings: dict[Path, Recording | None] = {}
        self.problems: list[Problem] = []

    def compose(self) -> Phrasebook:
        file = self._book.file
        if not (file.name or file.misnamed or file.broken):
            self._tell(file.path, file.line, "there is no 'name': write one, as in 'name: support'")
        lexicon, conflicts = join_lexicons(self._book, self._folder)
        self.problems += conflicts
        phrases = tuple(phrase for part in self._book for phrase in self._phrases(part))
        self.problems += self._said.problems(lexicon)
        self._check_slots_are_used(self._book)
        english = self._languages & {*LANGUAGES_WITH_PRONUNCIATIONS}
        if self._languages and not english and not self._unclear:
            self.problems += unused_lexicons(self._book)
        files = [part.file for part in self._book]
        digests = [each.digest for each in files]
        digests += [recording.digest for recording in self._recordings.values() if recording]
        return Phrasebook(
            file.name.text if file.name else "",
            file.path,
            phrases,
            lexicon,
            (*(each.path for each in files), *self._recordings),
            hashlib.sha256("".join(digests).encode()).hexdigest(),
        )

    def _tell(self, path: Path, line: int, message: str) -> None:
        self.problems.append(Problem(path, line, message))

    def _phrases(self, part: Part) -> Iterator[Phrase]:
        told: set[str] = set()
        for written in part.file.phrases:
            terms = written.terms.within(part.terms)
            path, line = part.file.path, written.text.line
            for key, given, example in (
                ("voices", terms.voices, "[af_bella]"),
                ("formats", terms.formats, "[mp3]"),
            ):
                if given is None and key not in told:
                    told.add(key)
                    self._tell(
                        path,
                        line,
                        f"there are no '{key}' for this phrase: write "
                        f"'{key}: {example}' here, or for the whole book",
                    )
            languages = self._languages_of(terms)
            self._check_id(written.id, path)
            if self._count > MAX_PHRASES:
                return
            texts = self._expanded(written.text, terms, path)
            recording = self._recording(written, texts, path)
            for text in self._sayable(texts, languages, path, line):
                phrase = Phrase(
                    text,
                    tuple(voice.spelling for voice in terms.voices or ()),
                    _DEFAULT_SPEEDS if terms.speeds is None else terms.speeds,
                    terms.formats or (),
                    terms.language[0].code if terms.language else None,
                    terms.tags,
                    terms.priority or 0,
                    written.id.text if written.id else None,
                    recording,
                    path,
                    line,
                )
                if written.recording is None or recording is not None:
                    self._said.add(phrase)
                yield phrase

    def _languages_of(self, terms: Terms) -> tuple[Language, ...]:
        """What it is said in; nothing where that cannot be told."""
        found = list(terms.language or ())
        if terms.language is None:
            for voice in terms.voices or ():
                try:
                    require_installed(voice.language)
                except UnknownLanguage as error:
                    self._tell(voice.place.path, voice.place.line, f"voices: {error}")
                    continue
                if parse_voice(voice.spelling).language != voice.language:
                    self._tell(
                        voice.place.path,
                        voice.place.line,
                        "voices: this is a blend of voices of different languages: say which it "
                        "speaks, as in 'language: en-us'",
                    )
                    continue
                found.append(voice.language)
        if not found:
            self._unclear = True
        self._languages.update(language.code for language in found)
        return tuple(dict.fromkeys(found))

    def _check_id(self, id: Text | None, path: Path) -> None:
        if id is None:
            return
        first = self._ids.setdefault(id.text, Place(path, id.line))
        if first != Place(path, id.line):
            where = self._folder.line_of(first.path, first.line, path)
            self._tell(path, id.line, f"id: {id.text!r} stands {where} already: choose another")

    def _expanded(self, text: Text, terms: Terms, path: Path) -> tuple[str, ...]:
        """Nothing where its slots are wrong."""
        try:
            names = slots_in(text.text)
        except ValueError as error:
            self._tell(path, text.line, str(error))
            return ()
        known: dict[str, Slot] = {slot.name: slot for slot in terms.slots}
        values = {}
        for name in names:
            if name in known:
                values[name] = known[name].values
                continue
            near = nearest(name, known)
            self._meant.update(near)
            guess = "".join(f" Did you mean {{{each}}}?" for each in near)
            self._tell(
                path,
                text.line,
                f"there are no values for {{{name}}}.{guess} Write 'slots: {{{name}: [...]}}' "
                "here, or for the whole book",
            )
        if len(values) < len(names):
            return ()
        count = combinations(list(values.values()))
        if count > MAX_COMBINATIONS:
            self._tell(
                path,
                text.line,
                f"the values of its slots make {count} texts of this one, and may make "
                f"{MAX_COMBINATIONS}: give them fewer, or make it several phrases",
            )
            return ()
        length = longest(text.text, values)
        if length > MAX_TEXT_CHARS:
            why = f"this text has {length} characters, and may have {MAX_TEXT_CHARS}: make it two"
            self._tell(path, text.line, why)
            return ()
        self._count += count
        if self._count > MAX_PHRASES:
            why = f"this book has more than {MAX_PHRASES} texts from here on: make it several books"
            self._tell(path, text.line, why)
            return ()
        return tuple(expand(text.text, values))

    def _recording(
        self, written: WrittenPhrase, texts: tuple[str, ...], path: Path
    ) -> Recording | None:
        named = written.recording
        if named is None:
            return None
        if len(texts) > 1:
            self._tell(
                path,
                named.line,
                f"recording: the slots make {len(texts)} texts of this one, and a recording says "
                "one: make each a phrase of its own",
            )
        try:
            file = self._folder.find(named.text, path)
            if file not in self._recordings:
                self._recordings[file] = None
                self._recordings[file] = read_recording(file)
            return self._recordings[file]
        except BadRecording as error:
            self._tell(path, named.line, f"recording: {named.text!r}: {error}")
        except (ValueError, OSError) as error:
            self._tell(path, named.line, f"recording: {error}")
        return None

    def _sayable(
        self, texts: tuple[str, ...], languages: tuple[Language, ...], path: Path, line: int
    ) -> Iterator[str]:
        """The texts before the first that cannot be said."""
        for text in texts:
            try:
                check_marks(text)
                for language in languages:
                    self._said.words[text, language.code] = plain_words(text, language)
            except CannotSay as error:
                filled = "" if len(texts) == 1 else f"{text[:60]!r}: "
                self._tell(path, line, f"{filled}{error}")
                return
            yield text

    def _check_slots_are_used(self, part: Part) -> frozenset[str]:
        """Returns what is mentioned in the part."""
        used = part.file.mentions.union(*(self._check_slots_are_used(each) for each in part.parts))
        if not any(each.file.broken for each in part):
            for slot in part.file.terms.slots:
                if slot.name not in used | self._meant:
                    self._tell(slot.place.path, slot.place.line, unused(slot.name))
        return used
