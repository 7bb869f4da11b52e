"""The whole of Airflow on this machine, and the emulator beside it, as separate processes that all end together.

>>> with AirflowStack(home, dags, emulator=EmulatorOptions(root=home / "earth-engine")) as stack:  # doctest: +SKIP
...     stack.unpause("ndvi_modis_timeseries")
...     run_id = stack.trigger("ndvi_modis_timeseries", {"start": "2024-01-01"})
...     stack.wait("ndvi_modis_timeseries", run_id)

``airflow standalone`` leaves processes behind when it is stopped. Here each component runs under ``guard.py``, which ends
it and all that it started: on leaving the ``with`` block, and also if this process dies, in whatever way.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

import requests

from tools.airflow_api import AirflowApi, ApiError
from tools.guard import living

HOST = "127.0.0.1"
GUARD = Path(__file__).with_name("guard.py")
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
ANSWERING = ("api-server", "emulator")
"""What others need while they end, in the order in which it goes: tasks report to the api-server and cancel exports at the emulator."""
GRACE_LIMITS = {"triggerer": 2.0}
"""Airflow 3.3's triggerer, when idle, waits every other time for its child until it is killed; it has nothing to save."""
EMULATOR_LINE = "Earth Engine emulator listening on "
POOL, POOL_SLOTS = "earth_engine", 40
LOG_TAIL_LINES = 30
_COMPLAINT = re.compile(r"\b(error|warning|critical|exception|traceback)\b", re.IGNORECASE)


class StackError(RuntimeError):
    """The stack could not start, or one of its components ended: the message says which and shows its log's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorOptions:
    """How to run the Earth Engine emulator."""

    root: Path
    """The folder of its assets, and of what exports write."""
    catalogs: Mapping[str, Path] = field(default_factory=dict)
    """Folders of GeoTIFFs to mount as image collections, by collection id."""
    port: int = 0
    """0 takes any free port."""


@dataclass(frozen=True, slots=True)
class Component:
    """One running part of the stack: its guard leads a session of its own, whose id is the guard's process id."""

    name: str
    guard: subprocess.Popen[bytes]
    log: Path
    log_start: int
    """Where this run's lines begin: the logs of earlier runs are kept."""

    def log_text(self) -> str:
        """What this run has logged."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            return file.read().decode(errors="replace")

    def ended(self) -> str | None:
        """How the component ended, with the last lines of its log; None while it runs."""
        status = self.guard.poll()
        if status is None:
            return None
        tail = "\n".join(f"  {line}" for line in self.log_text().splitlines()[-LOG_TAIL_LINES:])
        return f"{self.name} ended with status {status}. The end of its log, {self.log}:\n{tail}"


class AirflowStack(AirflowApi):
    """A context manager that runs Airflow's four components and, if asked for, the emulator, on loopback only."""

    def __init__(
        self,
        home: Path,
        dags: Path | Sequence[Path],
        *,
        emulator: EmulatorOptions | None = None,
        port: int = 0,
        parallelism: int = 8,
        environment: Mapping[str, str] | None = None,
        start_timeout_seconds: float = 240,
        stop_grace_seconds: float = 5,
        lock_timeout_seconds: float = 20,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Nothing starts yet.

        :param home: the Airflow home: database, logs and generated configuration. A used one is gone on with.
        :param dags: the folder or folders of DAG files
        :param emulator: run the emulator, and make ``earth_engine_default`` a connection to it
        :param port: of the UI and the API; 0 takes any free port
        :param parallelism: how many tasks run at once; LocalExecutor keeps a process for each
        :param environment: more variables for every component; they win over the stack's own
        :param stop_grace_seconds: how long a component has between SIGTERM and SIGKILL
        :param lock_timeout_seconds: how long to wait for an earlier stack in the same home: if its parent was killed, its
            guards need a moment
        :param report: called with one line for each step of the start
        """
        super().__init__(f"http://{HOST}:{port or free_port()}")
        self.home = home.resolve()
        self.dags_folders = [dags.resolve()] if isinstance(dags, Path) else [folder.resolve() for folder in dags]
        self.emulator = emulator
        self.emulator_url: str | None = None
        self.components: dict[str, Component] = {}
        self._parallelism = parallelism
        self._extra = dict(environment or {})
        self._start_timeout = start_timeout_seconds
        self._grace = stop_grace_seconds
        self._lock_timeout = lock_timeout_seconds
        self._report = report
        self._lock: IO[str] | None = None
        self._orphaned: list[Component] = []
        self._jwt_secret, self._api_secret = secrets.token_hex(32), secrets.token_hex(32)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it is healthy; if that fails, stop what had started."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process of the stack; may be called twice."""
        last = (*ANSWERING, *self._services)
        first = tuple(name for name in self.components if name not in last)
        for names in (first, *((name,) for name in last)):
            running = [self.components[name] for name in names if name in self.components]
            for component in running:
                if component.guard.poll() is None:
                    component.guard.terminate()
            for component in running:
                self._wait_for_end(component)
                del self.components[component.name]
        while self._orphaned:
            self._kill_session(self._orphaned.pop())
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _services(self) -> tuple[str, ...]:
        """What the components themselves need, in the order in which it is stopped."""
        return ()

    def crash(self, name: str, *, whole: bool = True) -> None:
        """SIGKILL a component, for tests of what becomes of its work: nothing of it is told to end, and nothing starts it again.

        :param name: the component
        :param whole: whether all that it has started dies with it, as when a machine is lost, or lives on without it
        """
        component = self.components.pop(name)
        # The guard first: it would tell the others to end, in good order. The component itself is bound to it.
        component.guard.kill()
        component.guard.wait()
        if whole:
            self._kill_session(component)
        else:
            self._orphaned.append(component)

    def restart(self, name: str) -> None:
        """Start a component that has crashed; this does not wait until it is healthy."""
        self._launch(name, *self._commands()[name])

    def check(self) -> None:
        """Raise :class:`StackError` if a component has ended."""
        for component in list(self.components.values()):
            if ending := component.ended():
                raise StackError(ending)

    def _story(self, dag_id: str, run_id: str, what: str) -> str:
        """A task whose process dies has no last words of its own: the scheduler's log, in which its supervisor writes, has them."""
        said = self.components["scheduler"].log_text().splitlines() if "scheduler" in self.components else []
        complaints = [line for line in said if _COMPLAINT.search(line)][-LOG_TAIL_LINES:]
        heading = ["Warnings and errors in the scheduler's log:"] if complaints else []
        return "\n".join([super()._story(dag_id, run_id, what), *heading, *complaints])

    @property
    def sessions(self) -> dict[str, int]:
        """The session that the processes of each component belong to."""
        return {name: component.guard.pid for name, component in self.components.items()}

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every component: the caller's own, without settings meant for another Airflow."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("AIRFLOW__", "AIRFLOW_HOME", "AIRFLOW_CONFIG"))
        }
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
        kept["NO_PROXY"] = kept["no_proxy"] = ",".join(filter(None, [HOST, "localhost", kept.get("NO_PROXY")]))
        settings = {f"AIRFLOW__{name}": value for name, value in self._settings().items()}
        return {**kept, "AIRFLOW_HOME": str(self.home), **settings, **self._connection(), **self._extra}

    def _settings(self) -> dict[str, str]:
        """Airflow's configuration, by section and option."""
        port = self.url.rpartition(":")[2]
        bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
        bundles = [
            {"name": f"dags-folder-{n}" if n else "dags-folder", "classpath": bundle, "kwargs": {"path": str(folder)}}
            for n, folder in enumerate(self.dags_folders)
        ]
        return {
            "CORE__DAGS_FOLDER": str(self.dags_folders[0]),
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": str(self._parallelism),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            # The full name takes a DNS query, which takes seconds on some laptops.
            "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "CORE__DAGBAG_IMPORT_TIMEOUT": "90",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{quote(str(self._database))}?timeout=30",
            "API__HOST": HOST,
            "API__PORT": port,
            "API__BASE_URL": self.url,
            "API__WORKERS": "1",
            "API__SECRET_KEY": self._api_secret,
            "API_AUTH__JWT_SECRET": self._jwt_secret,
            "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(self.home / "bundles"),
            "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
            "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "120",
            "LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "LOGGING__COLORED_CONSOLE_LOG": "False",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def _connection(self) -> dict[str, str]:
        """The connection to the emulator, if there is one."""
        if self.emulator_url is None:
            return {}
        extra: dict[str, Any] = {"project": "demo-project", "is_anonymous": True}
        extra["endpoint"] = extra["high_volume_endpoint"] = self.emulator_url
        return {"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps({"conn_type": "earth_engine", "extra": extra})}

    @property
    def _database(self) -> Path:
        return self.home / "airflow.db"

    def _start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        for folder in self.dags_folders:
            if not folder.is_dir():
                raise StackError(f"the DAG folder {folder} does not exist: make it, or name another one")
        require_free_port(self.url, "the UI")
        self._lock = _lock(self.home, self._lock_timeout)
        deadline = time.monotonic() + self._start_timeout
        emulator = self._start_emulator()
        self._start_services(deadline)
        self._migrate(deadline)
        if emulator is not None:
            self._learn_address(emulator, deadline)
        self._report("Starting the api-server, the scheduler, the dag-processor and the triggerer ...")
        begun = datetime.now(UTC)
        for name, command in self._commands().items():
            self._launch(name, *command)
        self._wait_until(deadline, lambda: not self._unhealthy(begun), lambda: f"not healthy: {self._unhealthy(begun)}")
        self.ensure_pool(POOL, POOL_SLOTS)

    def _commands(self) -> dict[str, tuple[str, ...]]:
        """How each of Airflow's components is started, in this order."""
        port = self.url.rpartition(":")[2]
        return {
            "api-server": ("-m", "airflow", "api-server", "--host", HOST, "--port", port),
            # The log servers listen on all interfaces, and serve files that the api-server reads for itself here.
            "scheduler": ("-m", "airflow", "scheduler", "--skip-serve-logs"),
            "dag-processor": ("-m", "airflow", "dag-processor"),
            "triggerer": ("-m", "airflow", "triggerer", "--skip-serve-logs"),
        }

    def _start_services(self, deadline: float) -> None:
        """Start what the components need: here they need nothing, their database is a file."""

    def _start_emulator(self) -> Component | None:
        """Start the emulator if there is to be one; it gets ready while the database does."""
        if self.emulator is None:
            return None
        self._report("Starting the Earth Engine emulator ...")
        if self.emulator.port:
            require_free_port(f"http://{HOST}:{self.emulator.port}", "the emulator")
        self.emulator.root.mkdir(parents=True, exist_ok=True)
        mounts = [f"--catalog={name}={folder.resolve()}" for name, folder in self.emulator.catalogs.items()]
        root = str(self.emulator.root.resolve())
        command = ("-m", "airflow_ee.emulator", "--host", HOST, "--port", str(self.emulator.port), "--root", root)
        return self._launch("emulator", *command, *mounts)

    def _learn_address(self, emulator: Component, deadline: float) -> None:
        """Read the emulator's address from the line that it prints: Airflow's connection needs it."""
        waiting = f"the emulator did not print its address: see {emulator.log}"
        self._wait_until(deadline, lambda: EMULATOR_LINE in emulator.log_text(), lambda: waiting)
        self.emulator_url = emulator.log_text().partition(EMULATOR_LINE)[2].split()[0]

    def _migrate(self, deadline: float) -> None:
        """Make or update the database; nothing to do if this version of Airflow did so before."""
        stamp = self.home / f".migrated-{version('apache-airflow')}"
        if stamp.exists() and self._keeps_database():
            return
        self._report("Preparing Airflow's database ...")
        self._make_database()
        migration = self._launch("db-migrate", "-m", "airflow", "db", "migrate")
        while migration.guard.poll() is None:
            if time.monotonic() > deadline:
                raise StackError(f"the database was not ready in {self._start_timeout:g} s: see {migration.log}")
            time.sleep(0.1)
        if migration.guard.returncode:
            raise StackError(str(migration.ended()))
        del self.components[migration.name]
        stamp.touch()

    def _keeps_database(self) -> bool:
        """Whether the database of an earlier start is there."""
        return self._database.exists()

    def _make_database(self) -> None:
        with contextlib.closing(sqlite3.connect(self._database)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # kept in the file: readers then do not wait for writers

    def _launch(self, name: str, *arguments: str, program: str = sys.executable) -> Component:
        """Start one component under its guard, in a session of its own, logging to ``logs/<name>.log``."""
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        grace = min(self._grace, GRACE_LIMITS.get(name, self._grace))
        guard = [str(GUARD), "--parent", str(os.getpid()), "--grace", str(grace), "--"]
        with log.open("ab") as file:
            begin = file.tell()
            process = subprocess.Popen(
                [sys.executable, *guard, program, *arguments],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # Guards hold the lock of the home as long as they live: a new stack does not start beside them.
                pass_fds=[self._lock.fileno()] if self._lock else [],
                start_new_session=True,
            )
        self.components[name] = Component(name, process, log, begin)
        return self.components[name]

    def _wait_until(self, deadline: float, done: Callable[[], bool], waiting: Callable[[], str]) -> None:
        """Wait, as long as every component lives and the deadline has not passed."""
        while not done():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"after {self._start_timeout:g} s: {waiting()}\nThe logs are in {self.home / 'logs'}")
            time.sleep(0.25)
        self.check()

    def _unhealthy(self, begun: datetime) -> list[str]:
        """The components that are not healthy yet; the heartbeat of an earlier start does not count."""
        try:
            health = self._send("GET", f"{self.url}/api/v2/monitor/health", {})
        except (requests.RequestException, ApiError):
            return list(COMPONENTS)  # the api-server does not answer yet; the deadline and check() bound the wait
        unhealthy = [] if health["metadatabase"]["status"] == "healthy" else ["metadatabase"]
        for name in ("scheduler", "triggerer", "dag_processor"):
            part = health.get(name) or {}
            beat = part.get(f"latest_{name}_heartbeat")
            if part.get("status") != "healthy" or not beat or datetime.fromisoformat(beat) < begun:
                unhealthy.append(name.replace("_", "-"))
        return unhealthy

    def _wait_for_end(self, component: Component) -> None:
        """Wait for a guard that was told to stop. One that does not, or was killed, leaves its session to us."""
        try:
            component.guard.wait(2 * self._grace + 10)
        except subprocess.TimeoutExpired:
            self._report(f"{component.name} does not stop: killing it")
            component.guard.kill()
            component.guard.wait()
        self._kill_session(component)

    def _kill_session(self, component: Component) -> None:
        """Kill all that is left of a component, new forks too."""
        while members := session_members(component.guard.pid):
            for pid in members:
                with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def session_members(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for pid, _ in living():
        with contextlib.suppress(ProcessLookupError, PermissionError):  # ended meanwhile, or another user's
            if os.getsid(pid) == session:
                found.append(pid)
    return found


def free_port() -> int:
    """A port that nothing listens on, below those that the system gives to outgoing connections."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        if _is_free(port):
            return port
    raise StackError("no free port was found between 20000 and 32000")


def require_free_port(url: str, what: str) -> None:
    """Say clearly when somebody else has the port: a second server there would answer in our place."""
    port = int(url.rpartition(":")[2])
    if not _is_free(port):
        raise StackError(
            f"port {port} of {HOST}, meant for {what}, is in use: stop what uses it or choose another port"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: closed connections linger
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _lock(home: Path, timeout_seconds: float) -> IO[str]:
    """Keep others out of the home until this stack and all its guards have ended."""
    file = (home / ".lock").open("w")
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise StackError(f"another stack runs in {home}: stop it, or choose another home") from None
            time.sleep(0.25)
        else:
            return file
