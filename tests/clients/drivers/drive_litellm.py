"""LiteLLM's SDK, called as its users do."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import litellm
from say import say


def main() -> None:
    job = json.loads(sys.argv[1])
    where = {"api_base": job["base_url"], "api_key": job["key"]}
    speech = job["speech"]
    try:
        if job["how"] == "async":
            reply = asyncio.run(litellm.aspeech(**speech, **where))
        else:
            reply = litellm.speech(**speech, **where)
    except Exception as error:
        say("done", error=type(error).__name__, message=str(error))
        return
    Path(job["save"]).write_bytes(reply.content)
    say("done")


main()
