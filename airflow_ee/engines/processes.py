"""Processes of this machine, for where decoding and compressing are the limit. ``python -m airflow_ee.engines.processes --job JOB.json``"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_ee.core.errors import EngineFailed
from airflow_ee.engines.options import at_least_one

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.job import PixelJob
    from airflow_ee.core.job_run import Batch, BatchReport, JobReport

__all__ = ["ProcessEngine"]

MOST_POOLS = 3
"""A process that dies takes its pool with it; so many pools are tried in all."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEngine:
    """Runs a job in processes of this machine.

    >>> ProcessEngine(processes=0)
    Traceback (most recent call last):
    ValueError: processes must be a whole number of at least 1, got 0
    """

    processes: int | None = None
    """None: one a core."""
    batch_units: int | None = None
    """Tiles or shards that a process takes at a time; None: as fits their number."""

    def __post_init__(self) -> None:
        at_least_one(processes=self.processes, batch_units=self.batch_units)

    def run(self, job: PixelJob, *, client: EarthEngineClient | None = None) -> JobReport:
        """Run a job.

        Raises
        ------
        EarthEngineError, ValueError, OSError
            As :func:`~airflow_ee.core.job_run.run_job`.
        """
        # Here and not above: engines stand in DAG files, which are parsed every few seconds.
        from airflow_ee.core.job_run import run_job

        count = self.processes or len(os.sched_getaffinity(0))
        return run_job(
            job,
            lambda batches: _distribute(batches, count),
            workers=count,
            processes=count,
            batch_units=self.batch_units,
            client=client,
        )


def _distribute(batches: Sequence[Batch], processes: int) -> Iterator[BatchReport]:
    left = list(batches)
    for _ in range(MOST_POOLS):
        try:
            for batch, report in _run(left, processes):
                left.remove(batch)
                yield report
        except BrokenProcessPool:
            log.warning("A process died: %d of %d batches are done again", len(left), len(batches))
            continue
        return
    raise EngineFailed(
        f"Processes died in each of {MOST_POOLS} pools: the machine may have too little memory for {processes} of them."
    )


def _run(batches: Sequence[Batch], processes: int) -> Iterator[tuple[Batch, BatchReport]]:
    from airflow_ee.core.job_run import run_batch

    others = set(multiprocessing.active_children())
    # Not forked: threads of the caller may hold locks.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            waiting = {pool.submit(run_batch, batch): batch for batch in batches}
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            # Nobody waits for the rest: the task has failed, or was told to end.
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


def _options(arguments: argparse.Namespace) -> ProcessEngine:
    return ProcessEngine(processes=arguments.processes, batch_units=arguments.batch_units)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--processes", type=int, help="how many; one a core when not given")
    parser.add_argument("--batch-units", type=int, help="tiles or shards that a process takes at a time")


if __name__ == "__main__":
    from airflow_ee.engines.command import main

    sys.exit(main(_options, prog="python -m airflow_ee.engines.processes", add_options=_add_options))
