"""Beam's local runner in a process of its own, which can be ended when a worker of it has died: the runner would wait for ever."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from airflow_ee.core.errors import EngineFailed
from airflow_ee.core.job_run import Batch, BatchReport
from airflow_ee.engines.beam_pipeline import DONE, FAILED, Pieces, leave, run_pipeline

__all__ = ["distribute", "host"]

MOST_RUNS = 3
"""A worker that dies takes the pipeline with it; so many are started in all, each with what is left."""
LOOK_SECONDS = 0.1
PROGRAM = "from airflow_ee.engines.beam_host import host; host()"
RUNNER = "FnApiRunner"
"""What DirectRunner runs batch pipelines with. By that name it would first download another runner, Prism."""
WORKER_DIED = 70
TASK = "task"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Task:
    flags: tuple[str, ...]
    pieces: Pieces


def distribute(batches: Sequence[Batch], flags: Sequence[str]) -> Iterator[BatchReport]:
    """Have batches of one job done by Beam's local runner; gives reports as they come.

    Raises
    ------
    EarthEngineError, ValueError, OSError
        The first failure of a worker, as it was raised there.
    EngineFailed
        What else Beam raises, or when workers died in every run.
    """
    left = dict(enumerate(batch.units for batch in batches))
    task = _Task(tuple(flags), Pieces(job=batches[0].job, processes=batches[0].processes, units=left))
    for _ in range(MOST_RUNS):
        with tempfile.TemporaryDirectory(prefix="airflow-ee-beam-") as name:
            folder = Path(name)
            pieces = replace(task.pieces, units=dict(left), folder=name)
            (folder / TASK).write_bytes(pickle.dumps(replace(task, pieces=pieces)))
            for number, report in _run(folder):
                del left[number]
                log.info("%d of %d batches are done", len(batches) - len(left), len(batches))
                yield report
        if not left:
            return
        log.warning("A worker of Beam died; %d of %d batches are left", len(left), len(batches))
    raise EngineFailed(
        f"Beam: its process or a worker of it ended in each of {MOST_RUNS} runs, see the log; the machine may have too little memory."
    )


def _run(folder: Path) -> Iterator[tuple[int, BatchReport]]:
    """Start a host and give what its workers leave in the folder, until it ends."""
    known: set[Path] = set()
    # Its own session, to be ended with all its workers; its input ends when this process does. Beam prints: not among results.
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, start_new_session=True) as process:
        try:
            ended = False
            while not ended:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    ended = process.wait(LOOK_SECONDS) is not None
                for path in sorted(set(folder.glob(f"{DONE}*")) - known):
                    known.add(path)
                    yield int(path.name.removeprefix(DONE)), pickle.loads(path.read_bytes())
                for path in folder.glob(f"{FAILED}*"):
                    raise pickle.loads(path.read_bytes())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def host() -> None:
    """Run what the folder given as the only argument says; the program of the process."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    folder = Path(sys.argv[1])
    task: _Task = pickle.loads((folder / TASK).read_bytes())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.excepthook = _end
    try:
        run_pipeline(RUNNER, task.flags, task.pieces)
    except (EngineFailed, ValueError) as failure:
        leave(folder / f"{FAILED}all", failure)
    # Not by way of Beam's threads, which may wait for one another.
    logging.shutdown()
    os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.killpg(os.getpid(), signal.SIGKILL)


def _end(problem: threading.ExceptHookArgs) -> NoReturn:
    # The thread that looks after a worker process raises when that has died, and nobody tells the pipeline.
    log.error("Beam: %s", problem.exc_value)
    os._exit(WORKER_DIED)
