"""Cartesia's API.

Its API reference, "Text to Speech (Bytes)", has the fields, the encodings and the languages, which
are two letters; its guide "Volume, Speed, and Emotion" the range of speeds. Models before sonic-3
ignore the speed, and later ones take it for guidance.
"""

from __future__ import annotations

from proxy.fallback.request import Request, Wish, require_speed
from synth.engine import SAMPLE_RATE_HZ

_API_VERSION = "2025-04-16"
"""Asked for by date, in a header."""


class CartesiaApi:
    """`POST {url}/tts/bytes`."""

    version = "1"

    def request(self, url: str, api_key: str | None, wish: Wish) -> Request:
        require_speed(wish.speed, 0.6, 1.5)
        body: dict[str, object] = {
            "model_id": wish.model,
            "transcript": wish.text,
            "voice": {"mode": "id", "id": wish.voice},
            "language": wish.language.partition("-")[0],
            "output_format": {
                "container": "raw",
                "encoding": "pcm_s16le",
                "sample_rate": SAMPLE_RATE_HZ,
            },
        }
        if wish.speed != 1.0:
            body["generation_config"] = {"speed": wish.speed}
        headers = {"Cartesia-Version": _API_VERSION}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        return Request(f"{url}/tts/bytes", headers, body)
