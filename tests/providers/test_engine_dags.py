"""The example DAGs of engine_dags/: read by Airflow, alone as well, serialised, with forms, in the order of write, run, commit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from airflow_ee.engines.launchers import BEAM_JOB, SPARK_JOB
from tests.providers.conftest import FOLDER

RUNNING = {
    "ndvi_large_area_beam": ("run_on_beam", "BeamRunPythonPipelineOperator"),
    "ndvi_large_area_spark": ("run_on_spark", "SparkSubmitOperator"),
    "ndvi_large_area_dataproc": ("run_on_dataproc", "DataprocSubmitJobOperator"),
}


def test_all_are_read(dags):
    assert set(dags) == set(RUNNING) == {path.stem for path in FOLDER.glob("*.py")}


@pytest.mark.parametrize("dag_id", RUNNING)
def test_the_providers_operator_stands_between_writing_and_committing(dags, dag_id):
    dag = dags[dag_id]
    task_id, operator = RUNNING[dag_id]
    run = dag.get_task(task_id)
    assert run.task_type == operator
    assert "write_job" in run.upstream_task_ids
    assert run.downstream_task_ids == {"commit"}
    write, commit = dag.get_task("write_job"), dag.get_task("commit")
    assert (write.task_type, commit.task_type) == ("EarthEngineWriteJobOperator", "EarthEngineCommitJobOperator")
    assert (write.job_uri, write.outside_airflow) == (commit.job_uri, True)
    # What asks Earth Engine has as many slots of the quota's pool as it asks at once.
    assert {task.pool for task in dag.tasks} == {"earth_engine"}
    assert run.pool_slots == write.max_concurrency
    assert all(task.retries == 2 for task in dag.tasks)


def test_launchers_are_those_of_this_package(dags):
    assert dags["ndvi_large_area_beam"].get_task("run_on_beam").py_file == BEAM_JOB
    assert dags["ndvi_large_area_spark"].get_task("run_on_spark").application == SPARK_JOB
    assert dags["ndvi_large_area_dataproc"].get_task("upload_launcher").src == SPARK_JOB
    assert all(Path(path).is_file() for path in (BEAM_JOB, SPARK_JOB))


@pytest.mark.parametrize("dag_id", RUNNING)
def test_an_example_survives_serialisation_and_says_how_it_runs(dags, dag_id):
    dag = dags[dag_id]
    text = json.dumps(DagSerialization.serialize_dag(dag))
    assert set(DagSerialization.deserialize_dag(json.loads(text)).task_dict) == set(dag.task_dict)
    assert "By hand" in dag.doc_md
    assert dag.catchup is False
    assert {"region", "collection", "band", "scale", "start", "end"} <= set(dag.params)
    assert all(dag.params.get_param(name).schema.get("title") for name in dag.params)
    assert any(task.outlets for task in dag.tasks)


@pytest.mark.parametrize("dag_id", RUNNING)
def test_an_example_needs_no_file_beside_it(dag_id, tmp_path):
    file = tmp_path / "alone.py"
    file.write_bytes((FOLDER / f"{dag_id}.py").read_bytes())
    code = f"import runpy; print(runpy.run_path({str(file)!r})['dag'].dag_id)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
    )
    assert done.stdout.splitlines()[-1] == dag_id, done.stderr
