"""A client in its own environment, driven as a process of its own: see `scripts/clients`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_ENVIRONMENTS = _HERE.parents[1] / ".venv-clients"

_DEADLINE_S = 60.0

Said = Mapping[str, Any]
"""A line of JSON that a driver printed."""


@dataclass(frozen=True, slots=True)
class Client:
    """A package that will call this server. Its version is pinned in `pins`."""

    name: str
    """Of its pins, and of the folder it is installed in."""
    label: str
    driver: str

    @property
    def title(self) -> str:
        """What it is called, and its version: a row of the matrix."""
        [pins] = (_HERE / "pins").glob(f"{self.name}.*")
        text = pins.read_text(encoding="utf-8")
        if pins.suffix == ".json":
            [version] = json.loads(text)["dependencies"].values()
        else:
            version = text.split()[0].partition("==")[2]
        return f"{self.label} {version}"

    @property
    def folder(self) -> Path:
        return _ENVIRONMENTS / self.name

    def why_not(self) -> str | None:
        """Why it cannot be driven here; None where it can."""
        if (self.folder / ".installed").exists():
            return None
        log = self.folder / "install.log"
        if not log.exists():
            return "is not installed: run scripts/clients"
        lines = log.read_text(encoding="utf-8").splitlines()
        wrong = [line for line in lines if re.match(r"(npm )?error\b", line, re.IGNORECASE)]
        return f"cannot be installed here: {[*wrong, *lines[-1:], 'nothing was said'][0]}"

    @contextmanager
    def driving(self, case: str, **job: Any) -> Iterator[Drive]:
        """Run its driver, which does `case`, beside the test."""
        driver = _HERE / "drivers" / self.driver
        interpreter = ["node"] if driver.suffix != ".py" else [str(self.folder / "bin" / "python")]
        process = subprocess.Popen(
            [*interpreter, driver, json.dumps({"case": case, **job})],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        drive = Drive(process)
        try:
            yield drive
        finally:
            drive.end()

    def drive(self, case: str, **job: Any) -> Said:
        """Run its driver to the end. What it said last."""
        with self.driving(case, **job) as drive:
            return drive.wait_for("done")


class Drive:
    """A driver that runs. It prints what happens as lines of JSON, each with an `event`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._errors: list[str] = []
        assert process.stderr is not None
        self._reader = threading.Thread(target=self._errors.extend, args=(process.stderr,))
        self._reader.start()
        self._deadline = threading.Timer(_DEADLINE_S, process.kill)
        self._deadline.start()

    def wait_for(self, event: str) -> Said:
        """Read on to a line of this event. Fails where the driver ends before."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.startswith("{"):
                continue  # What a client prints by itself.
            said: Said = json.loads(line)
            if said["event"] == event:
                return said
        self.end()
        raise AssertionError(f"the driver ended without {event!r}")

    def end(self) -> None:
        """Stop it. What it wrote to stderr is shown where the test fails."""
        self._deadline.cancel()
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        print("".join(self._errors), file=sys.stderr)
        self._errors.clear()


OPENAI_PYTHON = Client("openai-python", "openai-python", "drive_openai.py")
OPENAI_NODE = Client("openai-node", "openai-node", "drive_openai.mjs")
LIVEKIT_1_8 = Client("livekit-1.8", "livekit-plugins-openai", "drive_livekit.py")
LIVEKIT_1_6 = Client("livekit-1.6", "livekit-plugins-openai", "drive_livekit.py")
PIPECAT = Client("pipecat", "pipecat-ai", "drive_pipecat.py")
LITELLM = Client("litellm", "LiteLLM", "drive_litellm.py")
JAMBONZ = Client("jambonz", "jambonz speech-utils", "drive_jambonz.cjs")
