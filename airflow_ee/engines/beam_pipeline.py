"""The pipeline that does a job's pieces on Beam, and what its workers count."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_ee.core import errors
from airflow_ee.core.errors import EarthEngineError, EngineFailed
from airflow_ee.core.job_run import Batch, BatchReport, run_batch

__all__ = ["DONE", "FAILED", "NAMESPACE", "Pieces", "counted", "leave", "run_pipeline", "start_pipeline"]

NAMESPACE = "airflow_ee"
"""Of the metrics."""
COUNTERS = {
    "tiles": "units",
    "requests": "requests",
    "retries": "retries",
    "splits": "splits",
    "bytes": "bytes_fetched",
    "answers_429": "refusals",
}
"""Names of metrics, and what of a :class:`~airflow_ee.core.job_run.BatchReport` they add up."""
MILLISECONDS = {"quota_wait_milliseconds": "quota_wait_seconds", "work_milliseconds": "seconds"}
"""The same for times: metrics are whole numbers."""
FAILURES = "failures"
"""A metric too, a set of texts: type, message and details of what workers raised."""
DONE, FAILED = "done-", "failed-"
"""What files of a folder begin with; the piece's number follows."""
WITH_A_JOB_SERVER = ("flinkrunner", "sparkrunner", "portablerunner", "prismrunner")
"""Their servers have options besides Beam's, which they tell when the pipeline starts."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """Batches of one job as they travel: the job's text, which may be long, once."""

    job: str
    processes: int
    units: Mapping[int, tuple[int, ...]]
    """By the number of the piece."""
    folder: str | None = None
    """Of this machine, where workers leave reports and failures; None: workers are elsewhere, and what they tell is metrics."""


def run_pipeline(runner: str, flags: Sequence[str], pieces: Pieces) -> Any:
    """Do some pieces on Beam, and wait for the end; gives Beam's result.

    Raises
    ------
    ValueError
        When Beam does not know an option; nothing has started then.
    EngineFailed
        When Beam raises anything, or ends otherwise than done; the message is Beam's.
    """
    result = start_pipeline(runner, flags, pieces)
    try:
        state = result.wait_until_finish() or result.state
    except Exception as problem:
        raise EngineFailed(f"Beam: {type(problem).__name__}: {problem}") from problem
    if state != "DONE":
        raise EngineFailed(f"Beam: the pipeline ended as {state}.")
    return result


def start_pipeline(runner: str, flags: Sequence[str], pieces: Pieces) -> Any:
    """Give some pieces to Beam, and do not wait; gives Beam's result, of which more may come.

    Raises
    ------
    ValueError
        When Beam does not know an option; nothing has started then.
    EngineFailed
        When Beam raises anything else; the message is Beam's.
    """
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    options = PipelineOptions(list(flags))
    if runner.rpartition(".")[2].lower() not in WITH_A_JOB_SERVER:
        _refuse_unknown(options)
    try:
        pipeline = apache_beam.Pipeline(runner=runner, options=options)
        (
            pipeline
            | "Pieces" >> apache_beam.Create(list(pieces.units.items()))
            # Else they would all stay with the worker that made them.
            | "Spread" >> apache_beam.Reshuffle()
            | "Fetch" >> apache_beam.Map(_do, job=pieces.job, processes=pieces.processes, folder=pieces.folder)
        )
        return pipeline.run()
    except Exception as problem:
        raise EngineFailed(f"Beam: {type(problem).__name__}: {problem}") from problem


def counted(result: Any) -> BatchReport:
    """What all workers of a pipeline took, of its metrics.

    Raises
    ------
    EarthEngineError
        When they tell of a failure: its type, words and details are the worker's.
    """
    found = result.metrics().query()
    # A runner that has no sets of texts leaves the job incomplete, which the core tells.
    for text in sorted(_told(found.get("string_sets", ())).get(FAILURES, ())):
        name, message, details, retry_after_seconds = json.loads(text)
        raise getattr(errors, name)(message, tuple(details), retry_after_seconds)
    told = _told(found["counters"])
    values: dict[str, Any] = {name: int(told.get(metric, 0)) for metric, name in COUNTERS.items()}
    times = {name: told.get(metric, 0) / 1000 for metric, name in MILLISECONDS.items()}
    return BatchReport(**values, **times)


def leave(path: Path, value: BatchReport | EarthEngineError | ValueError | OSError) -> None:
    """Write what the engine's process reads: under its name at once and whole, for it looks at any time."""
    half = path.with_name(f"half-{path.name}-{os.getpid()}")
    half.write_bytes(pickle.dumps(value))
    half.replace(path)


def _refuse_unknown(options: Any) -> None:
    """Beam itself goes on without what it does not know, be it a limit on workers that is misspelt."""
    try:
        known = options.get_all_options()
    except SystemExit:
        raise ValueError("pipeline_options: Beam refuses a value among them, see above") from None
    unknown = sorted(set(options.get_all_options(retain_unknown_options=True)) - set(known))
    if unknown:
        raise ValueError(f"pipeline_options: Beam has no option {', '.join(unknown)}")


def _told(metrics: Sequence[Any]) -> dict[str, Any]:
    return {item.key.metric.name: item.result for item in metrics if item.key.metric.namespace == NAMESPACE}


def _do(piece: tuple[int, tuple[int, ...]], *, job: str, processes: int, folder: str | None) -> None:
    number, units = piece
    try:
        report = run_batch(Batch(job, tuple(units), processes))
    except (EarthEngineError, ValueError, OSError) as failure:
        # Beam would make a RuntimeError of it, with its text only, and other runners would try again.
        if folder is not None:
            leave(Path(folder, f"{FAILED}{number}"), failure)
        elif isinstance(failure, EarthEngineError):
            _tell(failure)
        else:
            raise
        return
    _count(report)
    if folder is not None:
        leave(Path(folder, f"{DONE}{number}"), report)


def _tell(failure: EarthEngineError) -> None:
    from apache_beam.metrics import Metrics

    log.error("%s: %s", type(failure).__name__, failure)
    Metrics.string_set(NAMESPACE, FAILURES).add(json.dumps([type(failure).__name__, *failure.args]))


def _count(report: BatchReport) -> None:
    from apache_beam.metrics import Metrics

    for metric, name in COUNTERS.items():
        Metrics.counter(NAMESPACE, metric).inc(getattr(report, name))
    for metric, name in MILLISECONDS.items():
        Metrics.counter(NAMESPACE, metric).inc(round(getattr(report, name) * 1000))
