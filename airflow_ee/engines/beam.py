"""Apache Beam: this machine, Dataflow, Flink. ``python -m airflow_ee.engines.beam --job JOB.json [Beam's options]``

Beam's local runner cannot go on without a worker process that has died; the engine then ends it, and starts another one with what is left.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_ee.engines.command import main
from airflow_ee.engines.options import at_least_one, check_installed, require

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.job import PixelJob
    from airflow_ee.core.job_run import Batch, BatchReport, JobReport

__all__ = ["BeamEngine", "BeamSubmission", "command"]

LOCAL = ("directrunner", "fnapirunner")
MODES = ("in_memory", "multi_threading", "multi_processing")


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamEngine:
    """Runs a job as a Beam pipeline.

    >>> BeamEngine(runner="DataflowRunner", pipeline_options={"region": "europe-west1"})
    Traceback (most recent call last):
    ValueError: DataflowRunner: how many processes share the quota? Give max_num_workers or num_workers, or processes=
    """

    runner: str = "DirectRunner"
    """As Beam names it."""
    pipeline_options: Mapping[str, Any] | Sequence[str] = field(default_factory=dict)
    """Beam's own, ``{"direct_running_mode": "multi_processing"}`` or ``["--direct_running_mode=multi_processing"]``."""
    workers: int | None = None
    """Pieces that are done at the same time, for which the job is cut; None: as the options say."""
    processes: int | None = None
    """How many share the quota; None: as the options say. Dataflow has one a core of each machine, the options name machines."""
    batch_units: int | None = None
    """Tiles or shards of a piece; None: as fits their number."""

    def __post_init__(self) -> None:
        at_least_one(workers=self.workers, processes=self.processes, batch_units=self.batch_units)
        if not isinstance(self.runner, str) or not self.runner:
            raise ValueError(f"runner must be the name of a Beam runner, got {self.runner!r}")
        if any(flag.partition("=")[0] == "--runner" for flag in self.flags):
            raise ValueError("pipeline_options must not name a runner: give runner=")
        _ = self._shares

    @property
    def flags(self) -> tuple[str, ...]:
        """The options as Beam's command line has them.

        >>> BeamEngine(pipeline_options={"experiments": ["a", "b"], "streaming": False, "no_auth": True}).flags
        ('--experiments=a', '--experiments=b', '--no_auth')
        """
        if isinstance(self.pipeline_options, Mapping):
            return tuple(flag for name, value in self.pipeline_options.items() for flag in _flags(name, value))
        if isinstance(self.pipeline_options, str) or not all(isinstance(flag, str) for flag in self.pipeline_options):
            raise ValueError(f"pipeline_options must be names and values, or flags, got {self.pipeline_options!r}")
        return tuple(self.pipeline_options)

    @property
    def _is_local(self) -> bool:
        return self.runner.lower() in LOCAL

    @property
    def _shares(self) -> tuple[int, int]:
        """Pieces at once, and processes."""
        options = _known(self.flags)
        if self._is_local:
            count = options.direct_num_workers or os.cpu_count() or 1
            several = 1 if options.direct_running_mode == "in_memory" else count
            alone = options.direct_running_mode != "multi_processing"
            return self.workers or several, self.processes or (1 if alone else count)
        processes = self.processes or options.max_num_workers or options.num_workers
        if processes is None:
            raise ValueError(
                f"{self.runner}: how many processes share the quota? Give max_num_workers or num_workers, or processes="
            )
        return self.workers or processes, processes

    def run(self, job: PixelJob, *, client: EarthEngineClient | None = None) -> JobReport:
        """Run a job.

        Raises
        ------
        EarthEngineError, ValueError, OSError
            As :func:`~airflow_ee.core.job_run.run_job`. From other machines the latter two come as an ``EngineFailed``.
        EngineFailed
            When Beam itself fails.
        MissingExtra
            When Beam is not installed.
        """
        # Here and not above: engines stand in DAG files, which are parsed every few seconds.
        from airflow_ee.core.job_run import run_job

        # The local runner's own process imports it.
        (check_installed if self._is_local else require)("apache_beam", "beam")
        workers, processes = self._shares
        return run_job(
            job, self._distribute, workers=workers, processes=processes, batch_units=self.batch_units, client=client
        )

    def _distribute(self, batches: Sequence[Batch]) -> Iterable[BatchReport]:
        from airflow_ee.engines import beam_host
        from airflow_ee.engines.beam_pipeline import Pieces, counted, run_pipeline

        if self._is_local:
            return beam_host.distribute(batches, self.flags)
        units = dict(enumerate(batch.units for batch in batches))
        pieces = Pieces(job=batches[0].job, processes=batches[0].processes, units=units)
        return [counted(run_pipeline(self.runner, self.flags, pieces))]

    def submit(self, job: PixelJob, *, client: EarthEngineClient | None = None) -> BeamSubmission:
        """Give a job to a runner elsewhere and do not wait, for those who watch the pipeline by themselves.

        The output is put together by none but a commit of the job after the pipeline has ended; what workers could not do is missing then.

        Raises
        ------
        ValueError
            When the runner is the local one, which ends with this process, or Beam does not know an option.
        EngineFailed
            When Beam or the runner refuses the pipeline.
        MissingExtra
            When Beam is not installed.
        """
        from airflow_ee.core.job_run import missing_batches

        if self._is_local:
            raise ValueError(f"{self.runner} ends with the process that starts it: nothing can be submitted to it")
        require("apache_beam", "beam")
        from airflow_ee.engines.beam_pipeline import Pieces, start_pipeline

        workers, processes = self._shares
        batches = missing_batches(
            job, workers=workers, processes=processes, batch_units=self.batch_units, client=client
        )
        units = dict(enumerate(batch.units for batch in batches))
        submission = BeamSubmission(output_uri=job.output_uri, units=sum(map(len, units.values())))
        if not units:
            return submission
        pieces = Pieces(job=batches[0].job, processes=processes, units=units)
        started = start_pipeline(self.runner, self.flags, pieces)
        return replace(submission, job_id=str(started.job_id()) if hasattr(started, "job_id") else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSubmission:
    """A pipeline that a runner elsewhere has been given."""

    output_uri: str
    units: int
    """How many were missing; with none, nothing was submitted."""
    job_id: str | None = None
    """The runner's, where it gives one."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Submitting:
    """An engine whose runs are submissions."""

    engine: BeamEngine

    def run(self, job: PixelJob) -> BeamSubmission:
        return self.engine.submit(job)


def command(arguments: Sequence[str] | None = None) -> int:
    """Run a job as the command line says, which may have any of Beam's options; gives the exit status."""
    return main(
        _options,
        prog="python -m airflow_ee.engines.beam",
        add_options=_add_options,
        arguments=arguments,
        passes_through=True,
    )


def _flags(name: str, value: Any) -> Iterable[str]:
    if value is None or value is False:
        return ()
    if value is True:
        return (f"--{name}",)
    if isinstance(value, list | tuple):
        return tuple(f"--{name}={item}" for item in value)
    return (f"--{name}={json.dumps(value) if isinstance(value, Mapping) else value}",)


def _known(flags: Sequence[str]) -> argparse.Namespace:
    """Those of Beam's options that tell how many there are."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    parser.add_argument("--direct_running_mode", choices=MODES, default="in_memory")
    parser.add_argument("--direct_num_workers", type=int, default=1)
    parser.add_argument("--max_num_workers", type=int)
    parser.add_argument("--num_workers", type=int)
    try:
        known, _ = parser.parse_known_args(list(flags))
    except argparse.ArgumentError as problem:
        raise ValueError(f"pipeline_options: {problem}") from None
    # Nought means one a core.
    at_least_one(
        direct_num_workers=known.direct_num_workers or None,
        max_num_workers=known.max_num_workers,
        num_workers=known.num_workers,
    )
    return known


def _options(arguments: argparse.Namespace) -> BeamEngine | _Submitting:
    engine = BeamEngine(
        runner=arguments.runner,
        pipeline_options=arguments.through,
        workers=arguments.workers,
        processes=arguments.processes,
        batch_units=arguments.batch_units,
    )
    return _Submitting(engine) if arguments.submit_only else engine


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Other arguments are Beam's own, such as --direct_running_mode, --project or --max_num_workers."
    parser.add_argument(
        "--runner", default="DirectRunner", help="DirectRunner (the default), DataflowRunner, FlinkRunner, ..."
    )
    # Airflow's operator writes options with underscores.
    parser.add_argument("--batch-units", "--batch_units", type=int, help="tiles or shards of a piece")
    parser.add_argument(
        "--submit-only", "--submit_only", action="store_true", help="do not wait for the runner; commit when it is done"
    )
    parser.add_argument("--workers", type=int, help="pieces at the same time, when Beam's options do not tell")
    parser.add_argument("--processes", type=int, help="how many share the quota, when Beam's options do not tell")


if __name__ == "__main__":
    sys.exit(command())
