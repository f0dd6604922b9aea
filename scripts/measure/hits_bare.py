"""The least that aiohttp can do: read a request's body, and answer the same bytes every time.

What `scripts/bench hits` holds our server against. `hits_bare.py FILE CONTENT_TYPE` serves FILE on
a free port of the loopback interface until it is told to stop.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiohttp import web
from hits_load import PATH, fast_loop


def build_app(reply: bytes, content_type: str) -> web.Application:
    async def speak(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=reply, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_post(PATH, speak)
    return app


async def _serve(reply: bytes, content_type: str) -> None:
    runner = web.AppRunner(build_app(reply, content_type), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"listening on http://{host}:{port}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    with asyncio.Runner(loop_factory=fast_loop) as runner:
        runner.run(_serve(Path(sys.argv[1]).read_bytes(), sys.argv[2]))


if __name__ == "__main__":
    main()
