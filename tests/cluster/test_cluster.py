"""The example DAGs on a cluster of Celery workers, one of which is killed in the middle: the right bytes, one operation for each export."""

import json
import time
from pathlib import Path

import pytest
import rasterio

from airflow_ee.emulator import Emulator
from airflow_ee.operators.pixels import EarthEngineComputePixelsOperator
from tools.cluster import AirflowCluster

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
LARGE = {"region": "-58.0,-16.0,-53.0,-11.0", "scale": 100, "start": "2023-06-01", "end": "2023-07-01", "parts": 12}
EXPORTS = ("export_deferred", "start_export")
RUNS = {
    "ndvi_modis_timeseries": {"start": "2023-01-01", "end": "2023-04-01"},
    "ndvi_sentinel2_composite": {"start": "2023-06-01", "end": "2023-07-01", "scale": 20, "region": "-4.90,41.76,-4.88,41.77"},
    "export_ndvi_composite": {"start": "2023-06-01", "end": "2023-07-01", "scale": 100, "region": "-55.6,-12.1,-55.5,-12.0"},
    "training_patches": {"start": "2023-06-01", "end": "2023-07-01", "count": 4, "patch_size": 16},
    "ndvi_large_area": LARGE,
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Emulator(root=tmp_path_factory.mktemp("earth-engine"), pending_seconds=1, running_seconds=5) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def cluster(server, output, tmp_path_factory):
    connection = {
        "conn_type": "earth_engine",
        "extra": {"project": "demo-project", "endpoint": server.url, "is_anonymous": True},
    }
    environment = {"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection), "AIRFLOW_EE_OUTPUT": str(output)}
    with AirflowCluster(tmp_path_factory.mktemp("airflow"), ROOT / "dags", environment=environment) as running:
        # Retries of examples wait minutes: long enough for a service to come back, too long for a test.
        yield running


def wait_until(holds, seconds=300):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


def test_the_examples_end_well_though_a_worker_is_killed(cluster, server, output):
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
