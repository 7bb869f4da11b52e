"""Airflow as people run it who have more than one machine, on this one: Postgres, Redis, and workers of Celery that can be killed.

>>> with AirflowCluster(home, dags, emulator=EmulatorOptions(root=home / "earth-engine")) as cluster:  # doctest: +SKIP
...     cluster.crash("worker-1")

Postgres and Redis are Debian's (``tools/install_services.sh``); both listen on loopback only, and end with the rest.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tools.stack import HOST, AirflowStack, StackError, free_port

POSTGRES_USER = "postgres"
WORKER_READY = " ready."
QUICK_FAILOVER = {
    # As a cluster has them that shall notice a lost worker within half a minute and not within five.
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "120",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
}


class AirflowCluster(AirflowStack):
    """Airflow's components, with CeleryExecutor and as many workers as asked for; each worker is a component: ``worker-1`` and so on."""

    def __init__(self, *arguments: Any, workers: int = 2, worker_concurrency: int = 4, **options: Any) -> None:
        """Nothing starts yet.

        :param workers: processes of Celery
        :param worker_concurrency: tasks that each of them runs at once
        """
        super().__init__(
            *arguments, **{"parallelism": workers * worker_concurrency, "start_timeout_seconds": 300, **options}
        )
        self.workers = tuple(f"worker-{number}" for number in range(1, workers + 1))
        self.worker_concurrency = worker_concurrency
        self._postgres_port, self._redis_port = free_port(), free_port()
        self._postgres_folder: Path | None = None

    def stop(self) -> None:
        """End every process, and remove the database."""
        super().stop()
        if self._postgres_folder is not None:
            shutil.rmtree(self._postgres_folder)
            self._postgres_folder = None

    @property
    def _services(self) -> tuple[str, ...]:
        return ("redis", "postgres")

    def _settings(self) -> dict[str, str]:
        return {
            **super()._settings(),
            **QUICK_FAILOVER,
            "CORE__EXECUTOR": "CeleryExecutor",
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self._account}",
            "CELERY__BROKER_URL": f"redis://{HOST}:{self._redis_port}/0",
            "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{self._account}",
            "CELERY__WORKER_CONCURRENCY": str(self.worker_concurrency),
        }

    @property
    def _account(self) -> str:
        return f"{POSTGRES_USER}@{HOST}:{self._postgres_port}/postgres"

    def _commands(self) -> dict[str, tuple[str, ...]]:
        worker = (
            "-m",
            "airflow",
            "celery",
            "worker",
            "--skip-serve-logs",
            "--concurrency",
            str(self.worker_concurrency),
        )
        names = {name: (*worker, "--celery-hostname", f"{name}@%h", *self._pid(name)) for name in self.workers}
        return {**super()._commands(), **names}

    def _pid(self, name: str) -> tuple[str, str]:
        # Of its own for each start: a worker that was killed leaves its file behind, and the next one would not start.
        return "--pid", str(self.home / f"{name}-{time.time_ns()}.pid")

    def _unhealthy(self, begun: Any) -> list[str]:
        waiting = [
            name
            for name in self.workers
            if name not in self.components or WORKER_READY not in self.components[name].log_text()
        ]
        return [*super()._unhealthy(begun), *waiting]

    def _keeps_database(self) -> bool:
        return False

    def _make_database(self) -> None:
        """It is there as soon as Postgres is."""

    def _start_services(self, deadline: float) -> None:
        self._report("Starting Postgres and Redis ...")
        self._launch(
            "redis", "--bind", HOST, "--port", str(self._redis_port), "--save", "", "--appendonly", "no",
            "--dir", str(self.home), program=_program("redis-server"),
        )  # fmt: skip
        self._postgres_folder = folder = Path(tempfile.mkdtemp(prefix="airflow-ee-postgres-"))
        user = _database_user()
        if user:
            shutil.chown(folder, user, user)
        data, server = str(folder / "data"), _program("postgres")
        initdb = [*_as(user), _program("initdb"), "--auth=trust", f"--username={POSTGRES_USER}", "--no-sync", data]
        made = subprocess.run(initdb, capture_output=True, text=True, cwd="/", check=False)
        if made.returncode:
            raise StackError(f"initdb failed: {made.stderr}")
        command = [
            *_as(user), server, "-D", data, "-p", str(self._postgres_port), "-k", str(folder),
            "-c", f"listen_addresses={HOST}", "-c", "fsync=off", "-c", "max_connections=200",
        ]  # fmt: skip
        self._launch("postgres", *command[1:], program=command[0])
        for name, port in (("postgres", self._postgres_port), ("redis", self._redis_port)):
            self._wait_until(deadline, lambda port=port: _listens(port), lambda name=name: f"{name} does not listen")  # type: ignore[misc]


def _program(name: str) -> str:
    """A program of Debian's packages; Postgres's own are not on the path."""
    found = shutil.which(name)
    versions = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if versions:
        return versions[-1]
    if found is None:
        raise StackError(f"{name} is not installed: run tools/install_services.sh")
    return found


def _database_user() -> str:
    """Postgres does not run as root: then it runs as the user that its package makes."""
    if os.geteuid():
        return ""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(POSTGRES_USER).pw_name
    raise StackError(f"there is no user {POSTGRES_USER}: run tools/install_services.sh")


def _as(user: str) -> list[str]:
    return ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
