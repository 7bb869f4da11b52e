"""A job on Dataflow up to the request that leaves: what is staged, what the API is sent, and what is refused before."""

import httplib2
import pytest
from airflow.providers.google.cloud.hooks.dataflow import DataflowHook
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.cloud.dataflow_v1beta3 import Environment, Job, JobType
from google.protobuf import json_format
from googleapiclient.discovery import build

from airflow_ee.core.errors import IncompleteJob
from tests.providers.conftest import FOLDER
from tests.providers.dataflow_api import DataflowApi
from tests.providers.shapes import unknown_fields

DAG = "ndvi_large_area_beam"
IMAGE = "europe-docker.pkg.dev/demo-project/workers/airflow-ee:1"
ON_DATAFLOW = {"runner": "DataflowRunner", "output_uri": "gs://demo-bucket/out", "image": IMAGE, "workers": 3}
NAME = "out/large_area/ndvi_beam_2023-06-01_2023-07-01"
CALL = "image:computePixels"

# Airflow's operator leaves the pipes of a launcher open that it has read.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def api(dags, monkeypatch):
    """A Dataflow that the launcher and the operator's hook speak to, without credentials."""
    with DataflowApi() as running:
        dags[DAG].get_task("run_on_beam").pipeline_options |= {"dataflow_endpoint": running.url, "no_auth": True}
        options = {"client_options": {"api_endpoint": running.url}, "cache_discovery": False}
        monkeypatch.setattr(
            DataflowHook, "get_conn", lambda _: build("dataflow", "v1b3", http=httplib2.Http(), **options)
        )
        yield running


def staged(bucket):
    """What was put beside the pipeline for its workers, by name."""
    blobs = bucket.list_blobs(prefix="out/large_area/dataflow/")
    return {blob.name.rpartition("/")[2]: blob.download_as_bytes() for blob in blobs}


def test_the_request_that_leaves_is_a_job_of_the_api(google, bucket, api, execute):
    execute(DAG, "write_job", **ON_DATAFLOW)
    assert execute(DAG, "run_on_beam", **ON_DATAFLOW) == {"dataflow_job_id": "job-1"}
    assert execute.xcoms["run_on_beam", "dataflow_job_id"] == "job-1"
    ((project, location, body),) = api.created
    assert (project, location, api.others) == ("demo-project", "europe-west1", [])
    # Refuses fields that the message has not.
    job = Job.from_json(body)
    assert job.name.startswith("ndvi-large-area-")
    assert job.type_ == JobType.JOB_TYPE_BATCH
    assert dict(job.labels) == {"airflow-version": "v3-3-2"}
    assert unknown_fields("dataflow.v1b3", "Job", json_format.MessageToDict(Job.pb(job))) == []
    environment: Environment = job.environment
    assert environment.temp_storage_prefix.startswith("storage.googleapis.com/demo-bucket/out/large_area/dataflow/")
    (pool,) = environment.worker_pools
    assert (pool.machine_type, pool.autoscaling_settings.max_num_workers) == ("n1-standard-1", 3)
    assert [image.container_image for image in pool.sdk_harness_container_images] == [IMAGE]


def test_what_is_staged_does_the_job_where_it_runs(google, bucket, api, execute, one_task):
    execute(DAG, "write_job", **ON_DATAFLOW)
    execute(DAG, "run_on_beam", **ON_DATAFLOW)
    assert google.calls.count(CALL) == 0
    with pytest.raises(IncompleteJob, match=r"6 of 6 tiles"):
        execute(DAG, "commit", **ON_DATAFLOW)
    pipeline = beam_runner_api_pb2.Pipeline.FromString(staged(bucket)["pipeline.pb"])
    for environment in pipeline.components.environments.values():
        # Here, and not in the container that Dataflow starts.
        environment.CopyFrom(beam_runner_api_pb2.Environment(urn="beam:env:embedded_python:v1"))
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
    assert google.calls.count(CALL) == 6
    execute(DAG, "commit", **ON_DATAFLOW)
    assert bucket.blob(f"{NAME}.tif").download_as_bytes() == one_task(DAG)


def test_requirements_and_the_package_go_along_where_there_is_no_image(google, bucket, api, dags, execute, tmp_path):
    lock = FOLDER.parent / "workers/beam.lock"
    wheel = tmp_path / "airflow_ee-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"the package")
    dags[DAG].get_task("run_on_beam").pipeline_options |= {
        "requirements_file": str(lock),
        # Else Beam downloads all of them here, to send them along.
        "requirements_cache": "skip",
        "extra_package": [str(wheel)],
    }
    execute(DAG, "write_job", **ON_DATAFLOW)
    execute(DAG, "run_on_beam", **{**ON_DATAFLOW, "image": None})
    files = staged(bucket)
    assert files["requirements.txt"] == lock.read_bytes()
    assert files[wheel.name] == b"the package"
    job = Job.from_json(api.created[0][2])
    sent = {package.name for pool in job.environment.worker_pools for package in pool.packages}
    assert {"requirements.txt", wheel.name} <= sent
    (pool,) = job.environment.worker_pools
    assert "beam_python3" in pool.sdk_harness_container_images[0].container_image


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_num_wokers": 3}, "ValueError: pipeline_options: Beam has no option max_num_wokers"),
        ({"batch_units": "some"}, "argument --batch-units/--batch_units: invalid int value: 'some'"),
        ({"job": "gs://demo-bucket/none.json"}, "FileNotFoundError: "),
        ({"max_num_workers": None}, "DataflowRunner: how many processes share the quota?"),
    ],
    ids=["unknown", "no number", "no job", "no workers"],
)
def test_a_bad_option_is_refused_before_anything_leaves(google, bucket, api, dags, execute, capfd, options, message):
    execute(DAG, "write_job", **ON_DATAFLOW)
    dags[DAG].get_task("run_on_beam").pipeline_options |= options
    with pytest.raises(Exception, match="Apache Beam process failed with return code"):
        execute(DAG, "run_on_beam", **ON_DATAFLOW)
    assert message in capfd.readouterr().out
    assert (api.created, api.others, staged(bucket)) == ([], [], {})
