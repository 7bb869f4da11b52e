"""The default: threads of this process. ``python -m airflow_ee.engines.threads --job JOB.json``"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.job import PixelJob
    from airflow_ee.core.job_run import Batch, BatchReport, JobReport

__all__ = ["ThreadEngine"]


@dataclass(frozen=True, slots=True)
class ThreadEngine:
    """Runs a job in this process: as many requests at once as the quota allows, from one piece of work."""

    def run(self, job: PixelJob, *, client: EarthEngineClient | None = None) -> JobReport:
        """Run a job.

        Raises
        ------
        EarthEngineError, ValueError, OSError
            As :func:`~airflow_ee.core.job_run.run_job`.
        """
        # Here and not above: engines stand in DAG files, which are parsed every few seconds.
        from airflow_ee.core.job_run import run_job

        return run_job(job, _do, workers=1, processes=1, batch_units=sys.maxsize, client=client)


def _do(batches: Sequence[Batch]) -> Iterable[BatchReport]:
    from airflow_ee.core.job_run import run_batch

    return map(run_batch, batches)


if __name__ == "__main__":
    from airflow_ee.engines.command import main

    sys.exit(main(lambda _: ThreadEngine(), prog="python -m airflow_ee.engines.threads"))
