"""Files that others start as programs; in a folder of their own, because a program's folder comes first on Python's path."""

from pathlib import Path

__all__ = ["BEAM_JOB", "SPARK_JOB"]

BEAM_JOB = str(Path(__file__).with_name("beam_job.py"))
"""The ``py_file`` of Airflow's BeamRunPythonPipelineOperator."""
SPARK_JOB = str(Path(__file__).with_name("spark_job.py"))
"""The ``application`` of Airflow's SparkSubmitOperator, and the main file of a job of Dataproc."""
