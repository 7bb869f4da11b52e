"""What ``spark-submit`` and Dataproc run: ``spark-submit spark_job.py --job JOB.json``, in the session that they configure."""

from __future__ import annotations

import sys

from airflow_ee.engines.spark import run_submitted

if __name__ == "__main__":
    sys.exit(run_submitted())
