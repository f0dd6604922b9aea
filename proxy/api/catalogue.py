"""What there is: the server itself, its health, models and voices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from proxy import __version__
from proxy.api.base_path import BASES, at_known_rate
from proxy.phrasebook.shelf import Shelf
from synth.pool import EnginePool, PoolState
from synth.voices import VOICES

MODEL = "kokoro-82m"
_MODEL_CREATED_S = 1_737_936_000
"""When Kokoro-82M v1.0 came out: 2025-01-27, in seconds since 1970."""

_STATUS = {PoolState.READY: "ok", PoolState.LOADING: "loading", PoolState.FAILED: "failed"}


@dataclass(frozen=True, slots=True)
class CatalogueApi:
    """Answers at once, whatever the engine does."""

    pool: EnginePool
    shelf: Shelf
    aliases: Mapping[str, str]
    is_warm: Callable[[], bool]
    """Whether the phrasebooks are rendered as far as calls are to wait for that."""
    fallback: Callable[[], Mapping[str, str]] | None = None
    """How the providers are that speak in the engine's place, where there are any."""
    is_stopping: Callable[[], bool] = lambda: False
    """Whether the server has been told to stop."""

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", self.root)
        app.router.add_get("/health", self.health)
        app.router.add_get("/health/live", self.health)
        app.router.add_get("/health/ready", self.ready)
        # Some clients warm their connection up at the base URL.
        of_base = {
            "": self.root,
            "/": self.root,
            "/models": self.models,
            "/models/{model}": self.model,
            "/audio/models": self.models,
            "/audio/voices": self.voices,
        }
        for base in BASES:
            for path, handler in of_base.items():
                app.router.add_get(base + path, at_known_rate(handler))

    async def root(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "name": "kokoro-edge",
                "version": __version__,
                "model": MODEL,
                "voices": list(VOICES),
            }
        )

    async def health(self, request: web.Request) -> web.Response:
        """200 as long as the server answers: hits are served without the engine, too."""
        body: dict[str, object] = {
            "status": _STATUS[self.pool.state],
            "model_loaded": self.pool.state is PoolState.READY,
            "device": self.pool.device,
        }
        if self.pool.problem:
            body["problem"] = self.pool.problem
        if self.shelf.problems:
            body["phrasebook_problems"] = len(self.shelf.problems)
        if self.fallback is not None:
            body["fallback"] = dict(self.fallback())
        return web.json_response(body)

    async def ready(self, request: web.Request) -> web.Response:
        """200 from when on calls should come: the engine is up and, with `warm.before_ready`, the
        phrasebooks are rendered. A later loss of the engine does not undo that: it is replaced, and
        what is cached is served meanwhile."""
        if self.is_stopping():
            reason = "the server is stopping"
        elif self.pool.was_up and self.is_warm():
            return web.json_response({"status": "ready"})
        elif not self.pool.was_up:
            reason = self.pool.problem or "the engine is loading"
        else:
            reason = "the phrasebooks are being rendered"
        return web.json_response(
            {"status": "not ready", "reason": reason}, status=503, headers={"Retry-After": "1"}
        )

    async def models(self, request: web.Request) -> web.Response:
        """OpenAI's list; and, as Open WebUI reads `/v1/audio/models`, its names once more."""
        listed = {"object": "list", "data": [_model(MODEL)], "models": [{"id": MODEL}]}
        return web.json_response(listed)

    async def model(self, request: web.Request) -> web.Response:
        """Any name is our one model, as it is in a speech request."""
        return web.json_response(_model(request.match_info["model"]))

    async def voices(self, request: web.Request) -> web.Response:
        """Every voice there is, and the other names by which requests may call one."""
        return web.json_response(
            {
                "aliases": dict(self.aliases),
                "voices": [
                    {
                        "id": voice.name,
                        "name": voice.title,
                        "language": voice.language.tag,
                        "accent": voice.accent,
                        "gender": voice.gender,
                        "installed": voice.language.installed(),
                    }
                    for voice in VOICES.values()
                ],
            }
        )


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _MODEL_CREATED_S, "owned_by": "hexgrad"}
