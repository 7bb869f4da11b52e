"""Spark, for clusters that run it already. ``python -m airflow_ee.engines.spark --job JOB.json``, or ``launchers/spark_job.py``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from airflow_ee.engines.command import main
from airflow_ee.engines.options import MissingExtra, at_least_one, require
from airflow_ee.engines.spark_tasks import distribute, failures_of_spark, spark_errors, words

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.job import PixelJob
    from airflow_ee.core.job_run import JobReport

__all__ = ["SparkEngine", "run_command", "run_submitted"]

MOST_FAILURES = 4
"""Times that a piece may lose its worker: as on clusters, where ``local[*]`` alone would have it once."""
MASTERS = r"local\b|yarn$|spark://|k8s://"
"""What Spark takes for a cluster; it refuses all else by ending before it has said why."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkEngine:
    """Runs a job on Spark: in the session of this process if it has one, else in one that is made for the job and stopped after it.

    >>> SparkEngine(configuration={"executor.cores": "4"})
    Traceback (most recent call last):
    ValueError: configuration must name properties as spark.*, with texts as values, got 'executor.cores': '4'
    """

    master: str | None = None
    """Where a session that is made here runs; None: in this machine's cores. A session that is there already must have the same."""
    workers: int | None = None
    """Pieces that run at once, which share the quota; None: as the session says. More, if the session runs more."""
    configuration: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Spark properties of a session that is made here."""
    batch_units: int | None = None
    """Tiles or shards of a piece, which is a task of Spark; None: as fits their number."""

    def __post_init__(self) -> None:
        at_least_one(workers=self.workers, batch_units=self.batch_units)
        if self.master is not None and not re.match(MASTERS, self.master):
            raise ValueError(f"master must be local[n], yarn, spark://... or k8s://..., got {self.master!r}")
        for name, value in self.configuration.items():
            if not (isinstance(name, str) and name.startswith("spark.") and isinstance(value, str)):
                raise ValueError(
                    f"configuration must name properties as spark.*, with texts as values, got {name!r}: {value!r}"
                )

    def run(self, job: PixelJob, *, client: EarthEngineClient | None = None) -> JobReport:
        """Run a job.

        Raises
        ------
        MissingExtra
            When pyspark is not installed.
        FileNotFoundError
            When there is no Java to start Spark with.
        EngineFailed
            When Spark failed, and not the job.
        EarthEngineError, ValueError, OSError
            As :func:`~airflow_ee.core.job_run.run_job`.
        """
        # Here and not above: engines stand in DAG files, which are parsed every few seconds.
        from airflow_ee.core.job_run import run_job

        with self._context() as context:
            count = self._count(_properties_of(context))
            return run_job(
                job,
                partial(distribute, context),
                workers=count,
                processes=count,
                batch_units=self.batch_units,
                client=client,
            )

    def _count(self, properties: SparkConf) -> int:
        """Tasks that run at once; the larger number where it is told twice, so that the quota is never exceeded."""
        told = [count for count in (_slots(properties), self.workers) if count is not None]
        if not told:
            raise ValueError(
                "Spark does not say how many tasks run at once, and they share the quota: give workers, or set "
                "spark.cores.max, or spark.executor.cores with spark.executor.instances or spark.dynamicAllocation.maxExecutors"
            )
        return max(told)

    @contextlib.contextmanager
    def _context(self) -> Iterator[SparkContext]:
        pyspark = _pyspark()
        # A session belongs to a thread, its context to the process: asking for the session would miss another thread's.
        active: SparkContext | None = pyspark.SparkContext._active_spark_context
        if active is not None:
            self._check_same(_properties_of(active))
            yield active
            return
        _check_java()
        with _start(pyspark.SparkConf, pyspark.SparkContext, self._properties()) as made:
            yield made

    def _check_same(self, there: SparkConf) -> None:
        wanted = {**self.configuration, **({"spark.master": self.master} if self.master else {})}
        for name, value in wanted.items():
            if there.get(name) != value:
                raise ValueError(
                    f"a Spark session runs already, with {name} {there.get(name)!r} instead of {value!r}: leave it out, or stop the session"
                )

    def _properties(self) -> dict[str, str]:
        master = self.master or f"local[{self.workers or '*'},{MOST_FAILURES}]"
        usual = {"spark.app.name": "airflow-ee", "spark.ui.enabled": "false", "spark.master": master}
        if master.startswith("local"):
            usual |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
        return {**usual, **self.configuration}


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run a job as the command line says; gives the exit status."""
    return main(_options, prog="python -m airflow_ee.engines.spark", add_options=_add_options, arguments=arguments)


def run_submitted(arguments: Sequence[str] | None = None) -> int:
    """The same as what ``spark-submit`` starts: in the session that the submission configures."""
    return main(
        lambda parsed: _Submitted(_options(parsed)),
        prog="spark_job.py",
        add_options=_add_options,
        arguments=arguments,
    )


@dataclass(frozen=True, slots=True)
class _Submitted:
    """An engine whose session has the master and the properties of a submission."""

    engine: SparkEngine

    def run(self, job: PixelJob) -> JobReport:
        # Not before: what is wrong with options or job file is told without a cluster.
        with _pyspark().SparkContext():
            return self.engine.run(job)


def _pyspark() -> ModuleType:
    module = require("pyspark", "spark")
    if not hasattr(module, "SparkContext"):
        # What Airflow's provider of Spark brings: a client by the same name, for sessions of Spark Connect.
        raise MissingExtra("this engine needs pyspark, and only pyspark-client is installed: install airflow-ee[spark]")
    return module


@contextlib.contextmanager
def _start(
    make_configuration: Callable[[], SparkConf],
    make_context: Callable[..., SparkContext],
    properties: Mapping[str, str],
) -> Iterator[SparkContext]:
    with failures_of_spark():
        context = make_context(conf=make_configuration().setAll(list(properties.items())))
    if properties["spark.master"].startswith("local") and "PYSPARK_PYTHON" not in os.environ:
        # Spark's own choice is the first python3 of the path, which may have none of our packages.
        context.pythonExec = sys.executable
    try:
        yield context
    finally:
        _stop(context)


def _stop(context: SparkContext) -> None:
    try:
        context.stop()
    except spark_errors() as problem:
        # Its Java side has died. What became of the job is known by now, and said by itself.
        log.warning("Spark could not be stopped: %s", words(problem))


def _properties_of(context: SparkContext) -> SparkConf:
    with failures_of_spark():
        return context.getConf()


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which(os.path.join(home, "bin", "java") if home else "java") is None:
        place = f"JAVA_HOME ({home})" if home else "the path"
        raise FileNotFoundError(
            f"Spark needs Java, and there is none in {place}: install a Java runtime, version 17 (Debian: openjdk-17-jre-headless)"
        )


def _slots(properties: SparkConf) -> int | None:
    """Tasks that run at once, each in a Python process of its own; None where the properties do not tell."""
    cores = _cores(properties)
    return None if cores is None else max(1, cores // int(properties.get("spark.task.cpus", "1")))


def _cores(properties: SparkConf) -> int | None:
    master = properties.get("spark.master", "")
    if local := re.fullmatch(r"local(?:\[\s*(\d+|\*)\s*(?:,\s*\d+\s*)?\])?", master):
        named = local[1] or "1"
        return len(os.sched_getaffinity(0)) if named == "*" else int(named)
    if pretended := re.fullmatch(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,\s*\d+\s*\]", master):
        return int(pretended[1]) * int(pretended[2])
    most = properties.get("spark.cores.max")
    if most is not None:
        return int(most)
    dynamic = properties.get("spark.dynamicAllocation.enabled", "false").lower() == "true"
    executors = properties.get("spark.dynamicAllocation.maxExecutors" if dynamic else "spark.executor.instances")
    cores = properties.get("spark.executor.cores")
    return int(executors) * int(cores) if executors and cores else None


def _options(arguments: argparse.Namespace) -> SparkEngine:
    return SparkEngine(
        master=arguments.master,
        workers=arguments.workers,
        configuration=dict(arguments.conf),
        batch_units=arguments.batch_units,
    )


def _property(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--master", help="Spark's URL of a cluster, or local[n]; this machine's cores when not given")
    parser.add_argument("--workers", type=int, help="pieces that run at once; as Spark is configured when not given")
    parser.add_argument(
        "--conf", type=_property, action="append", default=[], metavar="NAME=VALUE", help="a Spark property"
    )
    parser.add_argument("--batch-units", type=int, help="tiles or shards of a piece")


if __name__ == "__main__":
    sys.exit(run_command())
