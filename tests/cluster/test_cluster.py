"""The example DAGs, and jobs as mapped tasks, on a cluster of Celery workers of which one is killed: the right bytes, one operation an export."""

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_ee.core.job import place
from airflow_ee.emulator import Emulator
from airflow_ee.engines.threads import ThreadEngine
from airflow_ee.operators.pixels import EarthEngineComputePixelsOperator
from tests.core import jobs
from tests.engines import made
from tools.cluster import WORKER_READY, AirflowCluster

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
LARGE = {"region": "-58.0,-16.0,-53.0,-11.0", "scale": 100, "start": "2023-06-01", "end": "2023-07-01", "parts": 12}
EXPORTS = ("export_deferred", "start_export")
BUCKET = "demo-bucket"
# What all engines are tested with: forty tiles, or patches around five hundred points.
FORMS = ("GEO_TIFF", "ZARR", "TF_RECORD", made.PATCHES)
RUNS = {
    "ndvi_modis_timeseries": {"start": "2023-01-01", "end": "2023-04-01"},
    "ndvi_sentinel2_composite": {"start": "2023-06-01", "end": "2023-07-01", "scale": 20, "region": "-4.90,41.76,-4.88,41.77"},
    "export_ndvi_composite": {"start": "2023-06-01", "end": "2023-07-01", "scale": 100, "region": "-55.6,-12.1,-55.5,-12.0"},
    "training_patches": {"start": "2023-06-01", "end": "2023-07-01", "count": 4, "patch_size": 16},
    "ndvi_large_area": LARGE,
}  # fmt: skip


@pytest.fixture(scope="module")
def cloud():
    """Cloud Storage's stand-in, and how other processes find it."""
    cloud = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    cloud.start()
    address, port = cloud._api._httpd.server_address
    variables = {
        "STORAGE_EMULATOR_HOST": f"http://{address}:{port}",
        # Else gcsfs asks by gRPC, which the stand-in has not, what kind of bucket it is, for a minute.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables
    cloud.stop()


@pytest.fixture(scope="module")
def bucket(cloud):
    client = storage.Client(
        project="demo-project",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": cloud["STORAGE_EMULATOR_HOST"]},
    )
    return client.bucket(BUCKET)


@pytest.fixture(scope="module")
def server(cloud, tmp_path_factory):
    with Emulator(
        root=tmp_path_factory.mktemp("earth-engine"), pending_seconds=1, running_seconds=5,
        storage_endpoint=cloud["STORAGE_EMULATOR_HOST"],
    ) as emulator:  # fmt: skip
        yield emulator


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def written(server, tmp_path_factory):
    """A job file for each form, and one whose output goes to Cloud Storage; ready for workers."""
    jobs_by_form = {form: made.job(server.url, tmp_path_factory.mktemp("mapped"), form) for form in FORMS}
    uri, options = f"gs://{BUCKET}/mapped/out.tif", {"token": "anon"}
    local = jobs_by_form["GEO_TIFF"]
    work = replace(local.work, target=place(uri, options))
    jobs_by_form["gs"] = replace(local, output_uri=uri, work=work, storage_options=options)
    folder = tmp_path_factory.mktemp("jobs")
    for form, job in jobs_by_form.items():
        with job.client.open() as client:
            job.work.begin(client)
        (folder / f"{form}.json").write_text(job.text)
    return {form: (folder / f"{form}.json", job) for form, job in jobs_by_form.items()}


@pytest.fixture(scope="module")
def cluster(server, cloud, output, tmp_path_factory):
    google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "demo-project"}}
    connection = {
        "conn_type": "earth_engine",
        "extra": {"project": "demo-project", "endpoint": server.url, "is_anonymous": True},
    }
    environment = {
        "AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(google),
        "AIRFLOW_EE_OUTPUT": str(output),
        "AIRFLOW_EE_BUCKET": BUCKET,
        **cloud,
    }
    folders = [ROOT / "dags", Path(__file__).with_name("dags")]
    with AirflowCluster(tmp_path_factory.mktemp("airflow"), folders, environment=environment) as running:
        # Retries of examples wait minutes: long enough for a service to come back, too long for a test.
        yield running


def wait_until(holds, seconds=300):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


def test_the_examples_end_well_though_a_worker_is_killed(cluster, server, bucket):
    for dag_id in RUNS:
        cluster.wait_for_dag(dag_id)
        cluster.unpause(dag_id)
    runs = {dag_id: cluster.trigger(dag_id, conf) for dag_id, conf in RUNS.items()}

    def fetching():
        tasks = cluster.task_instances("ndvi_large_area", runs["ndvi_large_area"])
        return [task for task in tasks if task["task_id"] == "fetch" and task["state"] == "running"]

    wait_until(lambda: len(fetching()) >= 2 and len(server.operations) >= 1)
    cluster.crash("worker-1")
    hurry(cluster, runs)
    for dag_id, run in runs.items():
        cluster.wait(dag_id, run, 600)
    tries = [task["try_number"] for dag_id, run in runs.items() for task in cluster.task_instances(dag_id, run)]
    assert max(tries) >= 2, "the worker was killed at work"
    exports = [item["metadata"] for item in server.operations]
    assert {item["state"] for item in exports} <= {"SUCCEEDED", "RUNNING", "PENDING"}, (
        "nothing is cancelled, nothing fails"
    )
    # What a description ends in tells the export, and the number of the attempt at it. The schedule has made a run of its own.
    marks = [item["description"].rpartition("-")[0][-28:] for item in exports]
    assert len(set(marks)) == len(marks), "one operation for each export"
    tasks = cluster.task_instances("export_ndvi_composite", runs["export_ndvi_composite"])
    mine = {cluster.xcom("export_ndvi_composite", runs["export_ndvi_composite"], task)["operation"] for task in EXPORTS}
    assert len(mine) == len(EXPORTS) == sum(task["task_id"] in EXPORTS for task in tasks)
    assert mine <= {item["name"] for item in server.operations}
    for name in ("mean", "mean_sensor"):
        with rasterio.open(io.BytesIO(bucket.blob(f"ndvi/{name}_2023-06-01.tif").download_as_bytes())) as file:
            assert (file.descriptions, file.nodata) == (("NDVI",), -9999)


def hurry(cluster, runs):
    """Clear what a lost worker had: the examples' own retries wait five minutes."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        waiting = []
        for dag_id, run in runs.items():
            for task in cluster.task_instances(dag_id, run):
                if task["state"] == "up_for_retry":
                    cluster.clear(
                        dag_id,
                        run,
                        [task["task_id"]] if task["map_index"] < 0 else [[task["task_id"], task["map_index"]]],
                    )
                if task["state"] not in {"success", "failed", "skipped", "removed"}:
                    waiting.append(task)
        if not waiting:
            return
        time.sleep(2)


def test_the_large_area_has_the_bytes_that_one_task_makes(cluster, output, connect, server, tmp_path):
    from dags.ndvi_large_area import monthly_mean

    connect(endpoint=server.url, is_anonymous=True)
    operator = EarthEngineComputePixelsOperator(
        task_id="one",
        expression=monthly_mean,
        expression_kwargs={"collection": "MODIS/061/MOD13Q1", "band": "NDVI"},
        region=LARGE["region"],
        scale=LARGE["scale"],
        crs="EPSG:4326",
        max_pixels=None,
        output_uri=str(tmp_path / "one.tif"),
    )
    ti = type("Instance", (), {"dag_id": "dag", "task_id": "one"})
    operator.execute({"params": {"start": LARGE["start"], "end": LARGE["end"]}, "ti": ti})
    made = output / "large_area/ndvi_2023-06-01_2023-07-01.tif"
    with rasterio.open(made) as file:
        assert file.count == 1
    assert made.read_bytes() == (tmp_path / "one.tif").read_bytes()


def fetching(cluster, runs):
    tasks = [task for run in runs.values() for task in cluster.task_instances("mapped_job", run)]
    return [task for task in tasks if task["task_id"] == "fetch"]


def test_a_job_as_mapped_tasks_has_the_bytes_of_threads_though_a_worker_is_killed(
    cluster, bucket, written, server, tmp_path
):
    if "worker-1" not in cluster.components:
        cluster.restart("worker-1")
    wait_until(lambda: WORKER_READY in cluster.components["worker-1"].log_text())
    cluster.wait_for_dag("mapped_job")
    cluster.unpause("mapped_job")
    before = server.calls.count(jobs.METHOD)
    # Slow enough to be killed in the middle.
    server.inject(jobs.METHOD, *["delay=2"] * 1_000)
    runs = {form: cluster.trigger("mapped_job", {"job_uri": str(file)}) for form, (file, _) in written.items()}
    # More than one worker has at a time.
    wait_until(lambda: sum(task["state"] == "running" for task in fetching(cluster, runs)) > cluster.worker_concurrency)
    cluster.crash("worker-1")
    for run in runs.values():
        cluster.wait("mapped_job", run, 600)
    server.clear_faults()
    asked = server.calls.count(jobs.METHOD) - before
    tries = [task["try_number"] for run in runs.values() for task in cluster.task_instances("mapped_job", run)]
    assert max(tries) >= 2, "the worker was killed at work"
    for form, (_, job) in written.items():
        if form != "gs":
            here = tmp_path / form
            ThreadEngine().run(made.job(server.url, here, form))
            assert jobs.content(Path(job.output_uri).parent) == jobs.content(here), form
    alone = (tmp_path / "GEO_TIFF/out").read_bytes()
    assert bucket.blob("mapped/out.tif").download_as_bytes() == alone
    needed = server.calls.count(jobs.METHOD) - before - asked
    # Four tasks of the killed worker, each with a part of ten tiles or of five shards of 25 patches.
    assert asked <= needed + 40 + 4 * 125
