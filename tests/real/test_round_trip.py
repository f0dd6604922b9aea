"""What was written is what is heard."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest

from tests.real.recogniser import Heard, Recogniser, word_error_rate
from tests.real.server import Server, speak

SENTENCES = {
    "af_bella": (
        "The library closes early on Sunday evenings.",
        "Please have your account number ready before we begin.",
    ),
    "af_nicole": (
        "Your package should arrive at the front door tomorrow.",
        "We can move the appointment to another day.",
    ),
    "af_sarah": (
        "The doctor will call you back this afternoon.",
        "She asked whether the kitchen window was open.",
    ),
    "af_sky": (
        "Thank you for waiting while I looked into that.",
        "Five people are standing in front of the station.",
    ),
    "bf_emma": (
        "The train to the coast leaves from platform nine.",
        "Could you tell me which street you live on?",
    ),
    "bf_isabella": (
        "I have sent the letter to your home address.",
        "There is a small charge for changing the date.",
    ),
    "am_adam": (
        "Your table is booked for four people tonight.",
        "Press the green button and wait for the light.",
    ),
    "am_michael": (
        "The weather will be warm and dry all week.",
        "We close the office at noon on holidays.",
    ),
    "bm_george": (
        "Your refund has been approved and is on its way.",
        "How many nights would you like to stay with us?",
    ),
    "bm_lewis": (
        "The water was cold, but the children did not mind.",
        "Have you tried turning the router off and on again?",
    ),
}

MAX_WORD_ERROR_RATE = 0.05
MAX_ONSET_S = 0.060
MAX_TAIL_S = 0.150


@pytest.mark.parametrize("format", ["wav", "mp3"])
async def test_a_recogniser_reads_back_what_was_written(
    format: str,
    server: Server,
    http: aiohttp.ClientSession,
    recogniser: Recogniser,
    measured: Callable[[str], None],
) -> None:
    said: list[str] = []
    heard: list[Heard] = []
    for voice, sentences in SENTENCES.items():
        for sentence in sentences:
            reply = await speak(http, server, sentence, voice, format)
            said.append(sentence)
            heard.append(recogniser.hear(reply))

    wrong = [
        (s, h.text) for s, h in zip(said, heard, strict=True) if word_error_rate([s], [h.text])
    ]
    rate = word_error_rate(said, [one.text for one in heard])
    onsets = [one.onset_s() * 1000 for one in heard]
    measured(
        f"round trip, {format}: word error rate {rate:.1%} over {len(said)} sentences and "
        f"{len(SENTENCES)} voices; onset {min(onsets):.0f} to {max(onsets):.0f} ms"
    )
    assert rate <= MAX_WORD_ERROR_RATE, wrong
    assert max(onsets) <= MAX_ONSET_S * 1000
    assert max(one.tail_s() for one in heard) <= MAX_TAIL_S


async def test_a_reply_of_several_sentences_has_all_of_them_in_every_format(
    server: Server, http: aiohttp.ClientSession, recogniser: Recogniser
) -> None:
    sentences = ("The meeting has moved.", "It starts at noon now.", "Bring the blue folder.")
    for format in ("wav", "mp3"):
        streamed = await speak(http, server, " ".join(sentences), "af_sarah", format)
        kept = await speak(http, server, " ".join(sentences), "af_sarah", format)
        for reply in (streamed, kept):
            assert word_error_rate([" ".join(sentences)], [recogniser.hear(reply).text]) == 0


@pytest.mark.parametrize(
    ("voice", "text"),
    [
        ("ef_dora", "Gracias por llamar, ¿en qué puedo ayudarle?"),
        ("ff_siwis", "Bonjour, comment puis-je vous aider ?"),
        ("hf_alpha", "नमस्ते, मैं आपकी कैसे मदद कर सकती हूँ?"),
        ("if_sara", "Buongiorno, come posso aiutarla?"),
        ("pf_dora", "Olá, como posso ajudar?"),
        ("af_bella(2)+af_sky(1)", "Two voices speak as one."),
    ],
)
async def test_every_language_and_blendsspeak(
    voice: str, text: str, server: Server, http: aiohttp.ClientSession, recogniser: Recogniser
) -> None:
    heard = recogniser.hear(await speak(http, server, text, voice, "wav"))
    assert 0.8 <= heard.duration_s <= 6.0
    assert heard.onset_s() <= MAX_ONSET_S
