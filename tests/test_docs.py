"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from proxy.layers import load
from proxy.phrasebook.reading.read import read_book
from proxy.settings import Option, options
from synth.audio.codecs import CODECS, SAMPLE_RATES_HZ
from synth.voices import LANGUAGES

ROOT = Path(__file__).parents[1]

_YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def _row(option: Option) -> str:
    match option.default:
        case Path():
            default = "the user's cache directory"
        case _:
            default = f"`{option.default_shown}`" if option.default_shown else "none"
    return f"| `{option.key}` | {default} | {option.help} |"


@pytest.mark.parametrize("option", options(), ids=lambda option: option.key)
def test_every_setting_stands_in_the_settings_page_with_its_default_and_its_help(
    option: Option,
) -> None:
    assert _row(option) in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_the_settings_page_has_no_setting_that_is_gone() -> None:
    rows = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").splitlines()
    assert {row for row in rows if row.startswith("| `")} == {_row(option) for option in options()}


def test_the_readme_names_every_codec_sample_rate_and_language() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{codec}`" in readme for codec in CODECS)
    assert all(f"`{rate_hz}`" in readme for rate_hz in SAMPLE_RATES_HZ)
    assert all(f"`{code}`" in readme for code in LANGUAGES)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_every_page_has_a_title_and_something_to_say(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    assert content.startswith("# ")
    assert len(content) > 200


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{name}.md" for name in ("phrasebooks", "clients", "fallback"))]
)
def test_every_example_of_a_file_is_read_without_a_complaint(page: str, tmp_path: Path) -> None:
    examples = _YAML.findall((ROOT / page).read_text(encoding="utf-8"))
    assert examples
    groups = {option.group for option in options()}
    for number, example in enumerate(examples):
        keys = re.findall(r"^(\w+):", example, re.MULTILINE)
        folder = tmp_path / str(number)
        folder.mkdir()
        if keys and groups.issuperset(keys):
            (folder / "kokoro-edge.yaml").write_text(example, encoding="utf-8")
            load({}, {}, folder / "kokoro-edge.yaml")
        elif keys or example.lstrip().startswith("- "):
            book = read_book(_book(example, keys, folder))
            assert book.problems == (), example
            assert book.books[0].phrases


def _book(example: str, keys: list[str], folder: Path) -> Path:
    """A file of it, with whatever the example leaves out."""
    needed = {"name": "example", "voices": "[af_bella]", "formats": "[mp3]"}
    head = "".join(f"{key}: {value}\n" for key, value in needed.items() if key not in keys)
    head += "" if "phrases" in keys else "phrases:\n"
    for name in re.findall(r"recording: ([\w/.]+)", example):
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, 0.1 * np.sin(np.arange(24_000) / 10), 24_000)
    for names in re.findall(r"include: \[(.*)\]", example):
        for name in names.split(", "):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("phrases: [One moment.]\n", encoding="utf-8")
    path = folder / "book.yaml"
    path.write_text(head + example, encoding="utf-8")
    return path


def _headings(page: Path) -> set[str]:
    """As links name them."""
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("# ").lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if link.startswith(("http", "/")):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not heading or heading in _headings(target), link
