"""The closed loop as `wrk` has it: where it is installed, it takes less of the CPU than our own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from hits_load import DEADLINE_S, HIT, Load, LoadError, Target

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def run_wrk(target: Target, connections: int, seconds: int, directory: Path) -> Load:
    """As many requests as go through. The script that wrk runs is written to `directory`."""
    script = directory / "wrk.lua"
    script.write_text(_script(target))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    try:
        done = subprocess.run(
            [*command, "-s", str(script), target.url],
            capture_output=True,
            text=True,
            timeout=seconds + DEADLINE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LoadError(f"wrk could not be run: {error}") from None
    if done.returncode:
        raise LoadError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return parse(done.stdout)


def _script(target: Target) -> str:
    """Counts answers that are not as they must be, and prints the count as `wrong answers: 0`."""
    body = "".join(f"\\{byte:03d}" for byte in target.body)
    hit = HIT.decode()
    hit_too = (
        f' or (headers["Cache-Status"] or ""):sub(1, {len(hit)}) ~= "{hit}"'
        if target.must_be_hit
        else ""
    )
    return f"""\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = "{body}"
local threads = {{}}
wrong = 0
function setup(thread) table.insert(threads, thread) end
function response(status, headers)
  if status ~= 200{hit_too} then wrong = wrong + 1 end
end
function done()
  local all = 0
  for _, thread in ipairs(threads) do all = all + thread:get("wrong") end
  io.write("wrong answers: " .. all .. "\\n")
end
"""


def parse(printed: str) -> Load:
    """Rate and percentiles from what `wrk --latency` printed with our script.

    Raises:
        LoadError: something is missing, or an answer was wrong.
    """
    errors = re.search(r"Socket errors: .*", printed)
    if errors and re.search(r"[1-9]", errors[0]):
        raise LoadError(f"wrk: {errors[0]}")
    wrong = re.search(r"^wrong answers: (\d+)", printed, re.MULTILINE)
    asked = re.search(r"^\s+(\d+) requests in ([\d.]+)(us|ms|s|m),", printed, re.MULTILINE)
    if wrong is None or asked is None or not int(asked[1]):
        raise LoadError(f"wrk printed no result: {printed.strip()!r}")
    if int(wrong[1]):
        raise LoadError(f"{wrong[1]} answers to wrk were no 200, or no hits")
    elapsed_s = float(asked[2]) * _UNITS_S[asked[3]]
    return Load(int(asked[1]), elapsed_s, _latency_s(printed, "50"), _latency_s(printed, "99"))


def _latency_s(printed: str, percent: str) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)$", printed, re.MULTILINE)
    if found is None:
        raise LoadError(f"wrk printed no {percent}% of the latency: {printed.strip()!r}")
    return float(found[1]) * _UNITS_S[found[2]]
