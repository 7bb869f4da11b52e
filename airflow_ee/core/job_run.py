"""Run a job in pieces: what every engine does before, in its workers, and after; the engine itself only hands out pieces."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import OtherTypes
from airflow_ee.core.job import PixelJob
from airflow_ee.core.progress import Progress

__all__ = ["Batch", "BatchReport", "Distribute", "JobReport", "cut", "missing_batches", "run_batch", "run_job"]

BATCHES_PER_WORKER = 4
"""Pieces that each worker gets, about: few, because each has a slow end; several, because workers are not equally fast."""
LEAST_BATCH = 4
"""Units of a piece, where there are enough: a worker asks for several at once."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some units of a job, and what a worker needs to do them; plain values, so that every engine can carry it."""

    job: str
    """:attr:`airflow_ee.core.job.PixelJob.text`"""
    units: tuple[int, ...]
    processes: int
    """How many processes share the quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What a piece of work took."""

    units: int
    requests: int
    retries: int
    splits: int
    bytes_fetched: int
    refusals: int
    """Answers that said 429; where several pieces are done at once in a process, those that came since the one before had ended."""
    quota_wait_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What became of a job."""

    summary: dict[str, Any]
    """Of the output, as JSON values: ``uri``, ``bytes``, ``simulated`` and more."""
    units: int
    """Of the whole job."""
    resumed: int
    """Units that an earlier run had done."""
    batches: tuple[BatchReport, ...]

    def counts(self) -> dict[str, Any]:
        """What it took, as JSON values."""
        names = ("requests", "retries", "splits", "bytes_fetched", "refusals")
        waited = sum(batch.quota_wait_seconds for batch in self.batches)
        return {
            "tiles": self.units - self.resumed,
            "tiles_resumed": self.resumed,
            **{name: sum(getattr(batch, name) for batch in self.batches) for name in names},
            "quota_wait_seconds": round(waited, 3),
        }

    def to_json(self) -> dict[str, Any]:
        """Summary and counts, as JSON values."""
        return {**self.summary, **self.counts()}


Distribute = Callable[[Sequence[Batch]], Iterable[BatchReport]]
"""How an engine has batches done: with :func:`run_batch`, in any order, each at least once."""


def run_job(
    job: PixelJob,
    distribute: Distribute,
    *,
    workers: int,
    processes: int,
    batch_units: int | None = None,
    client: EarthEngineClient | None = None,
) -> JobReport:
    """Run a job: find what is missing, have it done, put the whole together.

    Parameters
    ----------
    workers
        Pieces that are done at the same time.
    processes
        Processes that share the quota: each asks for no more than its share.
    batch_units
        Units of a piece; None: as fits the number of workers.
    client
        For what is asked for here; None: the job's own.

    Raises
    ------
    EarthEngineError
        The first failure of a worker that cannot be cured, or :class:`~airflow_ee.core.errors.IncompleteJob`.
    ValueError, OSError
        As the work itself raises them.
    """
    with contextlib.ExitStack() as opened:
        asking = client or opened.enter_context(job.client.open())
        missing = _begin(asking, job)
        while True:
            job, units = missing
            total = job.work.units(asking)
            batches = [Batch(job.text, piece, processes) for piece in cut(units, workers, batch_units)]
            log.info("%s: %d of %d units in %d batches", job.output_uri, len(units), total, len(batches))
            try:
                reports = tuple(distribute(batches)) if batches else ()
            except OtherTypes as error:
                if len(_begin(asking, job)[1]) < len(units):
                    # Some had the announced types: no raster can be made of both.
                    raise
                missing = _begin(asking, job.retyped(error, anew=len(units) < total))
                continue
            summary = job.work.finish(asking)
            return JobReport(summary=summary, units=total, resumed=total - len(units), batches=reports)


def missing_batches(
    job: PixelJob,
    *,
    workers: int,
    processes: int,
    batch_units: int | None = None,
    client: EarthEngineClient | None = None,
) -> list[Batch]:
    """What is missing of a job, in pieces, for an engine that nobody waits for; its place is ready when this returns.

    Parameters
    ----------
    workers, processes, batch_units, client
        As of :func:`run_job`.
    """
    with contextlib.ExitStack() as opened:
        job, units = _begin(client or opened.enter_context(job.client.open()), job)
        return [Batch(job.text, piece, processes) for piece in cut(units, workers, batch_units)]


def run_batch(batch: Batch) -> BatchReport:
    """Do some units of a job, in a worker; they are stored and recorded when this returns.

    Clients and plans are kept for other batches of the same job in this process, which share one quota.

    Raises
    ------
    EarthEngineError, ValueError, OSError
        The first failure that cannot be cured; each pickles and names the tile. Units that were stored stay.
    """
    job, client = _opened.get(batch.job, batch.processes)
    progress = Progress()
    job.work.store(client, batch.units, progress)
    told = progress.summary()
    return BatchReport(
        units=len(batch.units),
        refusals=client.pixel_gate.take_refusals(),
        **{
            name: told[name]
            for name in ("requests", "retries", "splits", "bytes_fetched", "quota_wait_seconds", "seconds")
        },
    )


def cut(units: Sequence[int], workers: int, batch_units: int | None = None) -> Iterator[tuple[int, ...]]:
    """Neighbouring units in pieces of about equal size.

    >>> [len(piece) for piece in cut(range(40), 2)]
    [5, 5, 5, 5, 5, 5, 5, 5]
    >>> list(cut(range(5), 2, batch_units=2))
    [(0, 1), (2, 3), (4,)]
    """
    if workers < 1 or (batch_units is not None and batch_units < 1):
        raise ValueError(f"workers and batch_units must be at least 1, got {workers} and {batch_units}")
    if not units:
        return
    if batch_units is not None:
        pieces = -(-len(units) // batch_units)
    else:
        pieces = min(workers * BATCHES_PER_WORKER, max(workers, len(units) // LEAST_BATCH), len(units))
    ends = [number * len(units) // pieces for number in range(pieces + 1)]
    if batch_units is not None:
        ends = [min(number * batch_units, len(units)) for number in range(pieces + 1)]
    for first, end in pairwise(ends):
        yield tuple(units[first:end])


def _begin(client: EarthEngineClient, job: PixelJob) -> tuple[PixelJob, list[int]]:
    try:
        return job, job.work.begin(client)
    except OtherTypes as error:
        # An earlier try has found and stored other types than the image announces.
        again = job.retyped(error, anew=False)
        return again, again.work.begin(client)


class _Opened:
    """Jobs and clients of this process: the last few that were used."""

    MOST = 4

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[PixelJob, EarthEngineClient]] = {}

    def get(self, text: str, processes: int) -> tuple[PixelJob, EarthEngineClient]:
        key = f"{hashlib.sha256(text.encode()).hexdigest()}/{processes}"
        with self._lock:
            if key not in self._jobs:
                if len(self._jobs) >= self.MOST:
                    # Not closed: a thread may be at work with it.
                    del self._jobs[next(iter(self._jobs))]
                job = PixelJob.parse(text)
                self._jobs[key] = job, job.client.shared(processes).open()
            return self._jobs[key]


_opened = _Opened()
