"""Measure how soon an OpenAI-shaped speech server is heard; `--help` says how.

Imports nothing of this project: it runs against any server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from latency_audio import AUDIBLE_AMPLITUDE, DECODABLE, MeasurementError
from latency_client import Ask, Patience, Server, Unreachable, api_url, open_session
from latency_measure import Plan, Run, measure
from latency_report import Machine, Report, document, show
from machine import cpu_model
from rich.console import Console
from yarl import URL

FAILED = 1
UNREACHABLE = 2
INTERRUPTED = 130

_DESCRIPTION = """\
Asks an OpenAI-shaped speech server for its health, then for short, medium and long texts (10, 30
and 100 words), cold and repeated, one request at a time over kept connections.
"""
_EPILOG = f"""\
what is measured:
  cold            a text none of whose sentences was ever said before: each holds words drawn at
                  random, so that a server that caches sentences has none of them
  repeated        the same text again
  first byte      from just before the request is sent to the first byte of the body
  first audible   to the first sample over {AUDIBLE_AMPLITUDE} of full scale, as heard by someone
                  whose player starts with the first byte and plays the silence too: the
                  later of the arrival of the bytes that hold the sample, and first byte + the
                  sample's offset in the audio. Exact for pcm and wav; for compressed formats
                  first byte + offset, a lower bound
  RTF             real-time factor: total time / duration of the audio
  health          /health asked every 50 ms: 20 times with nothing else to do, and while the
                  first cold text of 100 words is made

Times hold this client's own share, some tenths of a millisecond a request. A first text is said
and not counted. 503 with Retry-After is waited out and not counted either.

exit status: 0 measured, 1 the server refused or sent no audible or no whole audio, 2 it cannot be
reached (or the arguments are wrong).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    arguments = _parser().parse_args(argv)
    started_at = datetime.now(UTC)
    plan = Plan(
        Ask(arguments.model, arguments.voice, arguments.format, arguments.speed),
        repeats=arguments.repeats,
        seed=secrets.randbits(32) if arguments.seed is None else arguments.seed,
    )
    api_key = arguments.api_key or os.environ.get("OPENAI_API_KEY")
    try:
        run = asyncio.run(_measure(arguments.url, api_key, Patience(arguments.wait_s, _say), plan))
    except Unreachable as error:
        _say(f"error: {error}")
        return UNREACHABLE
    except MeasurementError as error:
        _say(f"error: {error}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    report = Report(_shown(arguments.url), plan, _machine(), started_at, run)
    if arguments.json:
        print(json.dumps(document(report), indent=2))
    else:
        # A pipe has no width: 80 columns there would break the table's lines.
        console = Console()
        show(report, console if console.is_terminal else Console(width=120))
    return 0


async def _measure(url: URL, api_key: str | None, patience: Patience, plan: Plan) -> Run:
    async with open_session(api_key) as session:
        return await measure(Server(session, url, patience), plan, _say)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/latency",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--url",
        type=_url,
        default="http://127.0.0.1:8000/v1",
        help="base of the server's API (default: %(default)s). With /v1 at its end it is taken as "
        "it is, else /v1 is added; /health is asked at what stands before /v1, and a server may "
        "have none",
    )
    parser.add_argument("--voice", default="af_bella", help="default: %(default)s")
    parser.add_argument("--model", default="kokoro", help="default: %(default)s")
    parser.add_argument(
        "--format",
        choices=DECODABLE,
        default="pcm",
        help="default: pcm, whose first audible sample no decoder delays",
    )
    parser.add_argument("--speed", type=float, help="left out of the requests when not given")
    parser.add_argument(
        "--repeats",
        type=_positive,
        default=3,
        metavar="N",
        help="N cold texts of each length, each said N times more (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="have the texts of the run with this seed again: a server that heard them is not cold",
    )
    parser.add_argument(
        "--wait-s",
        type=float,
        default=120.0,
        metavar="S",
        help="wait at most this long when a request is answered 503 with Retry-After, as servers "
        "do while they load (default: %(default)g)",
    )
    parser.add_argument(
        "--api-key", help="sent as a Bearer token (default: OPENAI_API_KEY, if it is set)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document, every measurement in it"
    )
    return parser


def _url(given: str) -> URL:
    try:
        return api_url(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is no number from 1 on")
    return int(given)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _shown(url: URL) -> str:
    """Without a password: reports are passed on."""
    return str(url.with_user(None))


def _machine() -> Machine:
    return Machine(cpu_model(), os.cpu_count() or 1)


if __name__ == "__main__":
    sys.exit(main())
