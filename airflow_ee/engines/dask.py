"""Dask: a scheduler that is there, or workers of this machine. ``python -m airflow_ee.engines.dask --job JOB.json --address tcp://...``"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import EarthEngineError, EngineFailed
from airflow_ee.engines.command import main
from airflow_ee.engines.options import at_least_one, require

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.job import PixelJob
    from airflow_ee.core.job_run import Batch, BatchReport, JobReport

__all__ = ["DaskEngine"]

CONNECT_SECONDS = 30
"""How long a scheduler may take to answer, and to have a worker."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskEngine:
    """Runs a job on a Dask cluster.

    >>> DaskEngine(address="tcp://scheduler:8786", workers=2)
    Traceback (most recent call last):
    ValueError: workers, threads_per_worker and processes=False make a cluster here: they do not go with an address
    """

    address: str | None = None
    """Of a scheduler whose workers have this package; None: a cluster of this machine, for this job only."""
    workers: int | None = None
    """Of a cluster here; None: as Dask finds fit."""
    threads_per_worker: int | None = None
    """Pieces that a worker does at the same time; None: as Dask finds fit."""
    processes: bool = True
    """Whether workers of a cluster here are processes, or threads of this one."""
    batch_units: int | None = None
    """Tiles or shards of a piece; None: as fits their number."""

    def __post_init__(self) -> None:
        at_least_one(workers=self.workers, threads_per_worker=self.threads_per_worker, batch_units=self.batch_units)
        if self.address is None:
            return
        if self.workers or self.threads_per_worker or not self.processes:
            raise ValueError(
                "workers, threads_per_worker and processes=False make a cluster here: they do not go with an address"
            )
        if not isinstance(self.address, str) or not self.address:
            raise ValueError(f"address must be a scheduler's, such as tcp://scheduler:8786, got {self.address!r}")

    def run(self, job: PixelJob, *, client: EarthEngineClient | None = None) -> JobReport:
        """Run a job.

        Raises
        ------
        EarthEngineError, ValueError, OSError
            As :func:`~airflow_ee.core.job_run.run_job`.
        EngineFailed
            When the scheduler or its workers are out of reach, or a piece's workers died again and again.
        MissingExtra
            When Dask is not installed.
        """
        # Here and not above: engines stand in DAG files, which are parsed every few seconds.
        from airflow_ee.core.job_run import run_job

        distributed = require("distributed", "dask")
        with contextlib.ExitStack() as opened:
            dask, threads = self._connect(distributed, opened)
            return run_job(
                job,
                lambda batches: _distribute(distributed, dask, batches),
                workers=sum(threads.values()),
                processes=_processes(threads),
                batch_units=self.batch_units,
                client=client,
            )

    def _connect(self, distributed: Any, opened: contextlib.ExitStack) -> tuple[Any, dict[str, int]]:
        """A client, and each worker's number of threads."""
        where: Any = self.address
        try:
            if where is None:
                where = opened.enter_context(self._local_cluster(distributed))
            dask = opened.enter_context(distributed.Client(where, timeout=CONNECT_SECONDS, set_as_default=False))
            dask.wait_for_workers(1, timeout=CONNECT_SECONDS)
            return dask, dask.nthreads()
        except (OSError, RuntimeError) as problem:
            raise EngineFailed(f"Dask: {self.address or 'a cluster of this machine'}: {problem}") from problem

    def _local_cluster(self, distributed: Any) -> Any:
        # Threads have no address to listen at. All have web servers, which would listen at every address of the machine.
        listening = {"host": "127.0.0.1"} if self.processes else {"worker_dashboard_address": "127.0.0.1:0"}
        return distributed.LocalCluster(
            n_workers=self.workers,
            threads_per_worker=self.threads_per_worker,
            processes=self.processes,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            **listening,
        )


def _processes(threads: dict[str, int]) -> int:
    """How many processes workers are: those inside a process have an address without a port.

    >>> _processes({"tcp://127.0.0.1:4001": 2, "tcp://127.0.0.1:4002": 2}), _processes({"inproc://a/1/4": 1, "inproc://a/1/6": 1})
    (2, 1)
    """
    return len({"inproc" if address.startswith("inproc:") else address for address in threads})


def _distribute(distributed: Any, dask: Any, batches: Sequence[Batch]) -> Iterator[BatchReport]:
    with _translated(distributed):
        # The text may be long: it travels once, as a task, which another worker repeats when the one that has it dies.
        text = dask.submit(str, batches[0].job, pure=False)
        futures = [dask.submit(_do, text, batch.units, batch.processes, pure=False) for batch in batches]
        try:
            for number, future in enumerate(distributed.as_completed(futures, loop=dask.loop), start=1):
                yield future.result()
                log.info("%d of %d batches are done", number, len(futures))
        finally:
            dask.cancel([future for future in futures if not future.done()])


@contextlib.contextmanager
def _translated(distributed: Any) -> Iterator[None]:
    try:
        yield
    except distributed.comm.CommClosedError as problem:
        # It is an OSError, but none of the work's.
        raise EngineFailed(f"Dask: {problem}") from problem
    except (EarthEngineError, ValueError, OSError):
        raise
    except Exception as problem:
        raise EngineFailed(f"Dask: {type(problem).__name__}: {problem}") from problem


def _do(job: str, units: tuple[int, ...], processes: int) -> BatchReport:
    from airflow_ee.core.job_run import Batch, run_batch

    return run_batch(Batch(job, units, processes))


def _options(arguments: argparse.Namespace) -> DaskEngine:
    return DaskEngine(
        address=arguments.address,
        workers=arguments.workers,
        threads_per_worker=arguments.threads_per_worker,
        batch_units=arguments.batch_units,
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", help="of a scheduler; without it, a cluster of this machine")
    parser.add_argument("--workers", type=int, help="of a cluster of this machine")
    parser.add_argument("--threads-per-worker", type=int, help="pieces that each does at the same time")
    parser.add_argument("--batch-units", type=int, help="tiles or shards of a piece")


if __name__ == "__main__":
    sys.exit(main(_options, prog="python -m airflow_ee.engines.dask", add_options=_add_options))
