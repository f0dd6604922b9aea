"""How much of a dialogue corpus the cache would serve, without synthesising anything.

Every turn is planned as a request would be, in one voice, and looked up in memory tiers of several
sizes; what is missing is put there. Printed are the shares of characters and of replies served:

- exact: the whole reply was said before.
- sentences: as the server does it; the reply, or else each of its sentences.

Sizes are shares of what all distinct audio of the corpus would take.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from proxy.cache.entry import About, Entry
from proxy.cache.key import Key
from proxy.cache.memory import POLICIES, MemoryTier, Policy
from proxy.speech.plan import Plan, Planner, Wanted
from synth.engine import CannotSay
from synth.voices import DEFAULT_VOICE, VOICES
from synth.weights import Weights

AUDIO_BYTES_PER_CHAR = 1600
"""FLAC of 24 kHz speech takes 24 kB a second, and 15 characters are said in one."""

WITHOUT_BOUND = 1 << 50


@dataclass(slots=True)
class Served:
    """What one cache served."""

    chars: int = 0
    replies: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply of the corpus: the key of the whole, and key and length of each sentence."""

    key: Key
    clips: tuple[tuple[Key, int], ...]

    @property
    def chars(self) -> int:
        return sum(length for _, length in self.clips)


def main() -> int:
    options = _parser().parse_args()
    try:
        turns = list(_turns(track(list(_texts(options.corpus)), console=Console(stderr=True))))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(
            f"{options.corpus}: is not JSONL of {{'turns': [text, ...]}}: {error}", file=sys.stderr
        )
        return 2
    if not turns:
        print(f"{options.corpus}: holds no turn that can be said", file=sys.stderr)
        return 2
    results = [("without bound", "", *_replay(turns, WITHOUT_BOUND, POLICIES[0]))]
    everything_bytes = sum(dict(clip for turn in turns for clip in turn.clips).values())
    everything_bytes *= AUDIO_BYTES_PER_CHAR
    for share in options.sizes:
        for policy in POLICIES:
            served = _replay(turns, int(everything_bytes * share), policy)
            results.append((f"{share:.0%}", policy, *served))
    _print(turns, results, options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench hit-rate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--corpus", type=Path, required=True, help="JSONL, or JSONL in gzip")
    parser.add_argument("--sizes", type=float, nargs="*", default=(0.02, 0.1), metavar="SHARE")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    return parser


def _texts(corpus: Path) -> Iterator[str]:
    opened = gzip.open(corpus, "rt", encoding="utf-8") if corpus.suffix == ".gz" else corpus.open()
    with opened as lines:
        for line in lines:
            yield from json.loads(line)["turns"]


def _turns(texts: Iterable[str]) -> Iterator[Turn]:
    planner = Planner()
    # Keys need digests; whose they are makes no difference to what is said twice.
    files = ("config.json", "kokoro-v1_0.pth", *(f"voices/{name}.pt" for name in VOICES))
    planner.weights = Weights(Path(), "corpus", dict.fromkeys(files, ""))
    for text in texts:
        try:
            plan = planner.plan(Wanted(text, DEFAULT_VOICE))
        except CannotSay as error:
            print(f"left out: {text!r}: {error}", file=sys.stderr)
            continue
        yield _turn(plan)


def _turn(plan: Plan) -> Turn:
    return Turn(plan.key, tuple((clip.key, len(clip.segment.text)) for clip in plan.clips))


def _replay(turns: Sequence[Turn], max_bytes: int, policy: Policy) -> tuple[Served, Served]:
    """Exact, and by sentences; each with a cache of its own."""
    exact, by_sentence = Served(), Served()
    whole, clips = MemoryTier(max_bytes, policy), MemoryTier(max_bytes, policy)
    for turn in turns:
        if _seen(whole, turn.key, turn.chars):
            exact.chars += turn.chars
            exact.replies += 1
        seen = [length for key, length in turn.clips if _seen(clips, key, length)]
        by_sentence.chars += sum(seen)
        by_sentence.replies += len(seen) == len(turn.clips)
    return exact, by_sentence


def _seen(tier: MemoryTier, key: Key, chars: int) -> bool:
    if tier.get(key.id) is not None:
        return True
    tier.put(Entry(key, _Sized(chars * AUDIO_BYTES_PER_CHAR), _ABOUT))
    return False


_ABOUT = About(
    kind="clip",
    format="flac",
    voice=DEFAULT_VOICE,
    language="a",
    speed=1.0,
    duration_s=0.0,
    says=(),
)


class _Sized(bytes):
    """No bytes at all, said to be so many: a working set of gigabytes is not to be allocated."""

    def __new__(cls, length: int) -> _Sized:
        self = super().__new__(cls)
        self.length = length
        return self

    length: int

    def __len__(self) -> int:
        return self.length


def _print(
    turns: Sequence[Turn], results: Sequence[tuple[str, str, Served, Served]], as_json: bool
) -> None:
    chars = sum(turn.chars for turn in turns)
    rows = [
        {
            "size": size,
            "policy": policy,
            "exact_share_of_chars": exact.chars / chars,
            "exact_share_of_replies": exact.replies / len(turns),
            "sentences_share_of_chars": by_sentence.chars / chars,
            "sentences_share_of_replies": by_sentence.replies / len(turns),
        }
        for size, policy, exact, by_sentence in results
    ]
    if as_json:
        print(json.dumps({"replies": len(turns), "chars": chars, "rows": rows}, indent=2))
        return
    table = Table(
        "cache",
        "policy",
        *("exact: chars", "replies", "sentences: chars", "replies"),
        title=f"{len(turns)} replies, {chars} characters",
    )
    for row in rows:
        shares = (f"{value:.3f}" for value in row.values() if isinstance(value, float))
        table.add_row(str(row["size"]), str(row["policy"]), *shares)
    Console(width=None if sys.stdout.isatty() else 100).print(table)


if __name__ == "__main__":
    sys.exit(main())
