"""A Docker engine to test with: the one that answers, or one that is started for the test and ends with it.

>>> with docker_engine() as engine:  # doctest: +SKIP
...     engine.run("docker", "info")

The engine that is started needs root, no kernel modules, no firewall rules and no privileges beside those: its networks have no way
out and are reached through published ports, so that images are built on the host's network. Its images and containers go with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.stack import GUARD

DAEMON = Path("/usr/sbin/dockerd")
START_SECONDS = 60
STOP_SECONDS = 30
LOG_TAIL_LINES = 20
_ISOLATED = (
    # Mounts of containers end with the engine, however it ends: the folder can then be removed.
    "unshare", "--mount", str(DAEMON),
    # Rules and settings of the machine's network stay as they are.
    "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none",
)  # fmt: skip


class DockerError(RuntimeError):
    """A command of Docker's failed, or there is no engine: the message ends with what was printed."""


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """An engine that answers, and how to reach it."""

    environment: Mapping[str, str] = field(repr=False)
    """Variables for ``docker`` and Compose."""
    isolated: bool
    """Whether its networks have no way out, so that builds need the host's."""

    def run(self, *command: str, variables: Mapping[str, str] | None = None, timeout_seconds: float = 1800) -> bytes:
        """Run a command with this engine's environment, and answer what it printed on its standard output."""
        environment = {**self.environment, **(variables or {})}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            try:
                output, errors = process.communicate(timeout=timeout_seconds)
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)  # with all that it has started
                process.communicate()  # what tidies up must not meet closed pipes
                raise
        if process.returncode:
            said = "\n".join((output + errors).decode(errors="replace").splitlines()[-3 * LOG_TAIL_LINES :])
            raise DockerError(f"{' '.join(command)} ended with status {process.returncode}:\n{said}")
        return output

    @property
    def compose(self) -> tuple[str, ...]:
        """Compose as a plugin, or the older program."""
        try:
            self.run("docker", "compose", "version")
        except DockerError:
            return ("docker-compose",)
        return ("docker", "compose")


@contextmanager
def docker_engine(report: Callable[[str], None] = lambda _: None) -> Iterator[DockerEngine]:
    """Yield the engine that the environment names, if it answers, or else one of our own.

    Parameters
    ----------
    report
        Called with one line for each step.
    """
    # BuildKit is what the Dockerfiles are written for; old clients use it only when told.
    environment = {**os.environ, "DOCKER_BUILDKIT": "1", "COMPOSE_DOCKER_CLI_BUILD": "1"}
    if _answers(environment):
        yield DockerEngine(environment, isolated=False)
        return
    if os.geteuid() or not DAEMON.exists():
        raise DockerError(
            "no Docker engine answers: start one, or run this as root where tools/install_docker.sh has installed one"
        )
    folder = Path(tempfile.mkdtemp(prefix="airflow-ee-docker-"))
    report(f"Starting a Docker engine in {folder} ...")
    # Debian's client, which fits its engine, before others that may be on the path.
    path = os.pathsep.join(["/usr/bin", environment.get("PATH", os.defpath)])
    environment |= {"DOCKER_HOST": f"unix://{folder}/socket", "PATH": path}
    daemon = _start(folder, environment)
    try:
        _wait_until_it_answers(daemon, folder, environment)
        yield DockerEngine(environment, isolated=True)
    finally:
        daemon.terminate()
        daemon.wait()
        shutil.rmtree(folder)


def _start(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the daemon under a guard, which ends it, and its containers, if this process dies."""
    command = [sys.executable, str(GUARD), "--parent", str(os.getpid()), "--grace", str(STOP_SECONDS), "--", *_ISOLATED]
    places = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*command, *places, f"--host=unix://{folder}/socket"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_it_answers(daemon: subprocess.Popen[bytes], folder: Path, environment: Mapping[str, str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(environment):
        if daemon.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join((folder / "log").read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
            raise DockerError(f"the Docker engine did not start. The end of its log:\n{tail}")
        time.sleep(0.2)


def _answers(environment: Mapping[str, str]) -> bool:
    if shutil.which("docker", path=environment.get("PATH")) is None:
        return False
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, env=environment, capture_output=True, timeout=60, check=False).returncode == 0
