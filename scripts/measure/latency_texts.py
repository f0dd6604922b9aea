"""The texts that `scripts/latency` has spoken: exact in words, and never said before.

A server that caches single sentences answers a new text in old sentences from its cache, so a new
text is not enough: every *sentence* carries a spoken reference, three ordinary words drawn at
random. There are over two million references, none is used twice in a run, and a text with one of
them inside is what an agent on the telephone really says. Repeating a seed repeats the texts: they
are then no longer cold.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

REFERENCE_WORDS = 3


@dataclass(frozen=True, slots=True)
class Length:
    """One of the sizes that are measured."""

    name: str
    sentence_words: tuple[int, ...]
    """Words of each sentence. All begin with ten: how soon a server that streams sentence by
    sentence is heard hangs on the first one, and the lengths are to differ in the rest alone."""

    @property
    def words(self) -> int:
        return sum(self.sentence_words)


SHORT = Length("short", (10,))
MEDIUM = Length("medium", (10, 8, 12))
LONG = Length("long", (10, 12, 8, 11, 9, 10, 9, 11, 8, 12))
LENGTHS = (SHORT, MEDIUM, LONG)

_SENTENCES = (
    "I have your reference as {}.",
    "Please write down {} for later.",
    "Your new booking code is {}.",
    "The password you chose is {}.",
    "Thanks for waiting, your case is {}.",
    "The technician will ask you for {}.",
    "Can you read {} back to me?",
    "Your parcel is waiting under {} today.",
    "Hello, I am calling about your order {}.",
    "Your table is booked under the words {}.",
    "I can see a payment made for {}.",
    "Your delivery {} arrives tomorrow before ten o'clock.",
    "Thank you, I found {} in our records.",
    "Your refund for {} should reach your bank soon.",
    "If you call again, simply tell us {} first.",
    "I am sending {} to your phone right now.",
    "The engineer for {} is free on Tuesday morning.",
    "You can track {} on our website at any time.",
    "I have moved {} to the afternoon, as you asked.",
    "Our team has checked {} and will write to you.",
    "Is there anything else about {} that I can explain?",
)

_WORDS = """
acorn amber anchor apple arrow autumn bamboo barley basket beacon berry birch bottle branch breeze
bridge button cabin candle canyon carpet castle cedar cherry chimney circle clover cobalt comet
copper coral cotton cradle crystal daisy desert dolphin dragon eagle ember falcon feather fern
fiddle flint forest fountain garden garnet ginger glacier granite guitar hammer harbor hazel heron
hollow honey island ivory jacket jasmine jungle kettle kitten ladder lantern lemon lilac linen
lizard magnet maple marble meadow melon mirror monkey mountain mustard nectar needle nutmeg olive
orange orchard otter oyster paddle paper parrot pebble pepper pigeon pillow planet pocket pony
puzzle quartz rabbit raven ribbon river robin rocket saddle salmon scarlet shadow silver spider
summer sunset tiger timber tulip turtle valley velvet violet walnut willow window winter yellow
zebra
""".split()


class Texts:
    """An endless supply of texts for one run, no two with a sentence in common."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._said: set[str] = set()

    def make(self, length: Length) -> str:
        """A new text of exactly `length.words` words, counted at blanks."""
        frames: list[str] = []
        for words in length.sentence_words:
            fitting = [s for s in _frames(words) if s not in frames]
            frames.append(self._random.choice(fitting))
        return " ".join(frame.format(self._reference()) for frame in frames)

    def _reference(self) -> str:
        while (words := " ".join(self._random.sample(_WORDS, REFERENCE_WORDS))) in self._said:
            pass
        self._said.add(words)
        return words


def _frames(words: int) -> list[str]:
    """The sentences that have `words` words once the reference stands in them."""
    return [s for s in _SENTENCES if len(s.split()) - 1 + REFERENCE_WORDS == words]
