"""From a file's content to what it says. Of one file alone: what it inherits comes later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from proxy.phrasebook.book import Problem
from proxy.phrasebook.reading import schema
from proxy.phrasebook.reading.checked import (
    Tell,
    as_mapping_told,
    checked,
    each,
    entries,
    items,
    nearest,
    refuse_unknown,
)
from proxy.phrasebook.reading.document import Mapping, Node, Scalar, read_document, texts_in
from proxy.phrasebook.reading.slots import mentions, unused
from proxy.phrasebook.reading.written import (
    NamedVoice,
    Place,
    Pronunciation,
    Slot,
    Terms,
    Text,
    WrittenFile,
    WrittenPhrase,
    unreadable,
)
from synth.audio.formats import NoSuchFormat, format_of
from synth.voices import Language, parse_language, parse_voice

_FILE_KEYS = tuple(schema.PhrasebookFile.model_fields)
_PHRASE_KEYS = tuple(schema.PhraseEntry.model_fields)
_FORMAT_KEYS = tuple(schema.FormatEntry.model_fields)


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


_TEXT: TypeAdapter[str] = _adapter(str)
_NAME: TypeAdapter[str] = _adapter(schema.Name)
_VOICE: TypeAdapter[str] = _adapter(schema.Voice)
_LANGUAGE: TypeAdapter[str] = _adapter(schema.LanguageName)
_SPEED: TypeAdapter[float] = _adapter(schema.Speed)
_FORMAT: TypeAdapter[str] = _adapter(schema.FormatName)
_CODEC: TypeAdapter[str] = _adapter(schema.Codec)
_RATE_HZ: TypeAdapter[int] = _adapter(schema.SampleRateHz)
_BITRATE_KBPS: TypeAdapter[int] = _adapter(schema.BitrateKbps)
_PRIORITY: TypeAdapter[int] = _adapter(schema.Priority)
_SLOT_NAME: TypeAdapter[str] = _adapter(schema.SlotName)
_SLOT_VALUE: TypeAdapter[str] = _adapter(schema.SlotValue)
_WORD: TypeAdapter[str] = _adapter(schema.Word)
_PHONEMES: TypeAdapter[str] = _adapter(schema.Phonemes)
_PATH: TypeAdapter[str] = _adapter(schema.RelativePath)


def parse_file(path: Path, content: bytes) -> WrittenFile:
    """What the file says. Never raises: what is wrong is in `problems`, and left out."""
    problems: list[Problem] = []

    def tell(line: int, message: str) -> None:
        problems.append(Problem(path, line, message))

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        tell(content[: error.start].count(b"\n") + 1, "this is not UTF-8: save the file as that")
        return unreadable(path, *problems)
    document = read_document(text)
    for line, message in document.problems:
        tell(line, message)
    if isinstance(document.root, Mapping):
        digest = hashlib.sha256(content).hexdigest()
        written = _FileReader(path, tell).read(document.root, digest)
        return replace(written, problems=tuple(problems))
    if not document.broken:
        what = "the file is empty" if document.root is None else "this is no phrasebook"
        tell(1, f"{what}: write 'name:', 'voices:', 'formats:' and 'phrases:'")
    return unreadable(path, *problems)


class _FileReader:
    """Reads the mappings of one file."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path = path
        self._tell = tell

    def read(self, root: Mapping, digest: str) -> WrittenFile:
        meant = refuse_unknown(root, _FILE_KEYS, self._tell)
        named = root.get("name")
        name = self._text(_NAME, named, "name")
        include = root.get("include")
        if root.get("phrases") is None and include is None and not meant & {"phrases", "include"}:
            self._tell(root.line, "there are no 'phrases': write some, or include a file that has")
        return WrittenFile(
            self._path,
            (),
            root.line,
            name,
            self._terms(root, meant),
            self._lexicon(root.get("lexicon")),
            self._include(include),
            self._phrases(root.get("phrases")),
            frozenset(name for text in texts_in(root) for name in mentions(text)),
            digest,
            misnamed=name is None and (named is not None or "name" in meant),
        )

    def _place(self, line: int) -> Place:
        return Place(self._path, line)

    def _text(self, kind: TypeAdapter[str], node: Node | None, key: str) -> Text | None:
        text = None if node is None else checked(kind, node, key, self._tell)
        return None if node is None or text is None else Text(text, node.line)

    def _include(self, node: Node | None) -> tuple[Text, ...]:
        if node is None:
            return ()
        return tuple(Text(path, line) for path, line in each(_PATH, node, "include", self._tell))

    def _terms(self, mapping: Mapping, meant: frozenset[str]) -> Terms:
        def given(key: str, read: Callable[[Node], tuple[Any, ...]]) -> tuple[Any, ...] | None:
            node = mapping.get(key)
            if node is None:
                return () if key in meant else None
            return tuple(dict.fromkeys(read(node)))

        priority = given("priority", self._priority)
        return Terms(
            given("language", self._language),
            given("voices", self._voices),
            given("speeds", self._speeds),
            given("formats", self._formats),
            given("tags", self._tags) or (),
            priority[0] if priority else None,
            given("slots", self._slots) or (),
        )

    def _priority(self, node: Node) -> tuple[int, ...]:
        priority = checked(_PRIORITY, node, "priority", self._tell)
        return () if priority is None else (priority,)

    def _language(self, node: Node) -> tuple[Language, ...]:
        language = checked(_LANGUAGE, node, "language", self._tell)
        return () if language is None else (parse_language(language),)

    def _voices(self, node: Node) -> tuple[NamedVoice, ...]:
        voices: dict[str, NamedVoice] = {}
        for written, line in each(_VOICE, node, "voices", self._tell):
            chosen = parse_voice(written)
            voice = NamedVoice(str(chosen.blend), chosen.language, self._place(line))
            voices.setdefault(voice.spelling, voice)
        return tuple(voices.values())

    def _speeds(self, node: Node) -> tuple[float, ...]:
        return tuple(round(speed, 2) for speed, _ in each(_SPEED, node, "speeds", self._tell))

    def _tags(self, node: Node) -> tuple[str, ...]:
        return tuple(tag for tag, _ in each(_NAME, node, "tags", self._tell, may_be_empty=True))

    def _formats(self, node: Node) -> tuple[str, ...]:
        formats = (self._format(item) for item in items(node, "formats", self._tell))
        return tuple(format for format in formats if format is not None)

    def _format(self, node: Node) -> str | None:
        if not isinstance(node, Mapping):
            return checked(_FORMAT, node, "formats", self._tell)
        meant = refuse_unknown(node, _FORMAT_KEYS, self._tell)
        codec = node.get("codec")
        if codec is None:
            if "codec" not in meant:
                self._tell(node.line, "formats: there is no 'codec' in this mapping: add one")
            return None
        name = checked(_CODEC, codec, "codec", self._tell)
        rates = {"sample_rate": _RATE_HZ, "bitrate_kbps": _BITRATE_KBPS}
        given = {key: found for key in rates if (found := node.get(key)) is not None}
        read = {key: checked(rates[key], found, key, self._tell) for key, found in given.items()}
        if name is None or None in read.values():
            return None
        try:
            return format_of(name, read.get("sample_rate"), read.get("bitrate_kbps")).name
        except NoSuchFormat as error:
            self._tell(given[error.field].line, f"{error.field}: {error}")
            return None

    def _slots(self, node: Node) -> tuple[Slot, ...]:
        found = []
        for key, values in entries(node, "slots", "{company: [Acme, Globex]}", self._tell):
            name = checked(_SLOT_NAME, key, "slots", self._tell)
            if name is not None:
                found.append(Slot(name, self._values(name, values), self._place(key.line)))
        return tuple(found)

    def _values(self, name: str, node: Node) -> tuple[str, ...]:
        """Each but once."""
        seen: dict[str, int] = {}
        for value, line in each(_SLOT_VALUE, node, name, self._tell):
            if value in seen:
                self._tell(line, f"{name}: {value[:60]!r} stands here twice: take one of them out")
            seen.setdefault(value, line)
        return tuple(seen)

    def _lexicon(self, node: Node | None) -> tuple[Pronunciation, ...]:
        if node is None:
            return ()
        found = []
        for key, value in entries(node, "lexicon", "{Kokoro: kˈOkəɹO}", self._tell):
            word = checked(_WORD, key, "lexicon", self._tell)
            phonemes = checked(_PHONEMES, value, "lexicon", self._tell)
            if word is not None and phonemes is not None:
                found.append(Pronunciation(word, phonemes, self._place(key.line)))
        return tuple(found)

    def _phrases(self, node: Node | None) -> tuple[WrittenPhrase, ...]:
        if node is None:
            return ()
        phrases = (self._phrase(item) for item in items(node, "phrases", self._tell))
        return tuple(phrase for phrase in phrases if phrase is not None)

    def _phrase(self, node: Node) -> WrittenPhrase | None:
        if not isinstance(node, Mapping):
            text = self._said(node, "phrases")
            return None if text is None else WrittenPhrase(text, Terms())
        keys = [key.written for key, _ in node.entries]
        if not any(key in _PHRASE_KEYS or "text" in nearest(key, _PHRASE_KEYS) for key in keys):
            self._tell(node.line, f"phrases: {as_mapping_told(node)}")
            return None
        meant = refuse_unknown(node, _PHRASE_KEYS, self._tell)
        written = node.get("text")
        if written is None and "text" not in meant:
            self._tell(node.line, "this phrase has no 'text': add what is said")
        text = self._said(written, "text")
        terms = self._terms(node, meant)
        id = self._text(_NAME, node.get("id"), "id")
        recording = self._text(_PATH, node.get("recording"), "recording")
        if text is None:
            return None
        self._refuse_unused(text, terms)
        return WrittenPhrase(text, terms, id, recording)

    def _said(self, node: Node | None, key: str) -> Text | None:
        if isinstance(node, Scalar) and node.cut_short:
            self._tell(
                node.line,
                f"{key}: what follows ' #' is a comment to YAML: put the text in quotes if that is "
                "to be said, or two blanks before the comment",
            )
        return self._text(_TEXT, node, key)

    def _refuse_unused(self, text: Text, terms: Terms) -> None:
        used = mentions(text.text)
        for slot in terms.slots:
            if slot.name not in used and not nearest(slot.name, used):
                self._tell(slot.place.line, unused(slot.name))
