"""The DAGs of engine_dags/, an emulator with a bucket, and tasks that run without an Airflow around them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time import macros
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_ee.emulator import Emulator
from airflow_ee.operators.pixels import EarthEngineComputePixelsOperator
from tools.dag_runner import read_dags

FOLDER = Path(__file__).resolve().parents[2] / "engine_dags"
# Of six tiles.
AREA = {"start": "2023-06-01", "end": "2023-07-01", "region": "-58.0,-16.0,-53.0,-11.0", "scale": 150}
BUCKET = "demo-bucket"


@pytest.fixture
def dags():
    """The DAGs by their ids; read anew, for tests change their tasks."""
    return read_dags(FOLDER)


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of a local Cloud Storage, which processes that a test starts find as well."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    address, port = server._api._httpd.server_address
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{address}:{port}")
    # Else gcsfs asks by gRPC, which the local storage has not, what kind of bucket it is, for a minute.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    yield storage.Client(project="demo-project", credentials=AnonymousCredentials()).bucket(BUCKET)
    server.stop()


@pytest.fixture
def google(connect, monkeypatch):
    """An emulator behind the default connection, and a connection to Google that has no credentials."""
    fields = {"conn_type": "google_cloud_platform", "extra": {"project": "demo-project", "is_anonymous": True}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(fields))
    with Emulator() as running:
        connect(endpoint=running.url, is_anonymous=True)
        yield running


@pytest.fixture
def execute(dags):
    """Renders and executes a task as a run would that has these params; gives its result."""
    xcoms = {}

    def run(dag_id, task_id, *, try_number=1, **params):
        dag = dags[dag_id]
        task = dag.get_task(task_id).prepare_for_execution()
        ti = SimpleNamespace(
            dag_id=dag_id,
            task_id=task_id,
            run_id="manual__1",
            map_index=-1,
            try_number=try_number,
            task=task,
            xcom_push=lambda key, value: xcoms.update({(task_id, key): value}),
        )
        context = {
            "dag": dag,
            "task": task,
            "ti": ti,
            "task_instance": ti,
            "macros": macros,
            "run_id": ti.run_id,
            "params": {**dag.params.dump(), **AREA, **params},
        }
        task.render_template_fields(context)
        return task.execute(context)

    run.xcoms = xcoms
    return run


@pytest.fixture
def one_task(dags, tmp_path):
    """Makes the same area by one task, in threads; gives the file's bytes."""

    def make(dag_id):
        write = dags[dag_id].get_task("write_job")
        target = tmp_path / "one.tif"
        operator = EarthEngineComputePixelsOperator(
            task_id="one",
            expression=write.expression,
            expression_kwargs={"collection": "MODIS/061/MOD13Q1", "band": "NDVI"},
            region=AREA["region"],
            scale=AREA["scale"],
            crs="EPSG:4326",
            max_pixels=None,
            output_uri=str(target),
        )
        operator.execute({"params": AREA, "ti": SimpleNamespace(dag_id=dag_id, task_id="one")})
        return target.read_bytes()

    return make
