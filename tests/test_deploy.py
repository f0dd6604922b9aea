"""The files in `deploy`: service managers take them, and `kokoro-edge` knows what they call."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli import build_parser
from proxy.layers import CONFIG_VARIABLE
from proxy.settings import options

DEPLOY = Path(__file__).parents[1] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
UNITS = sorted((DEPLOY / "systemd").iterdir())
INSTALLED = "/opt/kokoro-edge/.venv/bin/kokoro-edge"
"""What the files call, on the machine that they are copied to."""

COMMAND = Path(sys.executable).with_name("kokoro-edge")

CRON_JOB = re.compile(r"(?P<when>(?:[\d*,/-]+ ){5})(?P<user>[a-z][a-z-]*) (?P<command>\S.*)")


def cron_job() -> re.Match[str]:
    """The one line of the cron file that is no comment and no variable."""
    lines = (DEPLOY / "cron" / "kokoro-edge-warm").read_text(encoding="utf-8").splitlines()
    jobs = [line for line in lines if line and not re.match(r"#|[A-Z_]+=", line)]
    assert len(jobs) == 1
    job = CRON_JOB.fullmatch(jobs[0])
    assert job, jobs
    return job


def cron_job_calling(stand_in: Path) -> str:
    """Its shell part, with another command in place of the one that is installed."""
    command = cron_job()["command"]
    assert command.count(INSTALLED) == 1
    return command.replace(INSTALLED, shlex.quote(str(stand_in)))


def cron_manifest() -> dict[str, Any]:
    text = (DEPLOY / "kubernetes" / "warm-cronjob.yaml").read_text(encoding="utf-8")
    manifest = yaml.safe_load(text)
    assert isinstance(manifest, dict)
    return manifest


def calls() -> Iterator[tuple[str, list[str]]]:
    """Every call of `kokoro-edge`: the file it is in, and its arguments."""
    for unit in UNITS:
        for line in unit.read_text(encoding="utf-8").splitlines():
            if match := re.fullmatch(r"Exec\w+=[-@:+!]*(.+)", line):
                program, *arguments = shlex.split(match[1])
                assert program == INSTALLED
                yield unit.name, arguments
    inner = re.search(rf"\$\({INSTALLED} (.+?) 2>&1\)", cron_job()["command"])
    assert inner
    yield "cron", shlex.split(inner[1])
    [container] = containers(cron_manifest())
    program, *arguments = container["command"]
    assert program == "kokoro-edge"
    yield "kubernetes", arguments


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, list)
    return found


def test_every_call_is_one_that_the_command_knows() -> None:
    for where, arguments in calls():
        given, unknown = build_parser().parse_known_args(arguments)
        assert (given.command, unknown) == (arguments[0], []), where


def test_the_calls_are_found_at_all() -> None:
    assert [(where, arguments[0]) for where, arguments in calls()] == [
        ("kokoro-edge-warm.service", "warm"),
        ("kokoro-edge.service", "serve"),
        ("cron", "warm"),
        ("kubernetes", "warm"),
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_variable_is_a_setting(file: Path) -> None:
    named = set(re.findall(r"\bKOKORO_EDGE_[A-Z_]+", file.read_text(encoding="utf-8")))
    assert named <= {CONFIG_VARIABLE, *(option.variable for option in options())}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_every_unit(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    for each in UNITS:  # A timer is checked together with its service.
        text = each.read_text(encoding="utf-8").replace(INSTALLED, str(COMMAND))
        (tmp_path / each.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / unit.name],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_timer_has_its_service() -> None:
    names = {unit.name for unit in UNITS}
    timers = [unit.stem for unit in UNITS if unit.suffix == ".timer"]
    assert timers
    assert {f"{timer}.service" for timer in timers} <= names


def test_the_cron_file_is_one_that_cron_takes() -> None:
    content = (DEPLOY / "cron" / "kokoro-edge-warm").read_text(encoding="utf-8")
    assert content.endswith("\n")  # Cron leaves out a line that does not end.
    job = cron_job()
    assert len(job["when"].split()) == 5
    assert job["user"] == "kokoro-edge"
    assert "%" not in job["command"]  # Cron takes it for the end of a line.
    assert "SHELL=/bin/bash\n" in content
    subprocess.run(["bash", "-n", "-c", job["command"]], check=True, timeout=60)


@pytest.mark.parametrize(
    ("code", "ends", "prints"),
    [(0, 0, ""), (3, 0, ""), (1, 1, "told\nwrong\n"), (2, 2, "told\nwrong\n")],
)
def test_cron_mails_when_something_is_wrong_and_nothing_otherwise(
    tmp_path: Path, code: int, ends: int, prints: str
) -> None:
    stand_in = tmp_path / "kokoro-edge"
    stand_in.write_text(f"#!/bin/sh\necho told\necho wrong >&2\nexit {code}\n", encoding="utf-8")
    stand_in.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", cron_job_calling(stand_in)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (ends, prints, "")


def test_cron_runs_the_command_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", cron_job_calling(COMMAND)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", CONFIG_VARIABLE: str(tmp_path / "gone.yaml")},
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert "gone.yaml: cannot be read" in done.stdout


def test_the_kubernetes_job_has_what_one_needs() -> None:
    manifest = cron_manifest()
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,51}", manifest["metadata"]["name"])
    spec = manifest["spec"]
    assert re.fullmatch(r"(?:[\d*,/-]+ ){4}[\d*,/-]+", spec["schedule"])
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    # Without it, Kubernetes takes no podFailurePolicy.
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    [container] = containers(manifest)
    for rule in job["podFailurePolicy"]["rules"]:
        assert rule["action"] in ("Ignore", "FailJob")
        assert rule["onExitCodes"]["containerName"] == container["name"]
    assert container["image"]
    [key] = container["env"]
    assert key["name"] == "KOKORO_EDGE_SERVER_ADMIN_KEY"
    assert set(key["valueFrom"]["secretKeyRef"]) == {"name", "key"}
