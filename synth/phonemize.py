"""How the engine's G2P pronounces a text: `python -m synth.phonemize --config FILE TEXT`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from pathlib import Path

from synth.engine import CannotSay
from synth.text.normalise import normalise
from synth.text.sentences import split
from synth.voices import LANGUAGES


def main() -> None:
    parser = argparse.ArgumentParser(prog="synth.phonemize", description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="the model's config.json")
    parser.add_argument("--language", default="a", choices=LANGUAGES)
    parser.add_argument("text")
    given = parser.parse_args()
    # What torch deprecates and misaki logs is nothing to whoever asks.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from synth.text.phonemes import Phonemizer  # torch: seconds.

    phonemize = Phonemizer(json.loads(given.config.read_text(encoding="utf-8"))["vocab"])
    language = LANGUAGES[given.language]
    try:
        for sentence in split(normalise(given.text, language), language):
            print("".join(said.phonemes for said in phonemize(sentence, language.code)))
    except CannotSay as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
