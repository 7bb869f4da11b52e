"""A job on Dataproc up to the request that leaves: what is uploaded, what the API is sent, and what is refused before."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.google.cloud.hooks.dataproc import DataprocHook
from google.cloud.dataproc_v1 import GetJobRequest, Job, JobControllerClient, JobStatus, SubmitJobRequest
from google.cloud.dataproc_v1.services.job_controller.transports import JobControllerGrpcTransport
from google.protobuf import json_format
from google.protobuf.unknown_fields import UnknownFieldSet

from airflow_ee.core.errors import IncompleteJob
from airflow_ee.engines.command import read_job
from airflow_ee.engines.launchers import SPARK_JOB
from airflow_ee.engines.threads import ThreadEngine
from tests.providers.shapes import unknown_fields

DAG = "ndvi_large_area_dataproc"
ON_DATAPROC = {"bucket": "demo-bucket", "project": "demo-project", "cluster": "tiles"}
NAME = "gs://demo-bucket/large_area/ndvi_2023-06-01_2023-07-01"
CALL = "image:computePixels"


class DataprocApi(grpc.GenericRpcHandler):
    """As much of the Dataproc API as a submission asks for: jobs are kept as they came, and done at once."""

    def __init__(self):
        self.submitted = []
        """Requests as they came, in bytes."""
        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers([self])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()

    def service(self, details):
        """Which method answers a call."""
        answers = {"SubmitJob": self._submit, "GetJob": self._get}
        answer = answers.get(details.method.removeprefix("/google.cloud.dataproc.v1.JobController/"))
        return answer and grpc.unary_unary_rpc_method_handler(lambda content, _: Job.serialize(answer(content)))

    def _submit(self, content):
        self.submitted.append(content)
        return Job(reference={"job_id": f"job-{len(self.submitted)}"})

    def _get(self, content):
        job_id = GetJobRequest.deserialize(content).job_id
        return Job(reference={"job_id": job_id}, status={"state": JobStatus.State.DONE})


@pytest.fixture
def api(monkeypatch):
    """A Dataproc that the operator's hook speaks to, without TLS."""
    with DataprocApi() as running, grpc.insecure_channel(running.address) as channel:
        client = JobControllerClient(transport=JobControllerGrpcTransport(channel=channel))
        monkeypatch.setattr(DataprocHook, "get_job_client", lambda *_, **__: client)
        # The hook waits ten seconds before it looks for the first time.
        clock = SimpleNamespace(sleep=lambda _: None, monotonic=time.monotonic)
        monkeypatch.setattr("airflow.providers.google.cloud.hooks.dataproc.time", clock)
        yield running


def test_the_request_that_leaves_is_one_of_the_api(google, bucket, api, execute):
    execute(DAG, "upload_launcher", **ON_DATAPROC)
    with open(SPARK_JOB, "rb") as file:
        assert bucket.blob("airflow-ee/spark_job.py").download_as_bytes() == file.read()
    assert execute(DAG, "run_on_dataproc", **ON_DATAPROC) == "job-1"
    (content,) = api.submitted
    request = SubmitJobRequest.deserialize(content)
    assert len(UnknownFieldSet(SubmitJobRequest.pb(request))) == 0
    assert (request.project_id, request.region) == ("demo-project", "europe-west1")
    assert len(request.request_id) == 36
    body = json_format.MessageToDict(SubmitJobRequest.pb(request))
    # These two stand in the address.
    sent = {name: value for name, value in body.items() if name not in {"projectId", "region"}}
    assert unknown_fields("dataproc.v1", "SubmitJobRequest", sent) == []
    assert sent["job"] == {
        "placement": {"clusterName": "tiles"},
        "pysparkJob": {
            "mainPythonFileUri": "gs://demo-bucket/airflow-ee/spark_job.py",
            "args": ["--job", f"{NAME}.job.json"],
            "archiveUris": ["gs://demo-bucket/airflow-ee/environment.tar.gz#environment"],
            "properties": {
                "spark.submit.deployMode": "cluster",
                "spark.pyspark.python": "environment/bin/python",
                "spark.dynamicAllocation.enabled": "true",
                "spark.dynamicAllocation.maxExecutors": "4",
                "spark.executor.cores": "2",
            },
        },
    }


def test_a_try_has_one_request_and_another_try_another(google, bucket, api, execute):
    for try_number in (1, 1, 2):
        execute(DAG, "run_on_dataproc", try_number=try_number, **ON_DATAPROC)
    first, again, other = (SubmitJobRequest.deserialize(content).request_id for content in api.submitted)
    assert first == again != other


def test_the_job_file_and_the_commit_are_those_of_one_task(google, bucket, api, execute, one_task):
    execute(DAG, "write_job", **ON_DATAPROC)
    execute(DAG, "run_on_dataproc", **ON_DATAPROC)
    with pytest.raises(IncompleteJob, match=r"6 of 6 tiles"):
        execute(DAG, "commit", **ON_DATAPROC)
    (request,) = map(SubmitJobRequest.deserialize, api.submitted)
    (_, uri) = request.job.pyspark_job.args
    # What the launcher does on the cluster; that it does so on Spark has tests of its own.
    ThreadEngine().run(read_job(uri))
    execute(DAG, "commit", **ON_DATAPROC)
    assert bucket.blob(NAME.removeprefix("gs://demo-bucket/") + ".tif").download_as_bytes() == one_task(DAG)


def test_a_field_that_the_api_has_not_is_refused_here(google, bucket, api, dags, execute):
    dags[DAG].get_task("run_on_dataproc").job["pyspark_job"]["arguments"] = ["--job", "x"]
    with pytest.raises(ValueError, match="arguments"):
        execute(DAG, "run_on_dataproc", **ON_DATAPROC)
    assert api.submitted == []


def test_a_key_in_the_connection_is_refused_before_there_is_a_job_to_submit(
    google, bucket, connect, execute, monkeypatch
):
    from airflow_ee.core.settings import ClientSettings

    connect(endpoint=google.url, keyfile_dict='{"type": "service_account", "private_key": "hush"}')
    monkeypatch.setattr(ClientSettings, "may_send_credentials", lambda *_: True)
    monkeypatch.setattr("airflow_ee.hooks.earth_engine.EarthEngineHook.get_credentials", lambda _: None)
    with pytest.raises(AirflowFailException, match="credentials are in an Airflow connection"):
        execute(DAG, "write_job", **ON_DATAPROC)
    assert list(bucket.list_blobs()) == []
