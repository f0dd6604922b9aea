"""`kokoro-edge phrasebook phonemes`: what a lexicon is put together from."""

from __future__ import annotations

import subprocess
from pathlib import Path

from synth.weights import Weights
from tests.real.server import COMMAND


def pronounce(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [COMMAND, "phrasebook", "phonemes", *arguments]
    command += ["--cache-directory", directory]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=directory)


def test_a_text_is_told_as_it_is_pronounced(cache_dir: Path, real_weights: Weights) -> None:
    done = pronounce(cache_dir, "--language", "en-gb", "[Kokoro](/kˈOkəɹO/) is on the way.")
    assert (done.returncode, done.stdout) == (0, "kˈOkəɹO ɪz ˌɒn ðə wˈA.\n")


def test_what_has_no_sound_is_told_in_one_line(cache_dir: Path, real_weights: Weights) -> None:
    done = pronounce(cache_dir, "∮")
    assert done.returncode == 1
    assert done.stderr.startswith("kokoro-edge: American English has no way to say '∮'")
    assert len(done.stderr.splitlines()) == 1


def test_a_language_that_is_not_known_is_told_in_one_line(
    cache_dir: Path, real_weights: Weights
) -> None:
    done = pronounce(cache_dir, "--language", "en-au", "way")
    assert done.returncode == 2
    assert done.stderr.startswith("kokoro-edge: There is no language 'en-au'.")
