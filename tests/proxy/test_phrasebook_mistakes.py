"""Everything that can be wrong with a phrasebook is told at once: where it is, and what to mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.phrasebook.book import PhrasebookError
from proxy.phrasebook.reading.read import read_books
from synth.voices import LANGUAGES
from tests.proxy.phrasebooks import HEAD, PHRASES, told, write, write_recording

_TO_1600 = ", ".join(f"x{number}" for number in range(40))

MISTAKES: list[tuple[str, str]] = [
    # Keys.
    (PHRASES + "  - Hi.\nphrase: [Ho.]", "6: there is no key 'phrase'. Did you mean 'phrases'?"),
    (HEAD + "phrase: [Ho.]", "4: there is no key 'phrase'. Did you mean 'phrases'?"),
    (
        PHRASES + "  - text: Hi.\n    zzz: 1",
        "6: there is no key 'zzz'. Take it out; there are formats, id, language, priority, "
        "recording, slots, speeds, tags, text, voices.",
    ),
    (
        "# A book.\n\nvoices: [af_bella]\nformats: [pcm]\nphrases: [Hi.]",
        "3: there is no 'name': write one, as in 'name: support'",
    ),
    (
        PHRASES + "  - Hi.\nname: again",
        "6: 'name' stands here twice, the first time on line 1: keep one of them",
    ),
    (
        HEAD + "lexicon: {No: nO}\nphrases: [Hi.]",
        "4: YAML reads No as true or false, and a key must be text: put it in quotes",
    ),
    (HEAD + "? [a]\n: b\nphrases: [Hi.]", "4: a key must be a word: put it in quotes"),
    # What YAML makes of texts.
    (
        PHRASES + "  - No",
        "5: phrases: YAML reads No as true or false, not as text: put it in quotes",
    ),
    (
        PHRASES + "  - Hi.\n  - 5",
        "6: phrases: YAML reads 5 as a number, not as text: put it in quotes",
    ),
    (
        PHRASES + "  - 12:30",
        "5: phrases: YAML reads 12:30 as a number, not as text: put it in quotes",
    ),
    (
        PHRASES + "  - 2026-02-31",
        "5: phrases: YAML reads 2026-02-31 as a date, not as text: put it in quotes",
    ),
    (PHRASES + "  -", "5: phrases: there is nothing here: write a text, or take it out"),
    (PHRASES + "  - text:", "5: text: there is nothing here: write a text, or take it out"),
    (
        PHRASES + "  - Note: call back",
        "5: phrases: YAML reads 'Note: …' as a mapping, not as text, since it holds ': ' or is in "
        "braces: put it in quotes",
    ),
    (
        HEAD + "slots: {company: [Acme]}\nphrases:\n  - {company}",
        "6: phrases: YAML reads 'company: …' as a mapping, not as text, since it holds ': ' or is "
        "in braces: put it in quotes",
    ),
    (
        PHRASES + "  - [pause, please]",
        "5: phrases: YAML reads this as a list, not as one value: take the brackets or '- ' out, "
        "or put it in quotes",
    ),
    (
        PHRASES + "  - text: |\n      Hi.\n\n    tags: [5]",
        "8: tags: YAML reads 5 as a number, not as text: put it in quotes",
    ),
    (
        PHRASES + "  - Press # to go on.",
        "5: phrases: what follows ' #' is a comment to YAML: put the text in quotes if that is to "
        "be said, or two blanks before the comment",
    ),
    (
        PHRASES + "  - {text: Hi.}\n  - text: Press # now",
        "6: text: what follows ' #' is a comment to YAML: put the text in quotes if that is to be "
        "said, or two blanks before the comment",
    ),
    (
        PHRASES + '  - "Call [Bob](bob)."',
        "5: cannot read '[Bob](bob).': write a word with its phonemes as [word](/wˈɜɹd/)",
    ),
    # Lists.
    (
        HEAD.replace("[af_bella]", "af_bella") + "phrases: [Hi.]",
        "2: voices: must be a list: write [af_bella]",
    ),
    (HEAD + "phrases: Hi.", "4: phrases: must be a list, one entry a line, each after '- '"),
    (HEAD + "phrases: []", "4: phrases: the list is empty: fill it, or take it out"),
    (HEAD + "phrases:", "4: phrases: there is nothing here: write a list, or take it out"),
    (HEAD, "1: there are no 'phrases': write some, or include a file that has"),
    (HEAD + "include: x.yaml", "4: include: must be a list: write [x.yaml]"),
    (
        HEAD + "slots: [a]\nphrases: [Hi.]",
        "4: slots: must be a mapping, as in {company: [Acme, Globex]}",
    ),
    # Voices, languages, formats.
    (
        HEAD.replace("bella", "bela") + "phrases: [Hi.]",
        "2: voices: There is no voice 'af_bela'. Did you mean 'af_bella' or 'hf_beta' or "
        "'bf_isabella'?",
    ),
    (
        HEAD.replace("bella", "bella(0)") + "phrases: [Hi.]",
        "2: voices: The weight of af_bella in a blend must be above 0.",
    ),
    (
        HEAD.replace("af_bella", "bf_emma+af_bella") + "phrases: [Hi.]",
        "2: voices: this is a blend of voices of different languages: say which it speaks, as in "
        "'language: en-us'",
    ),
    (
        "name: test\nformats: [pcm]\nphrases:\n  - {text: Hi., voices: [af_sky]}\n  - Ho.\n  - Ha.",
        "5: there are no 'voices' for this phrase: write 'voices: [af_bella]' here, or for the "
        "whole book",
    ),
    (
        "name: test\nvoices: [af_bella]\nphrases:\n  - Hi.",
        "4: there are no 'formats' for this phrase: write 'formats: [mp3]' here, or for the whole "
        "book",
    ),
    (
        HEAD + "language: klingon\nphrases: [你好]",
        "4: language: There is no language 'klingon'. Known are: a (en-us), b (en-gb), e (es), "
        "f (fr-fr), h (hi), i (it), j (ja), p (pt-br), z (zh).",
    ),
    (
        HEAD + "language: no\nphrases: [Hi.]",
        "4: language: YAML reads no as true or false, not as text: put it in quotes",
    ),
    (
        HEAD.replace("pcm", "ogg") + "phrases: [Hi.]",
        "3: formats: there is no format 'ogg'. There are mp3, opus, aac, flac, wav, pcm, l16, "
        "ulaw, alaw, wav_ulaw, wav_alaw, and most at other rates, as in wav_8000",
    ),
    (
        HEAD.replace("pcm", "{codec: ogg}") + "phrases: [Hi.]",
        "3: codec: there is no codec 'ogg': there are mp3, opus, aac, flac, wav, pcm, l16, ulaw, "
        "alaw, wav_ulaw, wav_alaw",
    ),
    (
        HEAD.replace("pcm", "aac_8000") + "phrases: [Hi.]",
        "3: formats: aac has no sample rate of 8000 Hz: it has 44100 or 48000",
    ),
    (
        HEAD.replace("[pcm]", "\n  - codec: ulaw\n    sample_rate: 16000") + "phrases: [Hi.]",
        "5: sample_rate: ulaw has no sample rate of 16000 Hz: it has 8000 alone",
    ),
    (
        HEAD.replace("[pcm]", "\n  - codec: mp3\n    bitrate_kbps: 65") + "phrases: [Hi.]",
        "5: bitrate_kbps: mp3 at 24000 Hz has no bit rate of 65 kbit/s: it has 64, 80, 96, 112, "
        "128, 144 or 160",
    ),
    (
        HEAD.replace("pcm", "{codec: wav, bitrate_kbps: 64}") + "phrases: [Hi.]",
        "3: bitrate_kbps: it means nothing to wav: leave it out",
    ),
    (
        HEAD.replace("pcm", "{codec: mp3, bitrate_kbps: high}") + "phrases: [Hi.]",
        "3: bitrate_kbps: 'high' is not a whole number: write one, without quotes",
    ),
    (
        HEAD.replace("pcm", "{codec: wav, sample_rate: 8001}") + "phrases: [Hi.]",
        "3: sample_rate: there is no sample rate of 8001 Hz: there are 8000, 16000, 22050, 24000, "
        "44100, 48000",
    ),
    (
        HEAD.replace("pcm", "{sample_rate: 8000}") + "phrases: [Hi.]",
        "3: formats: there is no 'codec' in this mapping: add one",
    ),
    # Numbers and names.
    (HEAD + "speeds:\n- 1\n- 5\nphrases: [Hi.]", "6: speeds: 5 must be from 0.25 to 4.0"),
    (HEAD + "speeds: [.nan]\nphrases: [Hi.]", "4: speeds: .nan must be from 0.25 to 4.0"),
    (
        HEAD + "speeds: ['1']\nphrases: [Hi.]",
        "4: speeds: '1' is not a number: write one, without quotes",
    ),
    (
        HEAD + f"speeds: [{'1' * 5000}]\nphrases: [Hi.]",
        f"4: speeds: '{'1' * 60}…' is not a number: write one",
    ),
    (HEAD + "priority: 101\nphrases: [Hi.]", "4: priority: 101 must be from -100 to 100"),
    (
        HEAD + "priority: 1.5\nphrases: [Hi.]",
        "4: priority: '1.5' is not a whole number: write one",
    ),
    (
        HEAD + "tags: [ok, not ok]\nphrases: [Hi.]",
        "4: tags: 'not ok' must be of 1 to 64 letters, digits, - and _ alone",
    ),
    (
        HEAD.replace("test", "the test") + "phrases: [Hi.]",
        "1: name: 'the test' must be of 1 to 64 letters, digits, - and _ alone",
    ),
    # Texts.
    (PHRASES + "  - ' '", "5: this text is empty: write what is said, or take it out"),
    (
        PHRASES + "  - '...'",
        "5: there is nothing to say here: the text has no letters or digits",
    ),
    (PHRASES + "  - tags: [a]", "5: this phrase has no 'text': add what is said"),
    (PHRASES + "  - txt: Hi.", "5: there is no key 'txt'. Did you mean 'text'?"),
    (
        PHRASES + "  - " + "a" * 4097,
        "5: this text has 4097 characters, and may have 4096: make it two",
    ),
    (
        PHRASES + "  - 你好",
        "5: American English has no way to say '你' (CJK UNIFIED IDEOGRAPH-4F60). Spell it in the "
        "language's own script, or choose a voice of the language it is in.",
    ),
    (
        PHRASES + "  - Hi [pause:1m]",
        "5: Cannot read '[pause:1m]': write a pause as [pause:0.5s] or [pause:500ms].",
    ),
    (
        PHRASES + '  - "Hi [pause:\\n11s]"',
        "5: [pause:\\n11s] is too long: 10 s is the longest pause.",
    ),
    (
        PHRASES + "  - Hi [pause:11s] you",
        "5: [pause:11s] is too long: 10 s is the longest pause.",
    ),
    (
        PHRASES + "  - '... [pause:1s] you'",
        "5: there is nothing to say before the first pause: take the pause out",
    ),
    (
        PHRASES + "  - Hi [Kokoro](//)",
        "5: [Kokoro](//) has no phonemes between its slashes: write some",
    ),
    (
        HEAD.replace("af_bella", "ef_dora") + "phrases:\n  - Hola [Ana](/ana/)",
        "5: phonemes are read in English alone, and Spanish would say them letter by letter: take "
        "them out",
    ),
    # Lexicon.
    (
        HEAD.replace("af_bella", "ef_dora") + "phrases: [Hola.]\nlexicon:\n  Ana: ana",
        "6: lexicon: phonemes are read in English alone, and nothing in this book is English: take "
        "it out",
    ),
    (
        HEAD + "phrases: [Hi.]\nlexicon: {Kokoro: ' / / '}",
        "5: lexicon: there are no phonemes: write them as in 'kˈOkəɹO'",
    ),
    (
        HEAD + "phrases: [Hi.]\nlexicon: {Kokoro: k(o)}",
        "5: lexicon: '(' is no phoneme: take it out",
    ),
    (
        HEAD + "phrases: [Hi.]\nlexicon: {'...': a}",
        "5: lexicon: '...' is no word: it needs letters, and no brackets",
    ),
    (
        HEAD + "phrases: [Hi.]\nlexicon:\n  Ana: a\n  ANA: b",
        "7: lexicon: 'ANA' has other phonemes on line 6, and a book has one lexicon: keep one of "
        "them",
    ),
    # Slots.
    (
        PHRASES + "  - Hi {name}.",
        "5: there are no values for {name}. Write 'slots: {name: [...]}' here, or for the whole "
        "book",
    ),
    (
        HEAD + "slots: {company: [A]}\nphrases: ['{compny}']",
        "5: there are no values for {compny}. Did you mean {company}? Write 'slots: {compny: "
        "[...]}' here, or for the whole book",
    ),
    (
        HEAD + "slots: {a: [A]}\nphrases: [Hi.]",
        "4: slots: {a} is given values, but is in no text: use it, or take it out",
    ),
    (
        PHRASES + "  - text: Hi.\n    slots:\n      a: [A]",
        "7: slots: {a} is given values, but is in no text: use it, or take it out",
    ),
    (
        HEAD + "slots:\n  a: [A, B, A]\nphrases: ['{a}']",
        "5: a: 'A' stands here twice: take one of them out",
    ),
    (
        HEAD + "slots:\n  a: ['{b}']\nphrases: ['{a}']",
        "5: a: '{b}' has braces in it, but a slot holds no other slot",
    ),
    (
        HEAD + "slots: {a: [1]}\nphrases: ['{a}']",
        "4: a: YAML reads 1 as a number, not as text: put it in quotes",
    ),
    (
        HEAD + "slots: {2a: [A]}\nphrases: [Hi.]",
        "4: slots: '2a' cannot be the name of a slot: it may have letters, digits and _, and "
        "begins with no digit",
    ),
    (
        PHRASES + "  - Hi {a b}.",
        "5: '{a b}' cannot be a slot: write its name between the braces, of letters, digits and _, "
        "and no digit first",
    ),
    *(
        (
            PHRASES + f"  - Hi {brace} you.",
            f"5: there is a {brace} without its counterpart: a slot is {{name}}, and no other "
            "braces can be said",
        )
        for brace in "{}"
    ),
    (
        HEAD + f"slots: {{a: [{_TO_1600}], b: [{_TO_1600}]}}\nphrases:\n  - Hi {{a}} {{b}}.",
        "6: the values of its slots make 1600 texts of this one, and may make 1000: give them "
        "fewer, or make it several phrases",
    ),
    (
        HEAD + "slots: {a: [Acme, 阿里]}\nphrases:\n  - Hi {a}.",
        "6: 'Hi 阿里.': American English has no way to say '阿' (CJK UNIFIED IDEOGRAPH-963F). "
        "Spell it in the language's own script, or choose a voice of the language it is in.",
    ),
    # Phrases among each other.
    (
        PHRASES + "  - {text: Hi., id: a}\n  - {text: Ho., id: a}",
        "6: id: 'a' stands on line 5 already: choose another",
    ),
    (
        PHRASES + "  - Hi Kokoro.\n  - Hi [Kokoro](/kˈO/).",
        "6: these words stand on line 5 already, and af_bella says them otherwise there: give both "
        "the same phonemes, pauses and recording, or take one out",
    ),
    (
        PHRASES + "  - Hi.\n  - {text: Hi., recording: ok.wav}",
        "6: these words stand on line 5 already, and af_bella says them otherwise there: give both "
        "the same phonemes, pauses and recording, or take one out",
    ),
    # Other files.
    (
        PHRASES + "  - text: Hi.\n    recording: no.wav",
        "6: recording: there is no file 'no.wav': paths begin at the folder of this file",
    ),
    (
        PHRASES + "  - text: Hi.\n    recording: ../ok.wav",
        "6: recording: '../ok.wav' lies outside the folder of this book: copy it there",
    ),
    (
        PHRASES + "  - text: Hi.\n    recording: book.yaml",
        "6: recording: 'book.yaml': it is no audio that can be decoded: Format not recognised",
    ),
    (
        HEAD + "slots: {a: [A, B]}\nphrases: [{text: '{a}', recording: ok.wav}]",
        "5: recording: the slots make 2 texts of this one, and a recording says one: make each a "
        "phrase of its own",
    ),
    (
        HEAD + "include: [no.yaml]",
        "4: include: there is no file 'no.yaml': paths begin at the folder of this file",
    ),
    (HEAD + "include: ['.']", "4: include: '.' is a folder: name a file in it"),
    (
        HEAD + "include: [book.yaml]",
        "4: include: this is a circle: book.yaml → book.yaml. Take one of the includes out",
    ),
    # What is not YAML, or more of it than is taken.
    (
        PHRASES + "  - Hi.\n  - {a} is here",
        "6: this is not YAML (did not find expected '-' indicator): a text that begins with { "
        "must be in quotes, all of it",
    ),
    (
        PHRASES + "  - text: Note: Hi.",
        "5: this is not YAML (mapping values are not allowed in this context): put a text that "
        "holds ': ' in quotes",
    ),
    (
        PHRASES + "  - 'Hi.\n  - Ho.",
        "5: this is not YAML (found unexpected end of stream): close the quotes",
    ),
    (
        HEAD + "tags: [a, b\nphrases: [Hi.]",
        "4: this is not YAML (did not find expected ',' or ']'): close the bracket, or put a text "
        "that begins with one in quotes",
    ),
    (
        PHRASES + "\t- Hi.",
        "5: this is not YAML (found character that cannot start any token): indent with blanks, "
        "not with tabs",
    ),
    (PHRASES + "  - Hi\x00", "5: the character U+0000 is not allowed in YAML: take it out"),
    (
        PHRASES + "  - &a Hi.",
        "5: '&a' is an anchor to YAML, and there are none here: take it out, or put the text in "
        "quotes if it is one",
    ),
    (
        PHRASES + "  - Hi.\n  - *a",
        "6: '*a' is an alias to YAML, and there are none here: write it out, or put the text in "
        "quotes if it is one",
    ),
    (
        PHRASES + "  - !!python/name:os.system Hi.",
        "5: '!!python/name:os.system' is a tag to YAML, and there are none here: take it out, or "
        "put the text in quotes if it is one",
    ),
    (
        PHRASES + "  - Hi.\n---\nname: b",
        "6: a second document begins here, and a file holds one: take the '---' out",
    ),
    ("", "1: the file is empty: write 'name:', 'voices:', 'formats:' and 'phrases:'"),
    ("- Hi.", "1: this is no phrasebook: write 'name:', 'voices:', 'formats:' and 'phrases:'"),
    (
        PHRASES + "  " + "- " * 20 + "Hi.",
        "5: this is nested deeper than anything in a phrasebook is",
    ),
]


@pytest.mark.parametrize(("content", "says"), MISTAKES)
def test_a_mistake_has_one_message_with_its_line(tmp_path: Path, content: str, says: str) -> None:
    write_recording(tmp_path / "ok.wav")
    books = read_books(write(tmp_path, {"book.yaml": content}))
    assert told(books, tmp_path) == [f"book.yaml:{says}"]
    assert books.books == ()


ALL_AT_ONCE = """\
name: front desk
voices: [af_bella, af_bela]
formats:
  - mp3
  - ogg
  - {codec: wav, sample_rate: 8001}
speeds: [1.0, 9]
priority: high
colour: blue
tags: [support, 24]
slots:
  company: [Acme, Acme]
  unused: [a]
lexicon:
  Kokoro: ''
include:
  - nowhere.yaml
  - parts/part.yaml
phrases:
  - No
  - Note: call {company} back
  - Welcome to {compny}.
  - '...'
  - Wait [pause:1min] please.
  - Stray } brace.
  - 你好
  - {text: Hi., id: hi}
  - {text: Hello., id: hi}
  - text: Hi [Ann](/æn/).
    recording: gone.wav
  - text: Bye Ann.
    language: klingon
    speed: 1
  - text: Bye Bob.
  - text: Bye [Bob](/bˈɑb/).
voices: [af_sky]
"""
PART = "phrases:\n  -\n  - {text: Ho., id: hi}\n  - Hi *there*, {who}.\n"


def test_twenty_mistakes_and_more_are_told_in_one_run(tmp_path: Path) -> None:
    files = {
        "book.yaml": ALL_AT_ONCE,
        "parts/part.yaml": PART,
        "other.yaml": "name: [",
        "whole.yaml": PHRASES + "  - Hi.",
    }
    books = read_books(write(tmp_path, files))
    assert told(books, tmp_path) == [
        "book.yaml:1: name: 'front desk' must be of 1 to 64 letters, digits, - and _ alone",
        "book.yaml:2: voices: There is no voice 'af_bela'. Did you mean 'af_bella' or 'hf_beta' or "
        "'bf_isabella'?",
        "book.yaml:5: formats: there is no format 'ogg'. There are mp3, opus, aac, flac, wav, pcm, "
        "l16, ulaw, alaw, wav_ulaw, wav_alaw, and most at other rates, as in wav_8000",
        "book.yaml:6: sample_rate: there is no sample rate of 8001 Hz: there are 8000, 16000, "
        "22050, 24000, 44100, 48000",
        "book.yaml:7: speeds: 9 must be from 0.25 to 4.0",
        "book.yaml:8: priority: 'high' is not a whole number: write one, without quotes",
        "book.yaml:9: there is no key 'colour'. Take it out; there are formats, include, language, "
        "lexicon, name, phrases, priority, slots, speeds, tags, voices.",
        "book.yaml:10: tags: YAML reads 24 as a number, not as text: put it in quotes",
        "book.yaml:12: company: 'Acme' stands here twice: take one of them out",
        "book.yaml:13: slots: {unused} is given values, but is in no text: use it, or take it out",
        "book.yaml:15: lexicon: there are no phonemes: write them as in 'kˈOkəɹO'",
        "book.yaml:17: include: there is no file 'nowhere.yaml': paths begin at the folder of this "
        "file",
        "book.yaml:20: phrases: YAML reads No as true or false, not as text: put it in quotes",
        "book.yaml:21: phrases: YAML reads 'Note: …' as a mapping, not as text, since it holds "
        "': ' or is in braces: put it in quotes",
        "book.yaml:22: there are no values for {compny}. Did you mean {company}? Write 'slots: "
        "{compny: [...]}' here, or for the whole book",
        "book.yaml:23: there is nothing to say here: the text has no letters or digits",
        "book.yaml:24: Cannot read '[pause:1min]': write a pause as [pause:0.5s] or [pause:500ms].",
        "book.yaml:25: there is a } without its counterpart: a slot is {name}, and no other braces "
        "can be said",
        "book.yaml:26: American English has no way to say '你' (CJK UNIFIED IDEOGRAPH-4F60). Spell "
        "it in the language's own script, or choose a voice of the language it is in.",
        "book.yaml:28: id: 'hi' stands on line 27 already: choose another",
        "book.yaml:30: recording: there is no file 'gone.wav': paths begin at the folder of this "
        "file",
        "book.yaml:32: language: There is no language 'klingon'. Known are: "
        + ", ".join(f"{each.code} ({each.tag})" for each in LANGUAGES.values())
        + ".",
        "book.yaml:33: there is no key 'speed'. Did you mean 'speeds'?",
        "book.yaml:35: these words stand on line 34 already, and af_bella says them otherwise "
        "there: give both the same phonemes, pauses and recording, or take one out",
        "book.yaml:36: 'voices' stands here twice, the first time on line 2: keep one of them",
        "other.yaml:1: this is not YAML (did not find expected node content): close the bracket, "
        "or put a text that begins with one in quotes",
        "parts/part.yaml:2: phrases: there is nothing here: write a text, or take it out",
        "parts/part.yaml:3: id: 'hi' stands on line 27 of book.yaml already: choose another",
        "parts/part.yaml:4: there are no values for {who}. Write 'slots: {who: [...]}' here, or "
        "for the whole book",
    ]
    assert [book.name for book in books.books] == ["test"]
    error = PhrasebookError(books.problems)
    assert str(error).splitlines() == [str(problem) for problem in books.problems]


def test_a_language_that_is_not_installed_is_told_once_where_it_is_chosen(tmp_path: Path) -> None:
    missing = [each for each in LANGUAGES.values() if not each.installed()]
    for language in missing:
        voice = {"j": "jf_alpha", "z": "zf_xiaoni"}[language.code]
        content = HEAD.replace("af_bella", voice) + "phrases: [Hi., Ho.]"
        [by_voice] = told(read_books(write(tmp_path, {"book.yaml": content})), tmp_path)
        assert by_voice.startswith(f"book.yaml:2: voices: {language.name}")
        content = HEAD + f"language: {language.tag}\nphrases: [Hi., Ho.]"
        [by_name] = told(read_books(write(tmp_path, {"book.yaml": content})), tmp_path)
        assert by_name.startswith(f"book.yaml:4: language: {language.name}")
        assert f"pip install 'kokoro-edge[{language.extra}]'" in by_name


_KEYS = st.sampled_from(
    "name language voices speeds formats tags priority lexicon slots include phrases text id "
    "recording codec sample_rate company".split()
)
_VALUES = st.sampled_from(
    "af_bella|af_bella+af_sky(2)|mp3|wav_8000|book.yaml|p/x.yaml|../x|en-us|Hi.|Hi {company}.|{|"
    "Hi [pause:1s] you.|[K](/k/)|No|5|1.5|.inf|~|''|'|\"|[|]|}|*a|&a b|!!int 5|<<|2020-01-01|1:2:3|"
    "0x|!|? a|a: b|#|--- |%|@|`|\t|\x85|\x00|\ufeff|你好|\u2028".split("|")
)
_TEXTS = st.one_of(_VALUES, st.text(max_size=12))
_YAML = st.recursive(
    _TEXTS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda each: f"[{', '.join(each)}]"),
        st.lists(st.tuples(_KEYS | _TEXTS, inner), max_size=4).map(
            lambda each: "{" + ", ".join(f"{key}: {value}" for key, value in each) + "}"
        ),
        st.lists(inner, max_size=4).map(
            lambda each: "\n" + "\n".join(f"  - {one}" for one in each)
        ),
    ),
    max_leaves=12,
)
_BOOKS = st.lists(st.tuples(_KEYS | _TEXTS, _YAML), max_size=6).map(
    lambda entries: "\n".join(f"{key}: {value}" for key, value in entries)
)


@given(st.sampled_from(["", HEAD, PHRASES]), st.one_of(_BOOKS, _YAML, st.text()), _BOOKS | _YAML)
def test_whatever_stands_in_files_nothing_is_raised_and_every_line_is_there(
    tmp_path_factory: pytest.TempPathFactory, head: str, rest: str, part: str
) -> None:
    contents = {"book.yaml": head + rest, "p/x.yaml": part}
    folder = tmp_path_factory.mktemp("books")
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    books = read_books(folder)
    assert bool(books.books) != bool(books.problems)
    for problem in books.problems:
        content = contents[problem.path.relative_to(folder).as_posix()]
        assert problem.line is not None
        assert 1 <= problem.line <= max(1, len(content.splitlines()))
        assert str(problem).isprintable()
