"""``docker/compose.yaml`` with images, ports, secrets and volumes of its own, which all go again.

>>> with docker_engine() as engine, ComposeStack(engine, base_images="pull") as stack:  # doctest: +SKIP
...     stack.unpause("ndvi_modis_timeseries")
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

from tools.airflow_api import AirflowApi
from tools.docker_engine import DockerEngine, DockerError
from tools.stack import HOST, free_port

ROOT = Path(__file__).resolve().parent.parent
COMPOSE_FILE = ROOT / "docker" / "compose.yaml"
TEST_FILES = ROOT / "tests" / "docker"
LOGS = ROOT / "build" / "docker"
BaseImages = Literal["pull", "debootstrap"]
HEALTH_SECONDS = 600
_PASSWORD = re.compile(r"Password for user 'admin': (\S+)")


class ComposeStack(AirflowApi):
    """A context manager that builds the images, brings the services up, and takes all of it away again."""

    def __init__(
        self,
        engine: DockerEngine,
        *,
        base_images: BaseImages,
        keep: bool = False,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Nothing starts yet.

        :param engine: where to run
        :param base_images: ``pull`` those that compose.yaml names, or make stand-ins with ``debootstrap`` where no registry can be
            reached
        :param keep: leave containers, volumes and images as they are at the end
        :param report: called with one line for each step
        """
        if base_images not in get_args(BaseImages):
            raise ValueError(f"base_images is {' or '.join(get_args(BaseImages))}, not {base_images!r}")
        port = free_port()
        super().__init__(f"http://{HOST}:{port}")
        self.project = f"airflow-ee-test-{secrets.token_hex(3)}"
        self._engine, self._base_images, self._keep, self._report = engine, base_images, keep, report
        self._built = {"AIRFLOW_EE_IMAGE": f"{self.project}/airflow-ee", "EMULATOR_IMAGE": f"{self.project}/emulator"}
        self._stand_ins: dict[str, str] = {}
        self._environment = {
            **self._built,
            "AIRFLOW_PORT": str(port),
            "EMULATOR_PORT": str(free_port()),
            "POSTGRES_PASSWORD": secrets.token_hex(24),
            "REDIS_PASSWORD": secrets.token_hex(24),
            "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW_API_SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW_JWT_SECRET": secrets.token_hex(32),
        }

    def __enter__(self) -> Self:
        try:
            if self._base_images == "debootstrap":
                self._make_stand_ins()
            self._step("Building the images", partial(self.compose, "build", "airflow-init", "emulator"))
            self._step("Bringing the services up", partial(self.compose, "up", "--detach", "--no-build"))
            self._step("Waiting until all of them are healthy", self._wait_for_health)
        except BaseException as error:
            if self._base_images == "pull":
                error.add_note("Where no image registry can be reached: make test-docker BASE_IMAGES=debootstrap")
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Keep the services' logs in ``build/docker``, and take everything away, unless it is to be kept."""
        LOGS.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(DockerError):  # nothing came up, and that is told elsewhere
            (LOGS / "compose.log").write_bytes(self.compose("logs", "--no-color"))
        if self._keep:
            self._report(f"Kept: project {self.project}, {self.url}")
            return
        self._step("Taking all down", partial(self.compose, "down", "--volumes", "--remove-orphans"))
        for image in (*self._built.values(), *reversed(self._stand_ins.values())):
            with contextlib.suppress(DockerError):  # a build before it failed
                self._engine.run("docker", "image", "rm", image)

    def compose(self, *arguments: str) -> bytes:
        """Run a command of Compose, and answer what it printed."""
        files = [COMPOSE_FILE, *([TEST_FILES / "compose.host-network.yaml"] if self._engine.isolated else [])]
        options = [option for file in files for option in ("--file", str(file))]
        command = (*self._engine.compose, "--project-name", self.project, *options, *arguments)
        return self._engine.run(*command, variables={**self._environment, **self._stand_ins})

    def read(self, service: str, path: str) -> bytes:
        """A file as a service sees it."""
        return self.compose("exec", "-T", service, "cat", path)

    def containers(self) -> dict[str, list[dict[str, Any]]]:
        """What Docker tells of each service's containers."""
        of_project = f"label=com.docker.compose.project={self.project}"
        ids = self._engine.run("docker", "ps", "--all", "--quiet", "--filter", of_project).decode().split()
        found: dict[str, list[dict[str, Any]]] = {}
        for container in json.loads(self._engine.run("docker", "inspect", *ids)) if ids else []:
            found.setdefault(container["Config"]["Labels"]["com.docker.compose.service"], []).append(container)
        return found

    def _new_token(self) -> str:
        """Log in as the user whose password the api-server has made and logged."""
        password = _PASSWORD.search(self.compose("logs", "--no-color", "api-server").decode(errors="replace"))
        if password is None:
            raise DockerError("the api-server has not logged the password of its user admin")
        login = {"username": "admin", "password": password.group(1)}
        return str(self._send("POST", f"{self.url}/auth/token", {}, json=login)["access_token"])

    def _make_stand_ins(self) -> None:
        """Images that offer what is used of the real ones, made of Debian's packages and PyPI's."""
        debian = self._name_stand_in("debian")
        bootstrap = str(ROOT / "tools" / "bootstrap_debian.sh")
        self._step("Making a Debian for stand-ins of the base images", partial(self._engine.run, bootstrap, debian))
        versions = (f"AIRFLOW_VERSION={_locked('apache-airflow')}", f"UV_VERSION={_uv_version()}")
        arguments = [f"--build-arg={argument}" for argument in (f"DEBIAN_IMAGE={debian}", *versions)]
        network = ["--network=host"] if self._engine.isolated else []
        build = ("docker", "build", *network, *arguments, "--file", str(TEST_FILES / "base.Dockerfile"))
        for name in ("python", "airflow", "postgres", "redis"):
            image = ("--target", name, "--tag", self._name_stand_in(name), str(ROOT))
            self._step(f"Building a stand-in for {name}", partial(self._engine.run, *build, *image))

    def _name_stand_in(self, name: str) -> str:
        """The image's name, which compose.yaml reads from the environment."""
        return self._stand_ins.setdefault(f"{name.upper()}_IMAGE", f"{self.project}/{name}:0.0.0")

    def _wait_for_health(self) -> None:
        deadline = time.monotonic() + HEALTH_SECONDS
        while waiting := self._unhealthy():
            if time.monotonic() > deadline:
                raise DockerError(f"after {HEALTH_SECONDS} s: {waiting}; see {LOGS / 'compose.log'}")
            time.sleep(2)

    def _unhealthy(self) -> dict[str, str]:
        """Containers that are not as they shall be: healthy, or done, for the one that prepares the database."""
        states = {
            container["Name"]: (service, _state(container["State"]))
            for service, group in self.containers().items()
            for container in group
        }
        wanted = {"airflow-init": "done"}
        return {name: state for name, (service, state) in states.items() if state != wanted.get(service, "healthy")}

    def _step(self, title: str, work: Callable[[], Any]) -> None:
        started = time.monotonic()
        self._report(f"{title} ...")
        work()
        self._report(f"  {time.monotonic() - started:.0f} s")


def _state(state: Mapping[str, Any]) -> str:
    if state["Status"] == "exited":
        return f"ended with status {state['ExitCode']}" if state["ExitCode"] else "done"
    return str(state.get("Health", {}).get("Status", state["Status"]))


def _locked(package: str) -> str:
    """The package's version in the lock."""
    return _found(rf"^{package}==(\S+)", "requirements.lock")


def _uv_version() -> str:
    return _found(r"^UV_VERSION := (\S+)", "Makefile")


def _found(pattern: str, file: str) -> str:
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{file} has no line like {pattern}")
    return found.group(1)
