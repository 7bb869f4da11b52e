"""The ``engine`` argument: a value, or a word that stands for one, as a connection or a parameter may hold it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.job import PixelJob
    from airflow_ee.core.job_run import JobReport

__all__ = ["Engine", "read_engine"]

_WORDS = "threads, processes, processes:N, dask, dask://HOST:PORT, spark, spark:MASTER, beam or beam:RUNNER"


class Engine(Protocol):
    """Something that runs jobs."""

    def run(self, job: PixelJob, *, client: EarthEngineClient | None = None) -> JobReport:
        """Run a job."""
        ...


def read_engine(value: Any) -> Engine | None:
    """
    The engine that an argument means; None: threads of the task itself.

    Raises ``ValueError`` for what means none.

    :param value: An engine, or a word such as ``processes:4``, ``dask://10.0.0.5:8786``, ``spark:yarn`` or ``beam:DataflowRunner``.
    """
    if value is None or (isinstance(value, str) and value.strip() in {"", "None", "threads"}):
        return None
    if not isinstance(value, str):
        if not callable(getattr(value, "run", None)):
            raise ValueError(f"engine must be an engine or one of {_WORDS}, got {value!r}")
        engine: Engine = value
        return engine
    name, _, rest = value.strip().partition(":")
    match name, rest:
        case "processes", _ if re.fullmatch(r"[1-9]\d*|", rest):
            from airflow_ee.engines.processes import ProcessEngine

            return ProcessEngine(processes=int(rest) if rest else None)
        case "dask", _ if not rest or rest.startswith("//"):
            from airflow_ee.engines.dask import DaskEngine

            return DaskEngine(address=f"tcp:{rest}" if rest else None)
        case "spark", _:
            from airflow_ee.engines.spark import SparkEngine

            # As Spark itself writes a master: spark://HOST:PORT, local[2], yarn, k8s://HOST.
            return SparkEngine(master=(f"spark:{rest}" if rest.startswith("//") else rest) or None)
        case "beam", _:
            from airflow_ee.engines.beam import BeamEngine

            return BeamEngine(runner=rest) if rest else BeamEngine()
    raise ValueError(f"engine must be an engine or one of {_WORDS}, got {value!r}")
