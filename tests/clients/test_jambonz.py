"""jambonz speech-utils: its custom vendor, and its OpenAI one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.client import JAMBONZ
from tests.clients.conftest import KEY, TEXT, VOICE, Real


@pytest.mark.case(JAMBONZ, "custom")
@pytest.mark.parametrize(
    ("query", "extension", "format", "rate_hz"),
    [
        ("", "r8", "l16", 8000),
        ("?response_format=l16&sample_rate=16000", "r16", "l16", 16_000),
        ("?response_format=wav", "wav", "wav", 8000),
        ("?response_format=mp3", "mp3", "mp3", 8000),
    ],
)
async def test_what_its_custom_vendor_gets_is_in_a_file_that_freeswitch_plays(
    query: str, extension: str, format: str, rate_hz: int, real: Real, tmp_path: Path
) -> None:
    """It names the file by the answer's type, and the name tells FreeSWITCH how to read it."""
    speech = _speech("custom:kokoro-edge") | {
        "credentials": {
            "vendor": "custom:kokoro-edge",
            "auth_token": KEY,
            "custom_tts_url": f"{real.base_url}/webhooks/jambonz{query}",
        }
    }
    file = _drive(speech, tmp_path)
    assert file.suffix == f".{extension}"
    await real.check(file.read_bytes(), TEXT, VOICE, format, rate_hz)


@pytest.mark.case(JAMBONZ, "whisper")
async def test_its_openai_vendor_gets_an_mp3(real: Real, tmp_path: Path) -> None:
    speech = _speech("whisper") | {
        "credentials": {"api_key": KEY, "model_id": "tts-1", "baseURL": real.base_url}
    }
    file = _drive(speech, tmp_path)
    await real.check(file.read_bytes(), TEXT, VOICE, "mp3")


def _speech(vendor: str) -> dict[str, Any]:
    return {"vendor": vendor, "language": "en-US", "voice": VOICE, "text": TEXT}


def _drive(speech: dict[str, Any], folder: Path) -> Path:
    done = JAMBONZ.drive("say", speech=speech, save=str(folder))
    assert "error" not in done, done
    return Path(done["path"])
