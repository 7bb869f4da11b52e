"""What ``spark-submit`` and Dataproc run: ``spark-submit spark_job.py --job JOB.json``, in the session that they configure."""

from __future__ import annotations

import sys

from airflow_ee.engines.options import require
from airflow_ee.engines.spark import run_command

__all__: list[str] = []


def _run() -> int:
    # Made here, so that master and properties are those of spark-submit.
    with require("pyspark", "spark").SparkContext():
        return run_command(prog="spark_job.py")


if __name__ == "__main__":
    sys.exit(_run())
