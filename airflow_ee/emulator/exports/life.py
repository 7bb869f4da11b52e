"""The life of operations: queued, run, ended. One thread moves them on by the clock; a few do the work."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeVar

from airflow_ee.emulator import deadline
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.exports.operation import Operation
from airflow_ee.emulator.exports.request import ExportRequest
from airflow_ee.emulator.exports.store import OperationStore
from airflow_ee.emulator.exports.work import ExportWork, Product
from airflow_ee.emulator.limits import MAX_PENDING
from airflow_ee.emulator.values.dates import timestamp

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.03
"""How often the clock is looked at while anything is under way."""

RETRY_SECONDS = 0.5
"""How long to wait where the state of operations could not be saved."""

STUCK_PROGRESS = 0.737
COMPUTED_PROGRESS = 0.8
"""Progress of an operation whose files are ready and not yet in their place."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

DuplicateRule = Literal["error", "same"]
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things take at least, in seconds."""

    pending: float = 0.2
    running: float = 0.5
    cancelling: float = 0.1

    def __post_init__(self) -> None:
        if not min(self.pending, self.running, self.cancelling) >= 0:
            raise ValueError(f"operations cannot take less than 0 seconds, got {self}")


class _Stopped(Exception):
    """The work is not wanted any more."""


@dataclass(slots=True)
class _Job:
    """The work on one operation: first drafts, then their delivery."""

    computing: Future[Product | None]
    delivering: Future[list[str]] | None = None
    progress: float = 0.0
    stopped: bool = False

    @property
    def latest(self) -> Future[Any]:
        """The part that is under way."""
        return self.delivering or self.computing

    def note(self, share: float) -> None:
        """Take the share that is done; ends the work of an operation that is being cancelled."""
        self.note_delivered(share)
        if self.stopped:
            raise _Stopped

    def note_delivered(self, share: float) -> None:
        """Take the share that is delivered: this is not broken off, some files without the others are of no use."""
        self.progress = share


class OperationLife:
    """Starts, runs, cancels and remembers operations."""

    def __init__(
        self,
        store: OperationStore,
        work: ExportWork,
        drafts: Path,
        clock: Clock,
        *,
        durations: Durations,
        duplicate_request_id: DuplicateRule = "error",
        max_pending: int = MAX_PENDING,
        workers: int = 2,
        seed: int | None = None,
    ) -> None:
        self._store = store
        self._work = work
        self._drafts = drafts
        self._clock = clock
        self._durations = durations
        if max_pending < 1:
            raise ValueError(f"the queue must hold at least one operation, got {max_pending}")
        self._duplicates = duplicate_request_id
        self._max_pending = max_pending
        self._workers = workers
        self._random = Random(seed)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._ended = threading.Condition()
        self._stopping = False
        self._stopped = threading.Event()
        self._jobs: dict[str, _Job] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="emulator-export")
        self._thread = threading.Thread(target=self._run, name="emulator-operations", daemon=True)

    @property
    def concurrency(self) -> int:
        """How many operations run at once."""
        return self._workers

    @concurrency.setter
    def concurrency(self, workers: int) -> None:
        self._workers = workers
        self._wake.set()

    def start(self) -> None:
        """Take up what an earlier process left: what was running then starts its next attempt."""
        shutil.rmtree(self._drafts, ignore_errors=True)
        for operation in self._store.in_state("RUNNING"):
            self._put(operation, attempt=operation.attempt + 1, progress=0.0)
        self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        """Leave everything as it is, for the next process."""
        self._stopping = True
        self._wake.set()
        with self._ended:
            self._ended.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._stopped.set()
        for job in list(self._jobs.values()):
            job.stopped = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self._drafts, ignore_errors=True)

    def submit(self, method: str, project: str, body: Mapping[str, Any], script: Mapping[str, Any]) -> Operation:
        """Queue an export or import."""
        request = ExportRequest.parse(method, body)
        earlier = self._earlier(project, request.request_id)
        if earlier is not None:
            return earlier
        marker = self._work.check(request)
        with self._lock:
            earlier = self._earlier(project, request.request_id)
            if earlier is not None:
                return earlier
            self._check_queue(project, request.request_id)
            now = timestamp(self._clock.now())
            operation = Operation(
                name=self._new_name(project),
                method=method,
                body=dict(body),
                marker=marker,
                created=now,
                updated=now,
                script=dict(script),
            )
            self._store.put(operation)
        logger.info("Operation %s queued", operation.name)
        self._wake.set()
        return operation

    def _earlier(self, project: str, request_id: str) -> Operation | None:
        """The operation that the id started already, where the rule is to answer with that."""
        earlier = self._store.with_request_id(project, request_id) if request_id else None
        spent = request_id and self._store.is_spent(project, request_id)
        if spent or (earlier is not None and self._duplicates == "error"):
            raise invalid("A different Operation was already started with the given request_id")
        return earlier

    def _check_queue(self, project: str, request_id: str) -> None:
        """A request that a full queue refuses has used its id up, as has been seen of the service."""
        queued = self._store.count("PENDING", project)
        if queued >= self._max_pending:
            if request_id:
                self._store.spend(project, request_id)
            text = f"There are too many tasks already in the queue ({queued}). Please wait for some to complete."
            raise invalid(text)

    def _new_name(self, project: str) -> str:
        """A name that no operation has: the same seed draws the same ids again after a restart."""
        while True:
            name = f"projects/{project}/operations/{''.join(self._random.choice(_ALPHABET) for _ in range(24))}"
            if not self._store.has(name):
                return name

    def get(self, name: str) -> Operation:
        """An operation as it is now."""
        return self._store.get(name)

    def of_project(self, project: str) -> list[Operation]:
        """The operations of a project, newest first."""
        return self._store.of_project(project)[::-1]

    def cancel(self, name: str) -> None:
        """Ask for an end; it comes a little later. An operation that has ended cannot be cancelled any more."""
        with self._lock:
            operation = self._store.get(name)
            if operation.done:
                raise EmulatorError("FAILED_PRECONDITION", f"Operation {name} is already in state {operation.state}.")
            if operation.state != "CANCELLING":
                self._put(operation, state="CANCELLING", cancel_asked=timestamp(self._clock.now()))
            if name in self._jobs:
                self._jobs[name].stopped = True
        self._wake.set()

    def delete(self, name: str) -> None:
        """Forget an operation that has ended."""
        with self._lock:
            if not self._store.get(name).done:
                raise EmulatorError("FAILED_PRECONDITION", f"Operation {name} has not ended yet.")
            self._store.remove(name)

    def wait(self, name: str, seconds: float) -> Operation:
        """The operation when it has ended, or after so many seconds."""
        with self._ended:
            self._ended.wait_for(lambda: self._stopping or self._store.get(name).done, timeout=seconds)
        return self._store.get(name)

    def _put(self, operation: Operation, **changes: Any) -> Operation:
        changed = operation.changed(self._clock.now(), **changes)
        self._store.put(changed)
        if "state" in changes:
            logger.info("Operation %s is %s", changed.name, changed.state)
        if changed.done:
            with self._ended:
                self._ended.notify_all()
        return changed

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()  # before looking, so that nothing that comes after the look is missed
            pause = TICK_SECONDS
            try:
                with self._lock:
                    active = self._look(self._clock.now())
            except Exception:
                # A full disk, say: operations stay as their files have them, and go on when there is room again.
                logger.exception("Operations cannot be moved on; trying again in %g s", RETRY_SECONDS)
                active, pause = True, RETRY_SECONDS
            self._wake.wait(pause if active else None)

    def _look(self, now: datetime) -> bool:
        """Move everything on; tells whether there is anything left to look at."""
        for operation in self._store.in_state("CANCELLING"):
            self._step_cancelling(operation, now)
        for operation in self._store.in_state("RUNNING"):
            self._step_running(operation, now)
        self._start_pending(now)
        return any(self._store.in_state(state) for state in ("PENDING", "RUNNING", "CANCELLING"))

    def _start_pending(self, now: datetime) -> None:
        """The higher priority first, then the older; none while all workers have something to do."""
        free = self._workers - len(self._store.in_state("RUNNING"))
        if free <= 0:
            return
        # Oldest first: where one has not waited long enough, those behind it have not either.
        due = takewhile(
            lambda each: each.seconds_since(each.created, now) >= self._durations.pending,
            self._store.in_state("PENDING"),
        )
        for operation in sorted(due, key=lambda each: (-each.priority, each.created))[:free]:
            started = self._put(operation, state="RUNNING", started=timestamp(now))
            self._jobs[operation.name] = self._start(started)

    def _step_running(self, operation: Operation, now: datetime) -> None:
        job = self._jobs.get(operation.name)
        if job is None:
            self._jobs[operation.name] = self._start(operation)
            return
        elapsed = operation.seconds_since(operation.started, now)
        ready = job.latest.done() and elapsed >= self._durations.running
        if "stuck" in operation.script:
            self._advance(operation, STUCK_PROGRESS)
        elif ready and job.latest.exception() is not None:
            self._fail(operation, job, now)
        elif ready and job.delivering is not None:
            self._succeed(operation, job, now)
        elif ready:
            self._deliver(operation, job)
        else:
            self._advance(operation, self._share(job, elapsed))

    def _share(self, job: _Job, elapsed: float) -> float:
        if job.delivering is not None:
            return COMPUTED_PROGRESS + (1 - COMPUTED_PROGRESS) * job.progress
        return min(job.progress, elapsed / max(self._durations.running, 1e-9)) * COMPUTED_PROGRESS

    def _advance(self, operation: Operation, progress: float) -> None:
        """Show progress in steps that are worth a file."""
        if progress >= operation.progress + 0.05:
            self._put(operation, progress=progress, eecu_seconds=progress)

    def _start(self, operation: Operation) -> _Job:
        begun = threading.Event()

        def compute() -> Product | None:
            begun.wait()
            with deadline.unless(self._stopped):
                return self._compute(operation, job)

        job = _Job(self._submitted(compute))
        begun.set()
        return job

    def _submitted(self, work: Callable[[], _Result]) -> Future[_Result]:
        """Work for the pool, whose end is looked at without delay."""
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: self._wake.set())
        return future

    def _compute(self, operation: Operation, job: _Job) -> Product | None:
        if "stuck" in operation.script:
            return None
        scripted = operation.script.get("fail")
        if scripted:
            raise EmulatorError(scripted["code"], scripted["message"])
        folder = self._folder(operation)
        folder.mkdir(parents=True)
        request = ExportRequest.parse(operation.method, operation.body)
        return self._work.compute(request, folder, job.note)

    def _folder(self, operation: Operation) -> Path:
        return self._drafts / operation.name.rsplit("/", 1)[-1]

    def _deliver(self, operation: Operation, job: _Job) -> None:
        product = job.computing.result()
        assert product is not None
        job.progress = 0.0
        self._advance(operation, COMPUTED_PROGRESS)
        job.delivering = self._submitted(lambda: self._work.deliver(product, job.note_delivered))

    def _succeed(self, operation: Operation, job: _Job, now: datetime) -> None:
        assert job.delivering is not None
        product = job.computing.result()
        assert product is not None
        uris = tuple(job.delivering.result())
        self._remove_drafts(operation)
        seconds = product.eecu_seconds
        changes = {"ended": timestamp(now), "uris": uris, "eecu_seconds": seconds, "progress": 1.0}
        self._put(operation, state="SUCCEEDED", marker=product.marker or operation.marker, **changes)
        self._jobs.pop(operation.name, None)

    def _fail(self, operation: Operation, job: _Job, now: datetime) -> None:
        problem = job.latest.exception()
        if isinstance(problem, _Stopped):
            return
        self._remove_drafts(operation)
        if not isinstance(problem, EmulatorError):
            logger.error("Operation %s failed inside", operation.name, exc_info=problem)
            problem = EmulatorError("INTERNAL", f"Internal error: {type(problem).__name__}: {problem}")
        self._put(operation, state="FAILED", ended=timestamp(now), error=problem.status())
        self._jobs.pop(operation.name, None)

    def _remove_drafts(self, operation: Operation) -> None:
        """Before the end is saved, which may need their room. What was done is remembered until then."""
        shutil.rmtree(self._folder(operation), ignore_errors=True)

    def _step_cancelling(self, operation: Operation, now: datetime) -> None:
        job = self._jobs.get(operation.name)
        if operation.seconds_since(operation.cancel_asked, now) < self._durations.cancelling:
            return
        if job is not None and not job.latest.done() and not job.latest.cancel():
            return
        if job is not None and _was_delivered(job):
            # Too late: what is in its place is not taken away again.
            self._succeed(operation, job, now)
            return
        self._remove_drafts(operation)
        error = EmulatorError("CANCELLED", "Cancelled.").status()
        self._put(operation, state="CANCELLED", ended=timestamp(now), error=error)
        self._jobs.pop(operation.name, None)


def _was_delivered(job: _Job) -> bool:
    done = job.delivering is not None and job.delivering.done() and not job.delivering.cancelled()
    return done and job.delivering is not None and job.delivering.exception() is None
