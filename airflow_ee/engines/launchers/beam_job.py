"""A job on Beam as the ``py_file`` of Airflow's BeamRunPythonPipelineOperator: ``pipeline_options={"job": "gs://.../job.json", ...}``"""

from __future__ import annotations

import sys

from airflow_ee.engines.beam import command

if __name__ == "__main__":
    sys.exit(command())
