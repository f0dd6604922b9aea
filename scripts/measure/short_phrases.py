"""How very short phrases are best synthesised: alone, with another mark, or cut out of a sentence.

Every phrase is made in every voice and way, seeded as the server would, and then heard by a
recogniser (Whisper tiny) twice: by itself, and as the beginning of a reply, before a pause and a
sentence. The ways:

- alone: as it is written, as the server does it.
- alone, "!": with that mark in place of its own; so for the other marks.
- after a sentence, between sentences: said in one breath with them and cut out where it pauses.
- alone, style of 50: with the style vector that the voice has for 50 phonemes. A voice has one for
  every number of phonemes, and those for the shortest are said to be its weak spot.

Levels are the RMS of what is heard, and steps the differences that a listener hears at joins: those
between each phrase and each of the ordinary sentences by the same voice.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

# Tests are no package that is installed: these are this checkout's.
sys.path.append(str(Path(__file__).parents[2]))

from proxy.cache.key import clip_key, seed_of
from synth.audio.check import Samples, to_pcm
from synth.audio.join import pause_s, silence
from synth.audio.level import active_level_dbfs, level
from synth.audio.trim import AUDIBLE, trim
from synth.engine import SAMPLE_RATE_HZ, Clip, EngineError, Pcm, Segment, Word
from synth.fingerprint import fingerprint
from synth.kokoro import Kokoro
from synth.text.normalise import normalise
from synth.voices import Blend, parse_voice
from synth.weights import Weights, default_cache_dir, fetch
from tests.real.recogniser import Recogniser, word_error_rate

VOICES = ("af_bella", "am_michael", "bf_emma", "bm_george")

PHRASES: dict[str, tuple[str, ...]] = {
    "Got it!": (),
    "Yes.": (),
    "Mm-hmm.": ("mhm", "mmhmm", "mm", "mmm", "hmm", "mm hm", "um hmm", "um hum", "mhmm"),
    "One moment.": (),
    "Nine.": ("9",),
    "B.": ("be", "bee"),
    "Okay.": ("ok",),
    "Right away.": (),
    "Hello?": (),
    "Of course.": (),
    "No.": ("know",),
    "Uh-huh.": ("uhuh", "aha", "ah ha", "uh uh", "uhhuh", "a ha", "huh"),
    "Thank you.": (),
    "Four.": ("4", "for"),
    "Sure.": (),
    "You're welcome.": ("your welcome",),
    "M.": ("em", "m m"),
    "Perfect.": (),
    "Please hold.": (),
    "Oh.": ("o", "ohh", "owe"),
    "Two.": ("2", "to", "too"),
    "I see.": ("icy",),
    "Yeah.": ("yea", "yeh"),
    "Pardon?": (),
    "One moment, please.": (),
    "Goodbye.": ("good bye",),
    "Five.": ("5",),
    "Great.": ("grate",),
    "All set.": (),
    "X.": ("ex",),
    "Absolutely.": (),
    "No problem.": (),
    "Sorry?": (),
    "Zero.": ("0",),
    "Good morning.": (),
    "Alright.": ("all right",),
    "E.": ("ee",),
    "Correct.": (),
    "Go ahead.": (),
    "Hmm.": ("hm", "mm", "mmm", "mhm", "hum", "um"),
    "Eight.": ("8", "ate"),
    "Sounds good.": (),
    "Right.": ("write",),
    "Not yet.": (),
    "Monday.": (),
    "Thanks.": (),
    "Hi there!": (),
    "Fifteen.": ("15",),
}
"""What agents say, with the other ways to write down what is heard."""

SENTENCES = (
    "Your appointment is on Thursday in the afternoon, with the same doctor.",
    "I have found your booking, and everything looks fine on our side.",
    "The delivery should arrive tomorrow morning, before the shop opens.",
    "Could you please tell me the name that the account is under?",
    "I'm sorry about the trouble this has caused you and your family.",
    "We still have a quiet table by the window at that time.",
    "We have sent the confirmation to the address that you gave us.",
    "If you would like to change anything, you can call us at any time.",
    "The total is on your screen now, and it will be charged to your card.",
    "I will transfer you to a colleague who knows more about this than I do.",
    "Please have your account number ready before we go on.",
    "It usually takes a few days until the refund is on your account.",
)
"""8 to 20 words each."""

REPLY = "Let me check that for you."
"""What follows the phrase when it is heard as the beginning of a reply."""

BEFORE = "I can hear you."
AFTER = "Please take your time."
"""What it is cut out from between. Begins with a stop, whose silence comes first, and does not end
in one, whose silence would be taken for the seam."""

_SENTENCE_BEGINS = re.compile(r"\blet me\b", re.IGNORECASE)
_SEAM_FRAME_S = 0.005
_SEAM_MARGIN_S = 0.060
"""How far the words' times may be off; more would find the silence inside "eight"."""
_CLOSING = ".!?,"
_LETTER_AND_STOP = 2
_SENTENCE = "sentence"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make a phrase."""

    name: str
    mark: str = ""
    """In place of the phrase's own; empty for its own."""
    before: str = ""
    after: str = ""
    """Said in one breath with it, and cut off."""
    style_of: int = 0
    """The style vector for so many phonemes; 0 is the phrase's own number."""

    def text(self, phrase: str) -> str:
        mark = self.mark
        if self.after and len(phrase) == _LETTER_AND_STOP:
            mark = "!"  # "B." is an abbreviation to G2P: no pause would follow.
        marked = phrase.rstrip(_CLOSING) + mark if mark else phrase
        return f"{self.before} {marked} {self.after}".strip()


ALONE = Way("alone")
WAYS = (
    ALONE,
    *(Way(f'alone, "{mark}"', mark=mark) for mark in (".", "!", ",", "...")),
    Way("after a sentence", before=BEFORE),
    Way("between sentences", before=BEFORE, after=AFTER),
    Way("alone, style of 50", style_of=50),
)


@dataclass(frozen=True, slots=True)
class Take:
    """What was measured of one text, in one voice and one way."""

    voice: str
    way: str
    text: str
    problem: str = ""
    """Why there is no audio; then there are no figures either."""
    heard: str = ""
    heard_in_reply: str = ""
    duration_s: float = 0.0
    """From the first audible sample to the last."""
    onset_s: float = 0.0
    tail_s: float = 0.0
    level_dbfs: float = 0.0
    pause_s: float | None = None
    """The silence that the phrase was cut at; None where nothing was cut."""


class _Styled(Kokoro):
    """Says everything in the style that the voice has for so many phonemes."""

    def __init__(self, weights: Weights, style_of: int) -> None:
        self._style_of = style_of
        super().__init__(weights, "cpu", threads=1)

    def _load_pack(self, blend: Blend) -> torch.Tensor:
        pack = super()._load_pack(blend)
        return pack[self._style_of - 1].expand_as(pack) if self._style_of else pack


class Studio:
    """The model and the recogniser, loaded when they are first needed."""

    def __init__(self) -> None:
        self._engines: dict[int, Kokoro] = {}
        self._clips: dict[tuple[str, str], Clip] = {}

    @cached_property
    def _weights(self) -> Weights:
        return fetch("auto", default_cache_dir())

    @cached_property
    def _recogniser(self) -> Recogniser:
        return Recogniser()

    def take(self, voice: str, way: Way, phrase: str) -> Take:
        """Make and hear one phrase, or one ordinary sentence."""
        pause = None
        try:
            clip = self._clip(voice, way.text(phrase), way.style_of)
            pcm = clip.pcm
            if way.before or way.after:
                pcm, pause = cut_out(clip, way.before, phrase)
            reply = [pcm, silence(pause_s(phrase, 1.0)), self._clip(voice, REPLY, 0).pcm]
        except EngineError as error:
            return Take(voice, way.name, phrase, problem=f"{type(error).__name__}: {error}")
        audible = np.flatnonzero(np.abs(as_samples(pcm)) > AUDIBLE)
        if not audible.size:
            return Take(voice, way.name, phrase, problem="nothing was left by the cut")
        return Take(
            voice,
            way.name,
            phrase,
            heard=self._hear(pcm),
            heard_in_reply=self._hear(np.concatenate(reply)),
            duration_s=float(audible[-1] - audible[0] + 1) / SAMPLE_RATE_HZ,
            onset_s=float(audible[0]) / SAMPLE_RATE_HZ,
            tail_s=float(len(pcm) - 1 - audible[-1]) / SAMPLE_RATE_HZ,
            level_dbfs=active_level_dbfs(as_samples(pcm)),
            pause_s=pause,
        )

    def _clip(self, voice: str, text: str, style_of: int) -> Clip:
        if text != REPLY or style_of:
            return self._make(voice, text, style_of)
        if (voice, text) not in self._clips:
            self._clips[voice, text] = self._make(voice, text, style_of)
        return self._clips[voice, text]

    def _make(self, voice: str, text: str, style_of: int) -> Clip:
        if style_of not in self._engines:
            self._engines[style_of] = _Styled(self._weights, style_of)
        blend, language = parse_voice(voice).blend, parse_voice(voice).language
        segment = Segment(normalise(text, language), blend, language.code, speed=1.0, seed=0)
        key = clip_key(fingerprint(self._weights, blend, language.code), segment)
        return self._engines[style_of].synthesize(replace(segment, seed=seed_of(key)))

    def _hear(self, pcm: Pcm) -> str:
        file = io.BytesIO()
        soundfile.write(file, pcm, SAMPLE_RATE_HZ, format="WAV")
        return self._recogniser.hear(file.getvalue()).text


def as_samples(pcm: Pcm) -> Samples:
    return pcm.astype(np.float32) / -float(np.iinfo(np.int16).min)


def cut_out(clip: Clip, before: str, phrase: str) -> tuple[Pcm, float]:
    """The phrase that follows `before` in the clip, and the shortest silence it was cut at."""
    words = [word for word in clip.words if _letters(word.text)]
    first = _count(words, before)
    end = first + _count(words[first:], phrase)
    samples = as_samples(clip.pcm)
    cut_from, cut_to, pauses = 0, len(samples), []
    if first:
        cut_from, pause = _seam(samples, words[first - 1], words[first])
        pauses.append(pause)
    if end < len(words):
        cut_to, pause = _seam(samples, words[end - 1], words[end])
        pauses.append(pause)
    kept = level(trim(samples[cut_from:cut_to]).samples)
    return to_pcm(kept), min(pauses)


def _count(words: Sequence[Word], text: str) -> int:
    """How many of the words, from the first on, make up the text."""
    for count in range(len(words) + 1):
        if _letters("".join(word.text for word in words[:count])) == _letters(text):
            return count
    raise EngineError(f"{text!r} is not how {[word.text for word in words]} begins")


def _seam(samples: Samples, left: Word, right: Word) -> tuple[int, float]:
    """Where to cut between two words, and how long the silence is there.

    In the middle of the longest silence about the seam that the words' times give; where there is
    none, at the most quiet point, and the silence is 0.
    """
    frame = round(_SEAM_FRAME_S * SAMPLE_RATE_HZ)
    begin = max(round((left.end_s - _SEAM_MARGIN_S) / _SEAM_FRAME_S), 0)
    end = round((right.start_s + _SEAM_MARGIN_S) / _SEAM_FRAME_S)
    peaks = [
        float(np.abs(samples[at * frame : (at + 1) * frame]).max(initial=0.0))
        for at in range(begin, end)
    ]
    quiet = longest_run([peak <= AUDIBLE for peak in peaks])
    if quiet[0] == quiet[1]:
        quiet = (int(np.argmin(peaks)),) * 2
    return round((begin + sum(quiet) / 2) * frame), (quiet[1] - quiet[0]) * _SEAM_FRAME_S


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def longest_run(flags: Sequence[bool]) -> tuple[int, int]:
    """Where the longest stretch of True begins and ends (one past its last)."""
    best = (0, 0)
    begin = 0
    for index, flag in enumerate(flags):
        if not flag:
            begin = index + 1
        elif index + 1 - begin > best[1] - best[0]:
            best = (begin, index + 1)
    return best


def nearest_spelling(phrase: str, heard: str) -> str:
    """Of the ways to write the phrase down, the one nearest to what was heard."""
    spellings = (phrase, *PHRASES.get(phrase, ()))
    return min(spellings, key=lambda spelling: word_error_rate([spelling], [heard]))


def misheard(phrase: str, heard: str) -> bool:
    return word_error_rate([nearest_spelling(phrase, heard)], [heard]) > 0


def begins_with(heard: str) -> str:
    """What was heard of a reply before its sentence begins."""
    return _SENTENCE_BEGINS.split(heard, maxsplit=1)[0]


def word_errors(takes: Iterable[Take], heard: Callable[[Take], str]) -> float:
    pairs = [(nearest_spelling(take.text, heard(take)), heard(take)) for take in takes]
    return word_error_rate([said for said, _ in pairs], [text for _, text in pairs])


def steps_db(phrases: Sequence[float], sentences: Sequence[float]) -> list[float]:
    """How far every phrase's level is from every sentence's."""
    return [abs(phrase - sentence) for phrase in phrases for sentence in sentences]


def main() -> int:
    options = _parser().parse_args()
    phrases = list(PHRASES)[: options.phrases]
    takes = _read(options.results)
    studio = Studio()
    wanted = list(_wanted(options.voices, phrases))
    for voice, way, text in track(wanted, console=Console(stderr=True)):
        if (voice, way.name, text) in takes:
            continue
        same = takes.get((voice, ALONE.name, text)) if _is_alone(way, text) else None
        take = replace(same, way=way.name) if same else studio.take(voice, way, text)
        takes[voice, way.name, text] = take
        if options.results:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(take), ensure_ascii=False) + "\n")
    _print([takes[voice, way.name, text] for voice, way, text in wanted])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench short-phrases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--voices", nargs="+", type=_voice, default=VOICES, metavar="VOICE", help="English ones"
    )
    parser.add_argument(
        "--phrases", type=int, default=len(PHRASES), metavar="N", help="the first N only"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="JSONL: what is in it is not made again, and what is made is added",
    )
    return parser


def _voice(name: str) -> str:
    if not parse_voice(name).language.tag.startswith("en-"):
        raise ValueError(name)
    return name


def _read(results: Path | None) -> dict[tuple[str, str, str], Take]:
    if results is None or not results.exists():
        return {}
    lines = results.read_text(encoding="utf-8").splitlines()
    takes = [Take(**json.loads(line)) for line in lines]
    return {(take.voice, take.way, take.text): take for take in takes}


def _wanted(voices: Sequence[str], phrases: Sequence[str]) -> Iterator[tuple[str, Way, str]]:
    for voice in voices:
        for way in WAYS:
            yield from ((voice, way, phrase) for phrase in phrases)
        yield from ((voice, Way(_SENTENCE), sentence) for sentence in SENTENCES)


def _is_alone(way: Way, phrase: str) -> bool:
    """Whether this way makes the very clip that the phrase has alone."""
    return way.name != _SENTENCE and not way.style_of and way.text(phrase) == phrase


def _print(takes: Sequence[Take]) -> None:
    # A pipe has no width: 80 columns there would break the tables' lines.
    console = Console(width=None if sys.stdout.isatty() else 130)
    for table in (_table_of_ways(takes), _table_of_phrases(takes), _table_of_levels(takes)):
        console.print(table)
    for take in takes:
        if take.problem:
            line = f"{take.voice}, {take.way}, {take.text!r}: {take.problem}"
            console.print(line, highlight=False, markup=False)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", vertical="bottom")
    return table


def _table_of_ways(takes: Sequence[Take]) -> Table:
    table = _table(
        "Phrases by way, all voices together. Times: median, or median / largest",
        *("way", "n", "failed", "misheard", "WER", "misheard\nin a reply", "WER\nin a reply"),
        *("audible\ns", "onset\nms", "tail\nms", "cut without\na pause"),
    )
    for name in (*(way.name for way in WAYS), _SENTENCE):
        of_way = [take for take in takes if take.way == name]
        made = [take for take in of_way if not take.problem]
        if not made:
            table.add_row(name, str(len(of_way)), str(len(of_way)))
            continue
        cuts = [take.pause_s for take in made if take.pause_s is not None]
        in_reply = _in_reply if name != _SENTENCE else _heard
        table.add_row(
            name,
            str(len(of_way)),
            str(len(of_way) - len(made)),
            str(sum(misheard(take.text, take.heard) for take in made)),
            f"{word_errors(made, _heard):.3f}",
            str(sum(misheard(take.text, in_reply(take)) for take in made)),
            f"{word_errors(made, in_reply):.3f}",
            f"{statistics.median(take.duration_s for take in made):.2f}",
            _median_and_largest_ms([take.onset_s for take in made]),
            _median_and_largest_ms([take.tail_s for take in made]),
            str(cuts.count(0.0)) if cuts else "",
        )
    return table


def _heard(take: Take) -> str:
    return take.heard


def _in_reply(take: Take) -> str:
    return begins_with(take.heard_in_reply)


def _median_and_largest_ms(values_s: Sequence[float]) -> str:
    return f"{statistics.median(values_s) * 1000:.0f} / {max(values_s) * 1000:.0f}"


def _table_of_phrases(takes: Sequence[Take]) -> Table:
    table = _table(
        "In how many voices a phrase is misheard: by itself / in a reply. Not shown: never",
        "phrase",
        *(way.name.replace(", ", ",\n").replace("a sentence", "\na sentence") for way in WAYS),
    )
    for phrase in PHRASES:
        cells = []
        for way in WAYS:
            made = [t for t in takes if (t.way, t.text) == (way.name, phrase) and not t.problem]
            by_itself = sum(misheard(phrase, take.heard) for take in made)
            cells.append(f"{by_itself} / {sum(misheard(phrase, _in_reply(t)) for t in made)}")
        if set(cells) != {"0 / 0"}:
            table.add_row(phrase, *cells)
    return table


def _table_of_levels(takes: Sequence[Take]) -> Table:
    table = _table(
        "Active level, dB; steps are between each clip and each sentence",
        *("voice", "way", "n", "median\ndBFS", "less median sentence:\nmedian", "p5", "p95"),
        *("step p50", "p95", "max"),
    )
    for voice in dict.fromkeys(take.voice for take in takes):
        levels = {
            name: [
                take.level_dbfs
                for take in takes
                if (take.voice, take.way) == (voice, name) and not take.problem
            ]
            for name in (_SENTENCE, *(way.name for way in WAYS))
        }
        sentences = levels[_SENTENCE]
        middle = statistics.median(sentences)
        for name, of_way in levels.items():
            if not of_way:
                continue
            low, high = np.percentile(of_way, (5, 95)) - middle
            steps = np.percentile(steps_db(of_way, sentences), (50, 95, 100))
            table.add_row(
                *(voice, name, str(len(of_way)), f"{statistics.median(of_way):.1f}"),
                f"{statistics.median(of_way) - middle:+.1f}",
                *(f"{low:+.1f}", f"{high:+.1f}"),
                *(f"{step:.1f}" for step in steps),
            )
    return table


if __name__ == "__main__":
    sys.exit(main())
