"""Task instances whose every try is a process of its own, forked from one that has imported all, as Airflow's are.

A try keeps what Airflow would keep in its database in a folder: the task's state store, what it was deferred to, the trigger's
event, and the result. Each file is written whole or not at all, so that a process may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RETRY_SECONDS = 0.05
GRAPH = {
    "result": "0",
    "values": {
        "0": {
            "functionInvocationValue": {"functionName": "Image.constant", "arguments": {"value": {"constantValue": 7}}}
        }
    },
}
GRID = {
    "crsCode": "EPSG:32633",
    "dimensions": {"width": 3, "height": 2},
    "affineTransform": {"scaleX": 10, "translateX": 5e5, "scaleY": -10, "translateY": 4e6},
}

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.live.tries", "airflow_ee.hooks.earth_engine", "airflow_ee.operators.export"])


@dataclass(frozen=True, slots=True)
class Folder:
    """What outlives the processes of one task instance."""

    path: Path

    def read(self, name: str) -> Any:
        """What was left under a name; None when nothing was."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads((self.path / name).read_text())
        return None

    def write(self, name: str, value: Any) -> None:
        """Leave something, at once."""
        draft = self.path / f"{name}.{os.getpid()}"
        draft.write_text(json.dumps(value))
        draft.replace(self.path / name)

    def forget(self, *names: str) -> None:
        """Leave something no more."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Store:
    """Airflow's task state store; a slow one makes the moment before a write long enough to be killed in."""

    folder: Folder
    slow_seconds: float

    def get(self, key: str, default: Any = None) -> Any:
        """What an earlier try has left."""
        kept = self.folder.read(f"store-{key}")
        return default if kept is None else kept

    def set(self, key: str, value: Any) -> None:
        """Keep it."""
        self.folder.write("storing", value)
        time.sleep(self.slow_seconds)
        self.folder.write(f"store-{key}", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One task instance."""

    folder: Path
    run: str
    index: int
    connection: str
    deferrable: bool
    kept: bool
    """Whether there is a state store, as in Airflow 3.3."""
    slow_seconds: float = 0.0
    arguments: dict[str, Any] | None = None
    """More of the operator's."""


class Instance:
    """A task instance: its tries follow each other until one has a result."""

    def __init__(self, plan: Plan) -> None:
        plan.folder.mkdir(parents=True)
        self.plan, self.folder = plan, Folder(plan.folder)
        self.tries: list[tuple[str, int | None]] = []
        """The kind of each process, and how it ended."""
        self._process: ForkServerProcess | None = None
        self._kind = ""
        self._not_before = 0.0

    @property
    def done(self) -> bool:
        """Whether the task has succeeded."""
        return self.folder.read("result") is not None

    @property
    def deferred(self) -> bool:
        """Whether its process has left it to the triggerer."""
        return self.folder.read("deferral") is not None

    @property
    def kind(self) -> str:
        """What its process does, ``execute``, ``trigger`` or ``resume``; empty where there is none."""
        return self._kind if self._process is not None and self._process.is_alive() else ""

    def advance(self) -> None:
        """Take note of a process that ended, and start the one that is due."""
        if self._process is not None:
            if self._process.is_alive():
                return
            self._end()
        if not self.done and time.monotonic() >= self._not_before:
            self._kind = (
                "execute" if not self.deferred else "trigger" if self.folder.read("event") is None else "resume"
            )
            self._process = _processes.Process(target=_live, args=(self._kind, self.plan), daemon=True)
            self._process.start()

    def kill(self) -> str:
        """SIGKILL; tells what the process was at, nothing when it had ended."""
        if self._process is None or not self._process.is_alive():
            return ""
        self._process.kill()
        self._process.join()
        return self._kind if self._process.exitcode == -9 else ""

    def error(self) -> str:
        """What the latest try said that failed by itself."""
        return self.folder.read("error") or ""

    def _end(self) -> None:
        self._process.join()
        status = self._process.exitcode
        self.tries.append((self._kind, status))
        self._process = None
        if status and self._kind != "trigger":
            # As Airflow does: another try begins at the beginning, whatever the last one was resumed with.
            self.folder.forget("deferral", "event")
            self._not_before = time.monotonic() + RETRY_SECONDS


def finish(instances: list[Instance], *, timeout_seconds: float, look: Any = None) -> None:
    """Lead task instances to their ends; ``look`` is called in between."""
    deadline = time.monotonic() + timeout_seconds
    while not all(instance.done and not instance.kind for instance in instances):
        for instance in instances:
            instance.advance()
        if look is not None:
            look()
        assert time.monotonic() < deadline, [
            (item.plan.index, item.tries, item.error()) for item in instances if not item.done
        ]
        time.sleep(0.005)
    for instance in instances:
        instance.advance()


def moved(path: str, kwargs: dict[str, Any]) -> Any:
    """A trigger from its serialized form."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**kwargs)


def _live(kind: str, plan: Plan) -> None:
    """One process: a try in a worker, or its time in the triggerer."""
    folder = Folder(plan.folder)
    log = os.open(plan.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ["AIRFLOW_CONN_EARTH_ENGINE_DEFAULT"] = plan.connection
    try:
        if kind == "trigger":
            folder.write("event", asyncio.run(_first_event(*folder.read("deferral")["trigger"])))
        else:
            _try(kind, plan, folder)
    except Exception as problem:  # noqa: BLE001 - told to the test, which asserts on it
        folder.write("error", f"{type(problem).__name__}: {problem}")
        sys.exit(1)


async def _first_event(path: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    return (await anext(moved(path, kwargs).run())).payload


def _try(kind: str, plan: Plan, folder: Folder) -> None:
    from airflow.providers.common.compat.sdk import TaskDeferred

    from airflow_ee.operators.export import EarthEngineExportImageOperator

    operator = EarthEngineExportImageOperator(
        task_id="export", expression=GRAPH, grid=GRID, destination_uri=f"gs://demo-bucket/{plan.run}/{plan.index}",
        description=f"{plan.run}-{plan.index}", poll_interval=0.2, deferrable=plan.deferrable, **(plan.arguments or {}),
    )  # fmt: skip
    names = {"dag_id": "campaign", "task_id": "export", "run_id": plan.run, "map_index": plan.index, "max_tries": 9}
    ti = SimpleNamespace(**names, xcom_push=lambda **_: None)
    context = {"ti": ti, "params": {}, **({"task_state_store": Store(folder, plan.slow_seconds)} if plan.kept else {})}
    try:
        if kind == "execute":
            result = operator.execute(context)
        else:
            deferral = folder.read("deferral")
            method, kwargs = deferral["method"], deferral["kwargs"]
            folder.write("resuming", method)
            result = operator.resume_execution(method, {**kwargs, "event": folder.read("event")}, context)
    except TaskDeferred as deferral:
        folder.forget("event")
        folder.write(
            "deferral",
            {"trigger": deferral.trigger.serialize(), "method": deferral.method_name, "kwargs": deferral.kwargs or {}},
        )
        return
    folder.write("result", result)
