"""ElevenLabs' API.

Its API reference, "Stream speech", has the path, the fields and `pcm_24000`; the range of speeds is
that of the guide "Text to Speech", under its settings. The language is not sent: the voices speak
what the text is in, and some models refuse a request that names one.
"""

from __future__ import annotations

from urllib.parse import quote

from proxy.fallback.request import Request, Wish, require_speed
from synth.engine import SAMPLE_RATE_HZ


class ElevenLabsApi:
    """`POST {url}/v1/text-to-speech/{voice}/stream`."""

    version = "1"

    def request(self, url: str, api_key: str | None, wish: Wish) -> Request:
        require_speed(wish.speed, 0.7, 1.2)
        body: dict[str, object] = {"text": wish.text, "model_id": wish.model}
        if wish.speed != 1.0:
            body["voice_settings"] = {"speed": wish.speed}
        voice = quote(wish.voice, safe="")
        return Request(
            f"{url}/v1/text-to-speech/{voice}/stream?output_format=pcm_{SAMPLE_RATE_HZ}",
            {} if api_key is None else {"xi-api-key": api_key},
            body,
        )
