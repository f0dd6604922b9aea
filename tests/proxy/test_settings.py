"""Settings: which layer wins, and what is said of a wrong one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path

import pydantic
import pytest

from proxy.layers import SettingsError, load
from proxy.setting_values import OPENAI_VOICES
from proxy.settings import ProviderSettings, Settings, options

VALUES = {"flag": 8001, "environment": 8002, "file": 8003, "default": 8000}
LAYERS = list(VALUES)


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def file(content: str, name: str = "kokoro-edge.yaml") -> Path:
    Path(name).write_text(content, encoding="utf-8")
    return Path(name)


def problem(
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    content: str | None = None,
) -> str:
    """What is said of these settings: always one line."""
    if content is not None:
        file(content)
    with pytest.raises(SettingsError) as wrong:
        load(flags or {}, environment or {})
    said = str(wrong.value)
    assert said and "\n" not in said
    return said


@pytest.mark.parametrize("upper", LAYERS)
@pytest.mark.parametrize("lower", LAYERS)
def test_the_upper_layer_wins(upper: str, lower: str) -> None:
    given = {upper, lower}
    if "file" in given:
        file(f"server: {{port: {VALUES['file']}}}")
    environment = {"KOKORO_EDGE_SERVER_PORT": str(VALUES["environment"])}
    settings = load(
        {"server.port": str(VALUES["flag"])} if "flag" in given else {},
        environment if "environment" in given else {},
    )
    assert settings.server.port == VALUES[min(given, key=LAYERS.index)]


def test_layers_are_merged_setting_by_setting() -> None:
    file("server: {port: 1, host: from-file, shutdown_s: 3}\nengine: {threads: 2}")
    settings = load(
        {"server.port": "5"},
        {"KOKORO_EDGE_SERVER_HOST": "from-env", "KOKORO_EDGE_LOG_LEVEL": "DEBUG"},
    )
    assert (settings.server.port, settings.server.host) == (5, "from-env")
    assert (settings.server.shutdown_s, settings.engine.threads) == (3, 2)
    assert settings.log.level == "DEBUG"


def test_nothing_set_is_the_defaults() -> None:
    assert load({}, {"HOME": "/root", "PATH": "/bin"}) == Settings()


EXAMPLES: dict[str, tuple[str, object]] = {
    "server.admin_key": ("correct horse", pydantic.SecretStr("correct horse")),
    "auth.keys": ("desk=battery-staple", {"desk": pydantic.SecretStr("battery-staple")}),
    "auth.requests_per_minute": ("60", 60),
    "auth.requests_per_minute_by_key": ("desk=60", {"desk": 60}),
    "server.cors_origins": ("https://app.example.com", ("https://app.example.com",)),
    "server.tls_certificate": ("/tls/tls.crt", Path("/tls/tls.crt")),
    "server.tls_key": ("/tls/tls.key", Path("/tls/tls.key")),
    "cache.ttl_s": ("60", 60.0),
    "cache.never_store": ("emails", ("emails",)),
    "cache.never_store_patterns": (r"ref-\d+", (re.compile(r"ref-\d+"),)),
    "fallback.providers": (
        "[{name: a, kind: openai, url: 'http://host', model: m, voice: v}]",
        (ProviderSettings(name="a", kind="openai", url="http://host", model="m", voice="v"),),
    ),
    "phrasebook.directory": ("/somewhere", Path("/somewhere")),
    "phrasebook.books": ("desk", ("desk",)),
    "voice.aliases": ("zoe=bf_emma", {**OPENAI_VOICES, "zoe": "bf_emma"}),
    "warm.verify_model": ("small", "small"),
}
"""Of settings whose default cannot be written down: how to set one, and what that is."""


def test_every_setting_can_be_set_in_every_layer() -> None:
    for option in options():
        value, meant = EXAMPLES.get(option.key, (str(option.default), option.default))
        group, name = option.key.split(".")
        for settings in (
            load({option.key: value}, {}),
            load({}, {option.variable: value}),
            load({}, {}, file(f"{group}: {{{name}: {value}}}", "other.yaml")),
        ):
            found = getattr(getattr(settings, group), name)
            assert found == meant, option.key


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("cache.never_store", "emails, card_numbers ,", ("emails", "card_numbers")),
        ("cache.never_store", "", ()),
        ("cache.never_store_patterns", "a{1,2}", (re.compile("a{1,2}"),)),
        ("cache.never_store_patterns", "['a,b', c]", (re.compile("a,b"), re.compile("c"))),
    ],
)
def test_lists_can_be_given_in_one_line(key: str, value: str, meant: tuple[object, ...]) -> None:
    assert getattr(load({key: value}, {}).cache, key.partition(".")[2]) == meant


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("cache.never_store", "email", "emails"),
        ("cache.never_store_patterns", "a(", "regular expression"),
        ("cache.never_store_patterns", "['a", "quotes"),
        ("cache.ttl_s", "0", "greater than 0"),
        ("cache.disk_admission", "third", "'first' or 'second'"),
        ("engine.after_hangup", "go on", "finish_segment"),
        ("voice.aliases", "zoe", "name=value"),
        ("voice.aliases", "zoe=af_bela", "no voice 'af_bela'"),
        ("voice.aliases", "af_bella=af_sky", "af_bella is a voice itself"),
    ],
)
def test_a_wrong_value_is_told_with_what_would_be_right(key: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load({key: value}, {})


def test_a_wrong_secret_is_not_told() -> None:
    with pytest.raises(SettingsError, match="at least 8") as wrong:
        load({}, {"KOKORO_EDGE_SERVER_ADMIN_KEY": "hunter2"})
    assert "hunter2" not in str(wrong.value)
    settings = load({}, {"KOKORO_EDGE_SERVER_ADMIN_KEY": "correct horse"})
    assert "horse" not in repr(settings)


NO_NAME = "sk-0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("environment", "content"),
    [
        ({"KOKORO_EDGE_AUTH_KEYS": f"{NO_NAME}=desk"}, None),
        ({"KOKORO_EDGE_AUTH_KEYS": f"{NO_NAME}="}, None),
        ({"KOKORO_EDGE_AUTH_KEYS": NO_NAME}, None),
        ({"KOKORO_EDGE_AUTH_KEYS": f"{NO_NAME}/=desk-0123456789"}, None),
        ({}, f"auth: {{keys: {{{NO_NAME}: desk}}}}"),
        ({}, f"auth: {{keys: {{{NO_NAME}: 5}}}}"),
        ({}, f"auth: {{keys: {{{NO_NAME}: [desk]}}}}"),
        ({}, f"auth: {{keys: {{desk: {{{NO_NAME}: desk}}}}}}"),
        ({}, f"auth: {{keys: [{NO_NAME}]}}"),
        ({}, "auth: {keys: {101234567891: desk}}"),
        ({}, f"fallback: {{providers: [{{name: a, {NO_NAME}: b}}]}}"),
        ({}, f"fallback: {{providers: [{{{NO_NAME}: b}}]}}"),
        ({}, f"fallback: {{providers: {{{NO_NAME}: b}}}}"),
        ({"KOKORO_EDGE_FALLBACK_PROVIDERS": f"[{{{NO_NAME}: b}}]"}, None),
    ],
)
def test_a_key_that_stands_where_its_name_should_is_not_told(
    environment: Mapping[str, str], content: str | None
) -> None:
    said = problem(environment=environment, content=content)
    assert NO_NAME[:10] not in said and "10123" not in said
    assert " is wrong: " in said and ("auth.keys" in said or "fallback.providers" in said)


def test_a_file_that_is_not_yaml_is_told_with_the_place_and_without_what_stands_there() -> None:
    said = problem(content=f"auth: {{keys: {{desk: {NO_NAME}}}\nserver: {{")
    assert "is not YAML: " in said and "line 2" in said
    assert NO_NAME[:10] not in said


def test_where_a_provider_is_wrong_is_told() -> None:
    said = problem(content="fallback: {providers: [{name: a, kind: openai, model: m, voice: ''}]}")
    assert "fallback.providers[0].voice is wrong: " in said


def test_every_setting_says_what_it_is_for() -> None:
    assert len(options()) >= 15
    for option in options():
        assert len(option.help) > 10 and "\n" not in option.help, option.key
        assert option.help.rstrip().endswith("."), option.key


def test_names_follow_from_group_and_name() -> None:
    [option] = [option for option in options() if option.key == "server.max_body_bytes"]
    assert option.variable == "KOKORO_EDGE_SERVER_MAX_BODY_BYTES"
    assert option.flag == "--server-max-body-bytes"


def test_variables_flags_and_keys_are_each_unambiguous() -> None:
    every = options()
    assert len({option.variable for option in every}) == len(every)
    assert len({option.flag for option in every}) == len(every)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("server: {prot: 1}", "server.port"),
        ("servr: {port: 1}", "server"),
        ("engine: {thread: 1}", "engine.threads"),
        ("5: {port: 1}", "unknown group 5"),
        ("server: {7: 1}", "unknown setting server.7"),
    ],
)
def test_an_unknown_key_in_the_file_names_the_nearest(content: str, names: str) -> None:
    said = problem(content=content)
    assert said.startswith("kokoro-edge.yaml: unknown ")
    assert names in said


def test_an_unknown_variable_names_the_nearest() -> None:
    said = problem(environment={"KOKORO_EDGE_SERVER_PROT": "1"})
    assert "KOKORO_EDGE_SERVER_PROT" in said
    assert said.endswith("The nearest is KOKORO_EDGE_SERVER_PORT.")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.port", "http"),
        ("server.port", "70000"),
        ("server.port", "-1"),
        ("server.port", "80.5"),
        ("server.max_body_bytes", "12"),
        ("server.max_body_bytes", "1 parsec"),
        ("server.shutdown_s", "soon"),
        ("server.shutdown_s", "inf"),
        ("server.shutdown_s", "nan"),
        ("engine.device", "tpu"),
        ("engine.processes", "0"),
        ("engine.pass_deadline_s", "0"),
        ("engine.pass_deadline_s", "nan"),
        ("engine.pass_deadline_s", "inf"),
        ("cache.memory_bytes", "-1"),
        ("cache.disk_bytes", "1000"),
        ("cache.disk_bytes", "1KiB"),
        ("warm.at_start", "perhaps"),
        ("log.level", "LOUD"),
    ],
)
def test_a_wrong_value_is_told_with_where_it_was_set(key: str, value: str) -> None:
    [option] = [option for option in options() if option.key == key]
    group, name = key.split(".")
    for said, where in (
        (problem({key: value}), " or ".join(option.flags)),
        (problem(environment={option.variable: value}), option.variable),
        (problem(content=f"{group}: {{{name}: '{value}'}}"), "kokoro-edge.yaml"),
    ):
        assert said.startswith(f"{where}: {key} is {value!r}: ")


@pytest.mark.parametrize(
    "content", ["server: {port: [1]}", "server: {host: {a: 1}}", "log: {level: null}"]
)
def test_a_value_of_another_kind_is_refused(content: str) -> None:
    assert problem(content=content).startswith("kokoro-edge.yaml: ")


@pytest.mark.parametrize("content", ["server: {port: yes}", "server: {shutdown_s: off}"])
def test_a_switch_is_no_number(content: str) -> None:
    assert "YAML reads yes, no, on and off as true and false" in problem(content=content)


def test_an_empty_variable_counts_as_unset() -> None:
    file("server: {port: 3}")
    empty = ("KOKORO_EDGE_SERVER_PORT", "KOKORO_EDGE_CACHE_DIRECTORY", "KOKORO_EDGE_CONFIG")
    settings = load({}, dict.fromkeys(empty, ""))
    assert settings.server.port == 3
    assert settings.cache == Settings().cache


@pytest.mark.parametrize(
    ("value", "bytes"),
    [("4GB", 4 * 10**9), ("512MiB", 512 * 2**20), ("1.5 gib", 3 * 2**29), ("2000000", 2000000)],
)
def test_a_size_may_have_a_unit(value: str, bytes: int) -> None:
    file(f"cache: {{disk_bytes: {value}}}")
    for settings in (load({}, {}), load({"cache.disk_bytes": value}, {})):
        assert settings.cache.disk_bytes == bytes
        assert type(settings.cache.disk_bytes) is int


def test_the_level_of_the_log_may_be_written_in_small_letters() -> None:
    assert load({}, {"KOKORO_EDGE_LOG_LEVEL": "debug"}).log.level == "DEBUG"


def test_the_layer_at_fault_is_named_and_not_one_it_overrode() -> None:
    said = problem({"server.port": "high"}, {"KOKORO_EDGE_SERVER_PORT": "1"}, "server: {port: 2}")
    assert said.startswith("--server-port or --port: ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("server: {port: 1", "is not YAML"),
        ("server: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("- server", "must hold groups"),
        ("just text", "must hold groups"),
        ("server: 8000", "server must hold settings"),
    ],
)
def test_a_file_of_another_shape_is_refused(content: str, says: str) -> None:
    said = problem(content=content)
    assert said.startswith("kokoro-edge.yaml: ") and says in said


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "---\n", "server:\nlog:\n"])
def test_an_empty_file_sets_nothing(content: str) -> None:
    file(content)
    assert load({}, {}) == Settings()


def test_a_file_that_is_named_must_be_there() -> None:
    with pytest.raises(SettingsError, match=r"^gone\.yaml: cannot be read"):
        load({}, {}, Path("gone.yaml"))
    with pytest.raises(SettingsError, match=r"^gone\.yaml: cannot be read"):
        load({}, {"KOKORO_EDGE_CONFIG": "gone.yaml"})


def test_a_file_that_is_a_folder_or_no_text_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("folder", "binary"):
        with pytest.raises(SettingsError, match=f"^{name}: cannot be read") as wrong:
            load({}, {}, Path(name))
        assert "\n" not in str(wrong.value)


def test_the_file_named_on_the_command_line_beats_the_one_in_the_environment() -> None:
    file("server: {port: 1}", "one.yaml")
    file("server: {port: 2}", "two.yaml")
    file("server: {port: 3}")
    environment = {"KOKORO_EDGE_CONFIG": "two.yaml"}
    assert load({}, environment, Path("one.yaml")).server.port == 1
    assert load({}, environment).server.port == 2
    assert load({}, {}).server.port == 3


def test_what_kubernetes_puts_into_the_environment_for_a_service_of_our_name_is_no_setting() -> (
    None
):
    service_links = {
        "KOKORO_EDGE_SERVICE_HOST": "10.0.0.1",
        "KOKORO_EDGE_SERVICE_PORT": "8000",
        "KOKORO_EDGE_SERVICE_PORT_HTTP": "8000",
        "KOKORO_EDGE_PORT": "tcp://10.0.0.1:8000",
        "KOKORO_EDGE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "KOKORO_EDGE_PORT_8000_TCP_ADDR": "10.0.0.1",
        "KOKORO_EDGE_PORT_8000_TCP_PORT": "8000",
        "KOKORO_EDGE_PORT_8000_TCP_PROTO": "tcp",
        "KOKORO_EDGE_METRICS_SERVICE_HOST": "10.0.0.2",
        "KOKORO_EDGE_METRICS_PORT": "udp://10.0.0.2:9000",
    }
    assert load({}, service_links) == Settings()
    # What somebody meant as a setting is still told.
    for variable, value in (("PORT", "8000"), ("SERVICE_HOST", "localhost")):
        variable = f"KOKORO_EDGE_{variable}"
        assert variable in problem(environment={variable: value})


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.server = settings.server  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        settings.server.port = 1  # type: ignore[misc]
