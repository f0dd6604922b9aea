"""OpenAI's speech API, and every server that is compatible with it.

OpenAI's API reference, "Create speech", has the fields; its guide "Text to speech" says that `pcm`
is 24 kHz, 16-bit signed, little-endian, without a header. The speed is only sent where it is not 1:
some compatible servers have none.
"""

from __future__ import annotations

from proxy.fallback.request import Request, Wish, require_speed


class OpenAiApi:
    """`POST {url}/audio/speech`; the URL ends in `/v1`, as the base URL of OpenAI's clients."""

    version = "1"

    def request(self, url: str, api_key: str | None, wish: Wish) -> Request:
        require_speed(wish.speed, 0.25, 4.0)
        body: dict[str, object] = {
            "model": wish.model,
            "input": wish.text,
            "voice": wish.voice,
            "response_format": "pcm",
        }
        if wish.speed != 1.0:
            body["speed"] = wish.speed
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        return Request(f"{url}/audio/speech", headers, body)
