"""How fast `kokoro-edge warm` renders the books that come with kokoro-edge, beside a plain loop.

Both make the same phrases, each once in every voice and speed, on the same weights and with the
same number of threads, in turns:

- kokoro-edge warm: the real command, without a server, on an empty cache. It trims, levels and
  checks every sentence, encodes every format that the book names, and writes all of it to disk.
- kokoro-edge warm, again: the same command once more, when everything is cached.
- the plain loop: kokoro's own KPipeline in a process of its own. It makes the audio and drops it.

Times of rendering count from when the model is loaded. KPipeline leaves about a second of silence
around every phrase, which is no speech: so compare phrases a second, and seconds of work for each
second of speech, which is counted with that silence trimmed off in both. A sentence that several
phrases have is made once by kokoro-edge warm and counted once, the pauses between sentences not at
all; the loop makes and counts all of it. A very short phrase takes kokoro-edge longer, since it is
said behind another one and cut off from it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from machine import cpu_model
from pydantic import TypeAdapter
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from warm_plain import ASKED, MEASURED, Asked, Measured, Phrase

from proxy.cache.steps import Share, Stats, from_json
from proxy.phrasebook.book import Phrasebook
from proxy.phrasebook.reading.read import read_books, shipped_directory
from proxy.phrasebook.shelf import EVERY_BOOK
from proxy.phrasebook.steps import Report
from synth.text.marks import without_marks
from synth.weights import Weights, default_cache_dir, installed

COMMAND = Path(sys.executable).with_name("kokoro-edge")
PLAIN = Path(__file__).with_name("warm_plain.py")

_BLOCK_BYTES = 512
"""Of `st_blocks`, whatever the file system's own are."""
_REPORT = TypeAdapter(Report)


@dataclass(frozen=True, slots=True)
class Warmed:
    """One run of `kokoro-edge warm` on an empty cache, and one after it."""

    phrases: int
    """Each counted once for every voice and speed."""
    clips: int
    files: int
    clip_bytes: int
    file_bytes: int
    disk_bytes: int
    """Of both, as the file system counts, with the database."""
    audio_s: float
    took_s: float
    """From when the engine was up."""
    command_s: float
    """The whole command, from start to end."""
    again_s: float
    """The whole command once more, with everything cached."""


@dataclass(frozen=True, slots=True)
class Round:
    warmed: Warmed
    plain: Measured


def main() -> int:
    options = _parser().parse_args()
    weights = installed("auto", default_cache_dir())
    if weights is None:
        raise SystemExit("the model is not here yet: run `kokoro-edge fetch`")
    folder = shipped_directory()
    books = choose(read_books(folder).books, options.books)
    with tempfile.TemporaryDirectory(prefix="kokoro-edge-warm-", dir=options.directory) as made:
        if options.phrases is not None:
            books = [shortened(book, options.phrases) for book in books]
            folder = write_books(books, Path(made) / "books")
        phrases = phrases_in(books)
        console = Console(width=None if sys.stdout.isatty() else 100)
        _show_machine(console, books, len(phrases), options)
        rounds = []
        for number in range(options.rounds):
            here = Path(made) / str(number)
            here.mkdir()
            rounds.append(_round(here, folder, books, phrases, weights, options, number % 2 == 1))
    _show(console, rounds)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench warm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--books",
        nargs="+",
        default=["telephone-en-us"],
        metavar="BOOK",
        help=f"of those that come with kokoro-edge; '{EVERY_BOOK}' are all of them "
        "(default: telephone-en-us)",
    )
    parser.add_argument("--phrases", type=_count, metavar="N", help="the first N of each book only")
    parser.add_argument(
        "--rounds", type=_count, default=1, metavar="N", help="medians are shown (default: 1)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="0, the default, is torch's choice"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--directory", type=Path, help="where to put the caches (default: the temporary folder)"
    )
    return parser


def _count(value: str) -> int:
    if (count := int(value)) < 1:
        raise ValueError(value)
    return count


def choose(books: Sequence[Phrasebook], names: Sequence[str]) -> list[Phrasebook]:
    """Those of the names. Exits where one is unknown."""
    by_name = {book.name: book for book in books}
    if EVERY_BOOK in names:
        return list(books)
    if unknown := [name for name in names if name not in by_name]:
        raise SystemExit(f"there is no book {unknown[0]!r}; there are {', '.join(by_name)}")
    return [by_name[name] for name in dict.fromkeys(names)]


def shortened(book: Phrasebook, count: int) -> Phrasebook:
    """Its first phrases alone."""
    return replace(book, phrases=book.phrases[:count])


def write_books(books: Sequence[Phrasebook], folder: Path) -> Path:
    """Write each book as one file that says the same. JSON is YAML. Returns the folder."""
    folder.mkdir()
    for book in books:
        content = {
            "name": book.name,
            "phrases": [
                {
                    "text": phrase.text,
                    "voices": phrase.voices,
                    "speeds": phrase.speeds,
                    "formats": phrase.formats,
                    "priority": phrase.priority,
                    **({"language": phrase.language} if phrase.language else {}),
                }
                for phrase in book.phrases
            ],
            **({"lexicon": dict(book.lexicon.phonemes)} if book.lexicon.phonemes else {}),
        }
        path = folder / f"{book.name}.yaml"
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder


def phrases_in(books: Sequence[Phrasebook]) -> list[Phrase]:
    """What is said, once in every voice and speed."""
    said = (
        Phrase(without_marks(phrase.text), voice, phrase.language_of(voice).code, speed)
        for book in books
        for phrase in book.phrases
        for voice in phrase.voices
        for speed in phrase.speeds
    )
    return list(dict.fromkeys(said))


def _round(
    here: Path,
    folder: Path,
    books: Sequence[Phrasebook],
    phrases: Sequence[Phrase],
    weights: Weights,
    options: argparse.Namespace,
    plain_first: bool,
) -> Round:
    """Both, in an order of its own each time, so that neither has the quieter machine."""
    asked = Asked(weights.folder, options.device, options.threads, list(phrases))
    if plain_first:
        plain = _run_plain(here, asked)
        return Round(_run_warm(here, folder, books, options), plain)
    return Round(_run_warm(here, folder, books, options), _run_plain(here, asked))


def _run_plain(here: Path, asked: Asked) -> Measured:
    given, told = here / "asked.json", here / "measured.json"
    given.write_bytes(ASKED.dump_json(asked))
    _say(f"the plain loop over {len(asked.phrases)} phrases")
    _run([sys.executable, str(PLAIN), str(given), str(told)], here)
    return MEASURED.validate_json(told.read_bytes())


def _run_warm(
    here: Path, folder: Path, books: Sequence[Phrasebook], options: argparse.Namespace
) -> Warmed:
    cache, report = here / "cache", here / "report.json"
    cache.mkdir()
    (cache / "models").symlink_to(default_cache_dir() / "models")
    command = [str(COMMAND), "warm", "--report", str(report), "--cache-directory", str(cache)]
    command += ["--phrasebook-directory", str(folder)]
    command += ["--phrasebook-books", ",".join(book.name for book in books)]
    command += ["--engine-threads", str(options.threads), "--engine-device", options.device]
    command_s = _run(command, here)
    warmed = _REPORT.validate_json(report.read_bytes()).warmed
    assert warmed is not None
    shares = _shares(cache)
    again_s = _run(command, here)
    again = _REPORT.validate_json(report.read_bytes()).warmed
    if again is None or again.rendered:
        raise SystemExit(f"{COMMAND.name} warm did not find all that it had rendered")
    return Warmed(
        phrases=warmed.rendered,
        clips=shares["clip"].entries,
        files=shares["rendition"].entries,
        clip_bytes=shares["clip"].size_bytes,
        file_bytes=shares["rendition"].size_bytes,
        disk_bytes=disk_bytes(cache / "audio" / "pinned"),
        audio_s=warmed.audio_s,
        took_s=warmed.took_s,
        command_s=command_s,
        again_s=again_s,
    )


def _shares(cache: Path) -> dict[str, Share]:
    """What is pinned, by kind."""
    command = [str(COMMAND), "cache", "stats", "--json", "--cache-directory", str(cache)]
    told = subprocess.run(command, capture_output=True, check=True, cwd=cache).stdout
    stats = from_json(told)
    assert isinstance(stats, Stats)
    [pinned] = [store for store in stats.stores if store.tier == "pinned"]
    return pinned.by_kind


def disk_bytes(folder: Path) -> int:
    """What a folder takes on disk, as `du` has it."""
    return sum(path.lstat().st_blocks for path in (folder, *folder.rglob("*"))) * _BLOCK_BYTES


def _run(command: Sequence[str], cwd: Path) -> float:
    """Returns how many seconds it took. What it says goes to standard error."""
    began_s = time.perf_counter()
    code = subprocess.run(command, stdout=sys.stderr, cwd=cwd).returncode
    if code:
        raise SystemExit(f"{Path(command[0]).name} {Path(command[1]).name} ended with {code}")
    return time.perf_counter() - began_s


def _show_machine(
    console: Console, books: Sequence[Phrasebook], phrases: int, options: argparse.Namespace
) -> None:
    load = os.getloadavg()[0]
    console.print(f"{cpu_model()}, {os.cpu_count()} cores, load average {load:.1f}", markup=False)
    console.print(f"torch {metadata.version('torch')}, kokoro {metadata.version('kokoro')}")
    names = ", ".join(book.name for book in books)
    of_each = "" if options.phrases is None else f", the first {options.phrases} of each"
    console.print(
        f"{names}{of_each}: {phrases} phrases, {options.rounds} rounds, device {options.device}, "
        f"threads {options.threads or 'as torch chooses'}\n",
        markup=False,
    )


def _show(console: Console, rounds: Sequence[Round]) -> None:
    table = Table("", "kokoro-edge warm", "plain loop", "warm / plain")
    for column in table.columns[1:]:
        column.justify = "right"

    def add(
        name: str,
        warm: Callable[[Warmed], float] | None,
        plain: Callable[[Measured], float] | None,
        shown: Callable[[float], str] = "{:.1f}".format,
    ) -> None:
        ours = [warm(each.warmed) for each in rounds] if warm else []
        theirs = [plain(each.plain) for each in rounds] if plain else []
        cells = [shown(statistics.median(values)) if values else "" for values in (ours, theirs)]
        table.add_row(name, *cells, ratio(ours, theirs) if ours and theirs else "")

    def size(number: float) -> str:
        return decimal(round(number))

    add("phrases", lambda it: it.phrases, lambda it: it.phrases, "{:.0f}".format)
    add("clips kept (sentences)", lambda it: it.clips, None, "{:.0f}".format)
    add("files encoded and kept", lambda it: it.files, None, "{:.0f}".format)
    table.add_section()
    add("until the model is loaded, s", lambda it: it.command_s - it.took_s, _loaded_s)
    add("rendering, s", lambda it: it.took_s, lambda it: it.took_s)
    add(
        "phrases a second", lambda it: it.phrases / it.took_s, lambda it: it.phrases / it.took_s, _2
    )
    add("clips a second", lambda it: it.clips / it.took_s, None, _2)
    add("files a second", lambda it: it.files / it.took_s, None, _2)
    add("the command again, all cached, s", lambda it: it.again_s, None, _2)
    table.add_section()
    add("seconds of audio", lambda it: it.audio_s, lambda it: it.audio_s)
    add("seconds of speech in it", lambda it: it.audio_s, lambda it: it.speech_s)
    add(
        "seconds of work for each of audio",
        lambda it: it.took_s / it.audio_s,
        lambda it: it.took_s / it.audio_s,
        "{:.3f}".format,
    )
    add(
        "seconds of work for each of speech",
        lambda it: it.took_s / it.audio_s,
        lambda it: it.took_s / it.speech_s,
        "{:.3f}".format,
    )
    table.add_section()
    add("clips (FLAC)", lambda it: it.clip_bytes, None, size)
    add("files", lambda it: it.file_bytes, None, size)
    add("on disk, both", lambda it: it.disk_bytes, None, size)
    add("as WAV files at 24 kHz", None, lambda it: it.wav_bytes, size)
    console.print(table)
    console.print(
        "Until the model is loaded: imports, reading and hashing weights, a first pass; of "
        "kokoro-edge warm also reading the books, and ending. The plain loop keeps nothing.",
    )


def _loaded_s(plain: Measured) -> float:
    return plain.loaded_s


_2 = "{:.2f}".format


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Of each round's two values: the median, and how far apart the rounds are."""
    each = [our / their for our, their in zip(ours, theirs, strict=True)]
    middle = f"{statistics.median(each):.2f}"
    return middle if len(each) == 1 else f"{middle} ({min(each):.2f} to {max(each):.2f})"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
