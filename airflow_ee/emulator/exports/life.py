"""The life of operations: queued, run, ended. One thread moves them on by the clock; a few do the work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Literal

from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.exports.operation import Operation
from airflow_ee.emulator.exports.request import ExportRequest
from airflow_ee.emulator.exports.store import OperationStore
from airflow_ee.emulator.exports.work import ExportWork
from airflow_ee.emulator.limits import MAX_QUEUED
from airflow_ee.emulator.values.dates import timestamp

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.03
"""How often the clock is looked at while anything is under way."""

STUCK_PROGRESS = 0.737
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

DuplicateRule = Literal["error", "same"]


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things take at least, in seconds."""

    pending: float = 0.2
    running: float = 0.5
    cancelling: float = 0.1


class _Stopped(Exception):
    """The work is not wanted any more."""


class OperationLife:
    """Starts, runs, cancels and remembers operations."""

    def __init__(
        self,
        store: OperationStore,
        work: ExportWork,
        clock: Clock,
        *,
        durations: Durations,
        duplicate_request_id: DuplicateRule = "error",
        workers: int = 2,
        seed: int | None = None,
    ) -> None:
        self._store = store
        self._work = work
        self._clock = clock
        self._durations = durations
        self._duplicates = duplicate_request_id
        self._workers = workers
        self._random = Random(seed)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopping = False
        self._jobs: dict[str, Future[tuple[list[str], float]]] = {}
        self._progress: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="emulator-export")
        self._thread = threading.Thread(target=self._run, name="emulator-operations", daemon=True)

    def start(self) -> None:
        """Take up what an earlier process left: what was running then starts its next attempt."""
        for operation in self._store.all():
            if operation.state == "RUNNING":
                self._put(operation, attempt=operation.attempt + 1, progress=0.0)
        self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        """Leave everything as it is, for the next process."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, project: str, body: Mapping[str, Any], script: Mapping[str, Any]) -> Operation:
        """Queue an export."""
        request = ExportRequest.parse(body)
        with self._lock:
            earlier = self._started_with(project, request.request_id)
            if earlier is not None:
                return self._duplicate(earlier)
        marker = self._work.check(request)
        with self._lock:
            if self._started_with(project, request.request_id) is not None:
                return self._duplicate(self._started_with(project, request.request_id))
            self._check_queue(project)
            now = timestamp(self._clock.now())
            name = f"projects/{project}/operations/{self._new_id()}"
            operation = Operation(
                name=name, body=dict(body), marker=marker, created=now, updated=now, script=dict(script)
            )
            self._store.put(operation)
        logger.info("Operation %s queued", operation.name)
        self._wake.set()
        return operation

    def _started_with(self, project: str, request_id: str) -> Operation | None:
        if not request_id:
            return None
        mine = (each for each in self._store.all() if each.project == project)
        return next((each for each in mine if each.request_id == request_id), None)

    def _duplicate(self, earlier: Operation | None) -> Operation:
        if earlier is None or self._duplicates == "error":
            raise invalid("A different Operation was already started with the given request_id")
        return earlier

    def _check_queue(self, project: str) -> None:
        queued = sum(each.state == "PENDING" and each.project == project for each in self._store.all())
        if queued >= MAX_QUEUED:
            text = f"There are too many tasks already in the queue ({queued}). Please wait for some to complete."
            raise invalid(text)

    def _new_id(self) -> str:
        return "".join(self._random.choice(_ALPHABET) for _ in range(24))

    def get(self, name: str) -> Operation:
        """An operation as it is now."""
        return self._store.get(name)

    def of_project(self, project: str) -> list[Operation]:
        """The operations of a project, newest first."""
        return [each for each in reversed(self._store.all()) if each.project == project]

    def cancel(self, name: str) -> None:
        """Ask for an end; it comes a little later. An operation that has ended cannot be cancelled any more."""
        with self._lock:
            operation = self._store.get(name)
            if operation.done:
                raise EmulatorError("FAILED_PRECONDITION", f"Operation {name} is already in state {operation.state}.")
            if operation.state != "CANCELLING":
                self._put(operation, state="CANCELLING", cancel_asked=timestamp(self._clock.now()))
        self._wake.set()

    def delete(self, name: str) -> None:
        """Forget an operation that has ended."""
        with self._lock:
            if not self._store.get(name).done:
                raise EmulatorError("FAILED_PRECONDITION", f"Operation {name} has not ended yet.")
            self._store.remove(name)

    def wait(self, name: str, seconds: float) -> Operation:
        """The operation when it has ended, or after so many seconds."""
        waited = threading.Event()
        passed = 0.0
        while not self._store.get(name).done and passed < seconds and not self._stopping:
            waited.wait(TICK_SECONDS)
            passed += TICK_SECONDS
        return self._store.get(name)

    def _put(self, operation: Operation, **changes: Any) -> Operation:
        changed = operation.changed(self._clock.now(), **changes)
        self._store.put(changed)
        if "state" in changes:
            logger.info("Operation %s is %s", changed.name, changed.state)
        return changed

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()  # before looking, so that nothing that comes after the look is missed
            with self._lock:
                active = [each for each in self._store.all() if not each.done]
                for operation in sorted(active, key=lambda each: (-each.priority, each.created)):
                    self._step(operation, self._clock.now())
            self._wake.wait(TICK_SECONDS if active else None)

    def _step(self, operation: Operation, now: datetime) -> None:
        steps: dict[str, Callable[[Operation, datetime], None]] = {
            "PENDING": self._step_pending,
            "RUNNING": self._step_running,
            "CANCELLING": self._step_cancelling,
        }
        steps[operation.state](operation, now)

    def _step_pending(self, operation: Operation, now: datetime) -> None:
        running = sum(each.state == "RUNNING" for each in self._store.all())
        due = operation.seconds_since(operation.created, now) >= self._durations.pending
        if due and running < self._workers:
            self._put(operation, state="RUNNING", started=timestamp(now))

    def _step_running(self, operation: Operation, now: datetime) -> None:
        job = self._jobs.get(operation.name)
        if job is None:
            self._jobs[operation.name] = self._pool.submit(self._do, operation)
            return
        elapsed = operation.seconds_since(operation.started, now)
        if "stuck" in operation.script:
            self._advance(operation, STUCK_PROGRESS)
        elif job.done() and elapsed >= self._durations.running:
            self._finish(operation, job, now)
        else:
            share = min(self._progress.get(operation.name, 0.0), elapsed / max(self._durations.running, 1e-9), 0.99)
            self._advance(operation, share)

    def _advance(self, operation: Operation, progress: float) -> None:
        """Show progress in steps that are worth a file."""
        if progress >= operation.progress + 0.05:
            self._put(operation, progress=progress, eecu_seconds=progress)

    def _do(self, operation: Operation) -> tuple[list[str], float]:
        def progress(share: float) -> None:
            self._progress[operation.name] = share
            if self._stopping or self._store.get(operation.name).state != "RUNNING":
                raise _Stopped

        if "stuck" in operation.script:
            return [], 0.0
        scripted = operation.script.get("fail")
        if scripted:
            raise EmulatorError(scripted["code"], scripted["message"])
        return self._work.run(ExportRequest.parse(operation.body), progress)

    def _finish(self, operation: Operation, job: Future[tuple[list[str], float]], now: datetime) -> None:
        del self._jobs[operation.name]
        problem = job.exception()
        if isinstance(problem, _Stopped):
            return
        if problem is None:
            uris, seconds = job.result()
            ended = {"ended": timestamp(now), "uris": tuple(uris), "eecu_seconds": seconds, "progress": 1.0}
            self._put(operation, state="SUCCEEDED", **ended)
            return
        if not isinstance(problem, EmulatorError):
            logger.error("Operation %s failed inside", operation.name, exc_info=problem)
            problem = EmulatorError("INTERNAL", f"Internal error: {type(problem).__name__}: {problem}")
        self._put(operation, state="FAILED", ended=timestamp(now), error=problem.status())

    def _step_cancelling(self, operation: Operation, now: datetime) -> None:
        job = self._jobs.get(operation.name)
        waited = operation.seconds_since(operation.cancel_asked, now) >= self._durations.cancelling
        if waited and (job is None or job.done() or job.cancel()):
            self._jobs.pop(operation.name, None)
            error = EmulatorError("CANCELLED", "Cancelled.").status()
            self._put(operation, state="CANCELLED", ended=timestamp(now), error=error)
