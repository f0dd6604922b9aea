"""The documentation says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings import Option, options
from synth.audio.encode import CODECS, SAMPLE_RATES_HZ
from synth.voices import LANGUAGES

ROOT = Path(__file__).parents[1]


def _row(option: Option) -> str:
    match option.default:
        case Path():
            default = "the user's cache directory"
        case bool() | None:
            default = f"`{str(option.default).lower()}`"
        case ():
            default = "none of them"
        case _:
            default = f"`{option.default}`"
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


def test_every_link_of_the_readme_into_the_repository_leads_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [part.split(")")[0] for part in readme.split("](")[1:]]
    headings = {
        line.lstrip("# ").lower().replace(" ", "-")
        for line in readme.splitlines()
        if line.startswith("#")
    }
    anchors = [target.removeprefix("#") for target in targets if target.startswith("#")]
    assert set(anchors) <= headings
    inside = [target for target in targets if not target.startswith(("http", "/", "#"))]
    assert inside
    assert [target for target in inside if not (ROOT / target).exists()] == []
