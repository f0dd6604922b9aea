"""`scripts/bench hit-rate` on corpora small enough to count by hand."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "scripts" / "measure" / "hit_rate.py"


def run(corpus: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--corpus", str(corpus), "--json", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def replay(corpus: Path, *options: str) -> dict[str, Any]:
    done = run(corpus, *options)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def dialogues(*turns: list[str]) -> str:
    return "".join(json.dumps({"dialogue": "x", "turns": list(each)}) + "\n" for each in turns)


def test_replies_said_before_are_exact_and_their_sentences_serve_other_replies(
    tmp_path: Path,
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    # 8, 8 again, then 8 + 7 of which only the first is known: 31 characters in all.
    corpus.write_text(dialogues(["Got it!!"], ["Got it!!", "Got it!! Thanks."]))
    result = replay(corpus, "--sizes")
    assert (result["replies"], result["chars"]) == (3, 31)
    (row,) = result["rows"]
    assert row["exact_share_of_chars"] == 8 / 31
    assert row["exact_share_of_replies"] == 1 / 3
    assert row["sentences_share_of_chars"] == 16 / 31
    assert row["sentences_share_of_replies"] == 1 / 3


def test_what_sounds_the_same_counts_as_the_same(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl.gz"
    corpus.write_bytes(gzip.compress(dialogues(["It’s  **here**.", "It's here."]).encode()))
    (row,) = replay(corpus, "--sizes")["rows"]
    assert row["exact_share_of_replies"] == 1 / 2


def test_a_bounded_cache_is_replayed_under_every_policy(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(dialogues([f"This is sentence number {n}." for n in range(1, 50)]))
    rows = replay(corpus, "--sizes", "0.5")["rows"]
    assert [(row["size"], row["policy"]) for row in rows] == [
        ("without bound", ""),
        ("50%", "tiny_lfu"),
        ("50%", "lru"),
    ]


def test_a_file_that_is_no_corpus_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    for name, content in (("no.jsonl", "{"), ("empty.jsonl", ""), ("other.jsonl", '{"a": 1}\n')):
        (tmp_path / name).write_text(content)
        done = run(tmp_path / name)
        assert done.returncode == 2
        assert name in done.stderr
        assert "Traceback" not in done.stderr
    assert run(tmp_path / "missing.jsonl").returncode == 2
