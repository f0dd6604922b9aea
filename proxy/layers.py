"""Where settings come from: flags beat environment beats file beats defaults."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import TypeAdapter

from proxy.settings import (
    ENVIRONMENT_PREFIX,
    SECRETS,
    Option,
    ProviderSettings,
    Settings,
    options,
)

CONFIG_VARIABLE = ENVIRONMENT_PREFIX + "CONFIG"
DEFAULT_FILE = Path("kokoro-edge.yaml")

_PROVIDER_FIELDS = frozenset(field.name for field in fields(ProviderSettings))


class SettingsError(Exception):
    """A setting is wrong. One line: where it is set, what is wrong, what would be right."""


def load(
    flags: Mapping[str, str], environment: Mapping[str, str], file: Path | None = None
) -> Settings:
    """Merge the layers and check them. An empty variable of the environment counts as unset.

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
        *((" or ".join(known[key].flags), {key: value}) for key, value in flags.items()),
    ]
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    return _checked(values, origins)


def _file_layer(
    file: Path | None, environment: Mapping[str, str], known: Mapping[str, Option]
) -> tuple[str, dict[str, object]]:
    from_environment = environment.get(CONFIG_VARIABLE)
    named = file or (Path(from_environment) if from_environment else None)
    path = named or DEFAULT_FILE
    if named is None and not path.exists():
        return str(path), {}
    try:
        with path.open(encoding="utf-8") as stream:
            # Not its text: of that, errors repeat the line, in which a key may stand.
            content = yaml.safe_load(stream)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content or {}, dict):
        raise SettingsError(f"{path}: must hold groups of settings, such as 'server:'")
    layer: dict[str, object] = {}
    groups = {option.group for option in known.values()}
    for group, settings in (content or {}).items():
        if group not in groups:
            raise SettingsError(f"{path}: unknown group {group!r}.{nearest(str(group), groups)}")
        if settings is None:  # As in `server:`, with every setting in it commented out.
            continue
        if not isinstance(settings, dict):
            raise SettingsError(
                f"{path}: {group} must hold settings, as in '{group}: {{name: value}}'"
            )
        for name, value in settings.items():
            key = f"{group}.{name}"
            if key not in known:
                raise SettingsError(f"{path}: unknown setting {key}.{nearest(key, known)}")
            if isinstance(value, bool) and not isinstance(known[key].default, bool):
                raise SettingsError(
                    f"{path}: {key} is {value}: YAML reads yes, no, on and off as true and false; "
                    "this setting is neither"
                )
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
        if variable.startswith(links) or not value:
            continue
        if variable not in keys:
            raise SettingsError(
                f"environment: unknown variable {variable}.{nearest(variable, keys)}"
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
        place = key + _within(key, error["loc"][2:])
        shown = "wrong" if key in SECRETS else repr(values.get(key, error["input"]))
        raise SettingsError(
            f"{origins.get(key, 'settings')}: {place} is {shown}: {_what_is_wrong(error)}"
        ) from None


def _what_is_wrong(error: Any) -> str:
    if error["type"] == "unexpected_keyword_argument":  # Its name is not told: see `_within`.
        return f"It has a field that there is not; there are {', '.join(sorted(_PROVIDER_FIELDS))}"
    return str(error["msg"])


def _within(key: str, parts: tuple[int | str, ...]) -> str:
    """Where in a setting's value it is wrong. Of a secret, only places that we name ourselves: a
    name in a mapping may be the key, which somebody wrote in the wrong place."""
    if key in SECRETS:
        parts = parts[:2] if key == "fallback.providers" else ()
        parts = tuple(part for part in parts if isinstance(part, int) or part in _PROVIDER_FIELDS)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence, with a leading blank, that names what `name` is most like."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f" The nearest is {matches[0]}." if matches else ""
