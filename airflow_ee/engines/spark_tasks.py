"""What Spark's workers do of a job, and how the driver sees to it; of its own module, so that they can import what is pickled."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from airflow_ee.core.errors import EarthEngineError, EngineFailed
from airflow_ee.engines.options import require

if TYPE_CHECKING:
    from pyspark import Accumulator, Broadcast, SparkContext

    from airflow_ee.core.job_run import Batch, BatchReport

__all__ = ["distribute", "failures_of_spark", "spark_errors", "words"]

LOOK_SECONDS = 0.2
"""Between two looks at what workers tell."""
END_SECONDS = 30.0
"""Longest wait for cancelled pieces: Spark ends their processes within four seconds."""
LONGEST_WORDS = 2_000
"""Letters of Spark's words that are kept."""
COUNTS = ("units", "bytes_fetched", "retries", "refusals")
Failure: TypeAlias = EarthEngineError | ValueError | OSError
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What pieces tell when they end, before all have ended; a piece that ran twice counts twice."""

    counts: dict[str, Accumulator[int]]
    failures: Accumulator[tuple[Failure, ...]]

    @classmethod
    def by(cls, context: SparkContext) -> _Told:
        adding = require("pyspark.accumulators", "spark").AddingAccumulatorParam
        return cls(
            counts={name: context.accumulator(0) for name in COUNTS}, failures=context.accumulator((), adding(()))
        )

    def add(self, report: BatchReport) -> None:
        for name, count in self.counts.items():
            count.add(getattr(report, name))


def distribute(context: SparkContext, batches: Sequence[Batch]) -> list[BatchReport]:
    """Have batches done as tasks of one job of Spark, one a partition.

    Raises
    ------
    EarthEngineError, ValueError, OSError
        The first failure of a task, as it was raised there; the other tasks have ended by then.
    EngineFailed
        When Spark gave up.
    """
    with failures_of_spark():
        told = _Told.by(context)
        ended = _run(context, batches, told)
    problem = ended.exception()
    if problem is not None and not told.failures.value:
        raise EngineFailed(words(problem)) from problem
    results = told.failures.value or ended.result()
    failures = [result for result in results if isinstance(result, Exception)]
    if failures:
        raise failures[0]
    return [result for result in results if not isinstance(result, Exception)]


@contextlib.contextmanager
def failures_of_spark() -> Iterator[None]:
    """What Spark itself raises is the engine's failure: properties that it refuses, its Java side being gone.

    Raises
    ------
    EngineFailed
        With Spark's words.
    """
    try:
        yield
    except spark_errors() as problem:
        raise EngineFailed(words(problem)) from problem


def spark_errors() -> tuple[type[Exception], ...]:
    """What Spark raises in the driver; failures of tasks come as data."""
    return (
        require("py4j.protocol", "spark").Py4JError,
        require("pyspark.errors", "spark").PySparkException,
        OSError,
    )


def _run(context: SparkContext, batches: Sequence[Batch], told: _Told) -> Future[list[BatchReport | Failure]]:
    """Run them all, or until one fails; nothing runs any more when this returns."""
    text, group = context.broadcast(batches[0].job), f"airflow-ee-{uuid.uuid4().hex}"
    pool = context.getLocalProperty("spark.scheduler.pool")
    work = partial(_work, text, batches[0].processes, told)

    def collect() -> list[BatchReport | Failure]:
        # Groups and pools belong to threads: the caller's own group stays as it is.
        context.setJobGroup(group, "tiles of Earth Engine")
        if pool is not None:
            context.setLocalProperty("spark.scheduler.pool", pool)
        return context.parallelize([batch.units for batch in batches], len(batches)).mapPartitions(work).collect()

    with ThreadPoolExecutor(1, "airflow-ee-spark") as thread:
        ended = thread.submit(collect)
        try:
            _watch(ended, told)
        finally:
            if not ended.done():
                _end(context, group)
            text.destroy()
    return ended


def _work(
    text: Broadcast[str], processes: int, told: _Told, pieces: Iterable[tuple[int, ...]]
) -> Iterator[BatchReport | Failure]:
    """A task: a failure of ours is data, because Spark would try it again, and raise it as words."""
    from airflow_ee.core.job_run import Batch, run_batch

    for units in pieces:
        try:
            report = run_batch(Batch(text.value, units, processes))
        except (EarthEngineError, ValueError, OSError) as failure:
            told.failures.add((failure,))
            yield failure
        else:
            told.add(report)
            yield report


def _watch(ended: Future[list[BatchReport | Failure]], told: _Told) -> None:
    """Log what comes, until all have ended or one has failed."""
    units = 0
    while not wait([ended], timeout=LOOK_SECONDS).done and not told.failures.value:
        if told.counts["units"].value > units:
            units = told.counts["units"].value
            log.info("Done: %s", ", ".join(f"{count.value} {name}" for name, count in told.counts.items()))


def _end(context: SparkContext, group: str) -> None:
    """Stop what still runs, and see it end: it would go on to ask, beside whatever comes next."""
    context.cancelJobGroup(group)
    tracker = context.statusTracker()
    until = time.monotonic() + END_SECONDS
    jobs = [job for number in tracker.getJobIdsForGroup(group) if (job := tracker.getJobInfo(number))]
    while time.monotonic() < until:
        stages = [stage for job in jobs for number in job.stageIds if (stage := tracker.getStageInfo(number))]
        if not any(stage.numActiveTasks for stage in stages):
            return
        time.sleep(LOOK_SECONDS)
    log.warning("Cancelled pieces still run after %s seconds", END_SECONDS)


def words(problem: BaseException) -> str:
    """What Spark says, without the lines of Java's stacks."""
    lines = [line for line in str(problem).splitlines() if line.strip() and not line.startswith("\tat ")]
    return "\n".join(lines)[:LONGEST_WORDS]
