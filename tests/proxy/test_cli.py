"""The command as it is installed: what it prints, and where, and how it exits."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy import __version__
from proxy.settings import options
from synth import weights
from synth.voices import VOICES

COMMAND = Path(sys.executable).with_name("kokoro-edge")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run(*arguments, **environment)`, in an empty folder and with an empty cache."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if "KOKORO" not in name}
        cache = {"KOKORO_EDGE_CACHE_DIRECTORY": str(tmp_path / "cache")}
        return subprocess.run(
            [COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**kept, **cache, **environment},
        )

    return run


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in ("kokoro-edge: ", *says):
        assert part in done.stderr


def test_help_names_every_command(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("serve", "fetch", "voices"):
        assert re.search(rf"^ +{command} ", done.stdout, re.MULTILINE)


def test_help_of_serve_names_every_setting_with_its_default(run: Run) -> None:
    done = run("serve", "--help", COLUMNS="500")
    assert done.returncode == 0
    for option in options():
        if option.key != "cache.directory":  # Its default is of the user who asks.
            default = re.escape(f"(default: {option.default_shown or 'none'})")
            assert re.search(rf"{option.flag} [A-Z_]+\s+.*{default}", done.stdout), option.key
    assert "--port" in done.stdout and "--host" in done.stdout


def test_the_version_is_told(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"kokoro-edge {__version__}\n")


def test_python_m_proxy_is_the_same_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"kokoro-edge {__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("sing",), ("serve", "quickly"), ("serve", "--port")])
def test_a_wrong_call_is_told_how_to_call(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: kokoro-edge")
    assert "Traceback" not in done.stderr


def test_a_wrong_flag_is_one_line(run: Run) -> None:
    for flag in ("--port", "--server-port"):
        done = run("serve", flag, "http")
        assert_one_line(done, 2, "--server-port or --port: server.port is 'http'")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("serve", "--engine-devise", "cpu"),
            "unknown flag --engine-devise. The nearest is --engine-device.",
        ),
        (("serve", "--engine-devise=cpu"), "The nearest is --engine-device."),
        (("serve", "--prot", "1"), "The nearest is --port."),
        (("serve", "--engine-dev", "cpu"), "The nearest is --engine-device."),
        (("fetch", "--confg", "a.yaml"), "The nearest is --config."),
        (("fetch", "--port", "1"), "--port is no flag of `kokoro-edge fetch`"),
    ],
)
def test_an_unknown_flag_is_one_line_that_names_the_nearest(
    run: Run, arguments: tuple[str, ...], says: str
) -> None:
    assert_one_line(run(*arguments), 2, says)


def test_a_wrong_variable_is_one_line(run: Run) -> None:
    assert_one_line(run("voices", KOKORO_EDGE_SERVER_PROT="1"), 2, "KOKORO_EDGE_SERVER_PORT")
    assert_one_line(run("serve", KOKORO_EDGE_LOG_LEVEL="LOUD"), 2, "KOKORO_EDGE_LOG_LEVEL: ")


def test_a_wrong_file_is_one_line(run: Run, tmp_path: Path) -> None:
    assert_one_line(run("serve", "--config", "gone.yaml"), 2, "gone.yaml: cannot be read")
    (tmp_path / "kokoro-edge.yaml").write_text("server: {prot: 1}")
    assert_one_line(run("serve"), 2, "kokoro-edge.yaml: ", "server.port")


def test_a_bad_folder_of_phrasebooks_is_one_line(run: Run, tmp_path: Path) -> None:
    done = run("serve", "--phrasebook-directory", "nowhere")
    assert_one_line(done, 2, "nowhere: is not a folder of phrasebooks")
    (tmp_path / "empty").mkdir()
    done = run("serve", "--phrasebook-directory", "empty")
    assert_one_line(done, 2, "empty: holds no phrasebook")
    (tmp_path / "book.yaml").write_text(
        "{name: b, voices: [af_bella], formats: [mp3], phrases: [Hi.]}"
    )
    done = run("serve", "--phrasebook-directory", str(tmp_path), "--phrasebook-books", "a")
    assert_one_line(done, 2, "holds no book named 'a', which phrasebook.books names")


def test_a_word_that_is_no_source_of_weights_is_one_line(run: Run) -> None:
    for command, code in (("serve", 2), ("voices", 1), ("fetch", 1)):
        assert_one_line(
            run(command, "--engine-weights", "nowhere"), code, "'nowhere' is no source of weights"
        )


def test_an_address_in_use_is_one_line(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", port)
    # Not even the start of the engine is logged.
    assert_one_line(done, 1, f"cannot serve: 127.0.0.1:{port}: Address already in use")


def test_a_host_that_is_not_known_is_one_line(run: Run) -> None:
    done = run("serve", "--host", "nowhere.invalid")
    assert_one_line(done, 1, "cannot serve: nowhere.invalid: ")


def test_a_cache_directory_that_cannot_be_made_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run("serve", "--port", "0", "--cache-directory", str(tmp_path / "file" / "cache"))
    assert_one_line(done, 1, "cannot serve: ", str(tmp_path / "file"))


def test_all_voices_are_listed(run: Run) -> None:
    done = run("voices")
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"\b[a-z][fm]_[a-z]+\b", done.stdout)
    assert listed == list(VOICES) and len(listed) == 54
    assert "af_bella (default)" in done.stdout
    # A voice is a line, whether it is here or not.
    states = re.findall(
        r"(no: run kokoro-edge fetch|needs kokoro-edge\[(?:ja|zh)\]) +│$", done.stdout, re.M
    )
    assert len(states) == 54


def test_voices_tells_which_are_here(run: Run, weights_folder: Path, tmp_path: Path) -> None:
    weights.fetch(str(weights_folder), tmp_path / "cache")
    done = run("voices", "--engine-weights", str(weights_folder))
    assert done.returncode == 0
    assert "no: run" not in done.stdout
    assert done.stdout.count(" yes ") >= 41


def test_fetch_tells_where_the_weights_are(run: Run, weights_folder: Path) -> None:
    done = run("fetch", "--engine-weights", str(weights_folder))
    assert done.returncode == 0
    assert "54 voices" in " ".join(done.stderr.split())


def test_serve_fetches_what_is_missing_first_and_ends_as_the_fetch_does(run: Run) -> None:
    done = run("serve", "--fetch", "--engine-weights", "./none")
    assert (done.returncode, done.stdout) == (1, "")
    assert "kokoro-edge: there is no folder of weights at " in done.stderr
    assert "listening" not in done.stderr
    done = run("serve", "--fetch", "--engine-weights", "nowhere")
    assert_one_line(done, 2, "'nowhere' is no source of weights")


def test_serve_fetches_nothing_that_is_here(run: Run, weights_folder: Path, tmp_path: Path) -> None:
    weights.fetch(str(weights_folder), tmp_path / "cache")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("serve", "--fetch", "--port", port, "--engine-weights", str(weights_folder))
    assert_one_line(done, 1, "cannot serve: ")
