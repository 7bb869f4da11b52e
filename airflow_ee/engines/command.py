"""The command line that every engine has: run a job file, or tell what it would do."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_ee.core.errors import EarthEngineError
from airflow_ee.engines.options import MissingExtra

if TYPE_CHECKING:
    from airflow_ee.core.job import PixelJob

__all__ = ["Engine", "Report", "describe", "main", "read_job"]


class Report(Protocol):
    """What became of a job."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        ...


class Engine(Protocol):
    """Something that runs jobs."""

    def run(self, job: PixelJob) -> Report:
        """Run a job."""
        ...


def main(
    make_engine: Callable[[argparse.Namespace], Engine],
    *,
    prog: str,
    add_options: Callable[[argparse.ArgumentParser], None] = lambda _: None,
    arguments: Sequence[str] | None = None,
    passes_through: bool = False,
) -> int:
    """Run a job as the command line says; gives the exit status.

    Parameters
    ----------
    make_engine
        Makes the engine of the parsed arguments.
    add_options
        Adds the engine's own.
    passes_through
        Whether arguments that are not known here are the engine's: ``make_engine`` finds them as ``through``.
    """
    # Not abbreviated: what begins alike may be meant for the engine.
    parser = argparse.ArgumentParser(prog=prog, description="Run a job of Earth Engine pixels.", allow_abbrev=False)
    parser.add_argument("--job", required=True, help="job file: a path, or a URL that fsspec reads")
    parser.add_argument("--dry-run", action="store_true", help="tell tiles, requests, bytes and time; fetch nothing")
    parser.add_argument("--report", type=Path, help="write the summary to this file as JSON, besides printing it")
    add_options(parser)
    parsed, through = parser.parse_known_args(arguments)
    if through and not passes_through:
        parser.error(f"unrecognized arguments: {' '.join(through)}")
    parsed.through = through
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        engine = make_engine(parsed)
        job = read_job(parsed.job)
        # Before an engine starts a cluster for what it could not do there.
        job.client.credentials.check_outside_airflow()
        told = describe(job) if parsed.dry_run else engine.run(job).to_json()
    except (EarthEngineError, MissingExtra, ValueError, OSError) as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
        return 1
    text = json.dumps(told, indent=1)
    if parsed.report is not None:
        parsed.report.write_text(text)
    print(text)
    return 0


def read_job(uri: str) -> PixelJob:
    """Read a job file.

    Raises
    ------
    ValueError
        When it is none.
    OSError
        When it cannot be read.
    """
    import fsspec

    from airflow_ee.core.job import PixelJob

    with fsspec.open(uri, "rb") as file:  # type: ignore[no-untyped-call]
        return PixelJob.parse(file.read())


def describe(job: PixelJob) -> dict[str, Any]:
    """What a job would ask for, without asking for a pixel or writing anything."""
    with job.client.open() as client:
        estimate = job.work.estimate(client)
        units = job.work.units(client)
        return {
            "output_uri": job.output_uri,
            "units": units,
            "first_units": [job.work.name(client, unit) for unit in range(min(units, 5))],
            **estimate.to_json(),
        }
