"""Imports run one way, and the process that answers HTTP holds no model."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    ("proxy.client",),
    ("synth",),
    ("proxy.settings", "proxy.setting_values"),
    ("proxy.layers", "proxy.line_formatter", "proxy.whole_file"),
    ("proxy.cache",),
    ("proxy.speech",),
    ("proxy.fallback",),
    ("proxy.phrasebook",),
    ("proxy.parts",),
    ("proxy.api",),
    ("proxy.app",),
    ("proxy.tls", "proxy.http_log"),
    ("proxy.serve",),
    ("proxy.commands",),
    ("proxy.cli",),
    ("proxy.__main__",),
)
"""From below: a module imports nothing of a layer above its own."""

MODEL_PACKAGES = {
    *("torch", "kokoro", "misaki", "spacy", "transformers"),
    *("faster_whisper", "ctranslate2"),
}

ENGINE_MODULES = {
    *("synth.kokoro", "synth.worker", "synth.listener"),
    *("synth.text.phonemes", "synth.weights.convert"),
}
"""For engine processes, and for fetching: these load the model's packages."""


def modules(package: str) -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """What a module imports anywhere in it, but for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unseen: list[ast.AST] = [tree]
    while unseen:
        node = unseen.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            unseen += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path} has a relative import"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        unseen += ast.iter_child_nodes(node)


PROXY, SYNTH = modules("proxy"), modules("synth")


def within(name: str, packages: tuple[str, ...] | set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def layer_of(module: str) -> int:
    return next(i for i, packages in enumerate(LAYERS) if within(module, packages))


@pytest.mark.parametrize("module", [name for name in PROXY if name != "proxy"])
def test_no_module_imports_from_a_layer_above_its_own(module: str) -> None:
    for imported in imports(PROXY[module]):
        if within(imported, {"proxy", "synth"}) and imported not in ("proxy", "proxy.__version__"):
            assert layer_of(imported) <= layer_of(module), imported


@pytest.mark.parametrize("module", ["proxy.settings", "proxy.setting_values"])
def test_settings_import_nothing_else_of_the_proxy(module: str) -> None:
    others = set(PROXY) - {"proxy", "proxy.setting_values"}
    assert not [name for name in imports(PROXY[module]) if name in others]


@pytest.mark.parametrize("module", SYNTH)
def test_the_engine_imports_nothing_of_the_proxy(module: str) -> None:
    assert not [each for each in imports(SYNTH[module]) if within(each, {"proxy"})]


@pytest.mark.parametrize("module", PROXY)
def test_the_proxy_imports_no_model(module: str) -> None:
    for imported in imports(PROXY[module]):
        assert not within(imported, MODEL_PACKAGES | ENGINE_MODULES), imported


@pytest.mark.parametrize("module", [name for name in SYNTH if name not in ENGINE_MODULES])
def test_what_the_proxy_may_import_of_the_engine_loads_no_model_with_it(module: str) -> None:
    tree = ast.parse(SYNTH[module].read_text(encoding="utf-8"))
    for node in tree.body:  # At import; inside a function it is that function's caller's choice.
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not [name for name in names if within(name, MODEL_PACKAGES | ENGINE_MODULES)]


def test_the_modules_are_found_at_all() -> None:
    assert {"proxy", "proxy.app", "proxy.api.speech", "proxy.cache.disk"} <= set(PROXY)
    assert {"synth.engine", "synth.text.sentences"} | ENGINE_MODULES <= set(SYNTH)
    assert "torch" in set(imports(SYNTH["synth.kokoro"]))
    for module in PROXY:
        if module != "proxy":
            layer_of(module)


@pytest.mark.parametrize("module", ["proxy.app", "proxy.serve", "proxy.cli"])
def test_the_server_is_imported_without_the_model(module: str) -> None:
    script = f"import sys, {module}; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "proxy" in loaded
    assert loaded.isdisjoint(MODEL_PACKAGES)
    assert "av" not in loaded  # Nor what takes a third of a second, and most never need.
