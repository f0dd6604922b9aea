"""`kokoro-edge phrasebook phonemes`: how a text is pronounced, for whoever writes a lexicon."""

from __future__ import annotations

import argparse
import subprocess
import sys

from proxy.commands.failure import EXIT_USAGE, CommandFailed
from proxy.settings import Settings
from synth.voices import UnknownLanguage, parse_language
from synth.weights import WeightsError, installed
from synth.weights.sources import CONFIG_FILE


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Returns the exit code. Raises CommandFailed: it cannot be told.

    In a process of its own: G2P brings torch, which has no place in this one.
    """
    try:
        language = parse_language(given.language)
        found = installed(settings.engine.weights, settings.cache.directory.expanduser())
    except UnknownLanguage as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None
    except WeightsError as error:
        raise CommandFailed(str(error)) from None
    if found is None:
        raise CommandFailed("the model is not here yet: run `kokoro-edge fetch`")
    command = [sys.executable, "-m", "synth.phonemize", "--config", str(found.folder / CONFIG_FILE)]
    command += ["--language", language.code, "--", given.text]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise CommandFailed(lines[-1] if lines else "it cannot be pronounced")
    print(done.stdout.strip())
    return 0
