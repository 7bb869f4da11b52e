"""Airflow's four components, for real: scheduled and manual runs, deferral, sensors, kills and timeouts."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rasterio
import requests
from airflow.triggers.base import BaseTrigger

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.settings import ClientSettings
from airflow_ee.emulator import Emulator
from tests.imagery import Incoming
from tools.airflow_api import RunFailedError
from tools.stack import AirflowStack

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Emulator(root=tmp_path_factory.mktemp("earth-engine"), pending_seconds=1, running_seconds=2) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def airflow(server, tmp_path_factory):
    connection = {
        "conn_type": "earth_engine",
        "extra": {"project": "demo-project", "endpoint": server.url, "is_anonymous": True},
    }
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        "AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection),
        "AIRFLOW_EE_OUTPUT": str(home / "output"),
    }
    with AirflowStack(
        home, [ROOT / "dags", Path(__file__).parent / "dags"], environment=environment, parallelism=4
    ) as stack:
        yield stack


@pytest.fixture
def operations(server):
    """The operations of a DAG, by what their names of files begin with."""
    settings = ClientSettings(project="demo-project", endpoint=server.url, high_volume_endpoint=server.url)
    with EarthEngineClient(settings) as client:
        yield lambda dag_id: [item for item in client.list_operations() if dag_id in item.description]


def run_until(airflow, dag_id, state):
    airflow.unpause(dag_id)
    run_id = airflow.trigger(dag_id)
    airflow.wait_for_task(dag_id, run_id, "export", [state])
    return run_id


def executor_events(airflow):
    """What the scheduler has heard of processes of tasks: that of a deferred one has ended."""
    return [line for line in airflow.components["scheduler"].log_text().splitlines() if "executor event" in line]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.3)
    return found


def test_all_dags_are_read_without_an_error(airflow):
    for dag_id in ("ndvi_modis_timeseries", "ndvi_sentinel2_composite", "export_ndvi_composite", "sensors"):
        airflow.wait_for_dag(dag_id)
    assert airflow.import_errors() == {}


def test_the_scheduler_runs_the_flagship_over_its_data_interval(airflow):
    airflow.unpause("ndvi_modis_timeseries")
    (run,) = wait_for(lambda: [run for run in airflow.runs("ndvi_modis_timeseries") if run["run_type"] == "scheduled"])
    airflow.wait("ndvi_modis_timeseries", run["dag_run_id"])
    assert run["data_interval_start"] < run["data_interval_end"]
    summary = airflow.xcom("ndvi_modis_timeseries", run["dag_run_id"], "fetch_series")
    assert summary["images"] >= 2
    assert summary["end"][:10] == run["data_interval_end"][:10]
    for uri in (*summary["table_uris"], *summary["rasters"]):
        assert Path(uri).is_file()


def test_a_person_runs_the_flagship_through_the_api_with_other_params(airflow, tmp_path):
    conf = {
        "start": "2023-06-01", "end": "2023-08-01", "region": "9.0,48.0,9.05,48.05", "output_uri": str(tmp_path), "band": "EVI",
    }  # fmt: skip
    run_id = airflow.trigger("ndvi_modis_timeseries", conf)
    run = airflow.wait("ndvi_modis_timeseries", run_id)
    assert run["logical_date"] is None
    summary = airflow.xcom("ndvi_modis_timeseries", run_id, "fetch_series")
    assert (summary["start"][:10], summary["end"][:10], summary["images"]) == ("2023-06-01", "2023-08-01", 4)
    assert (tmp_path / "ndvi.png").read_bytes()[:4] == b"\x89PNG"


def test_a_backfill_makes_the_months_it_is_asked_for(airflow, tmp_path):
    airflow.post(
        "backfills",
        {
            "dag_id": "ndvi_modis_timeseries",
            "from_date": "2024-02-01T00:00:00Z",
            "to_date": "2024-04-02T00:00:00Z",
            "dag_run_conf": {"output_uri": str(tmp_path), "region": "9.0,48.0,9.05,48.05"},
            "max_active_runs": 4,
        },
    )
    runs = wait_for(lambda: [run for run in airflow.runs("ndvi_modis_timeseries") if run["run_type"] == "backfill"])
    for run in runs:
        airflow.wait("ndvi_modis_timeseries", run["dag_run_id"])
    intervals = {(run["data_interval_start"][:10], run["data_interval_end"][:10]) for run in runs}
    assert intervals >= {("2024-02-01", "2024-03-01"), ("2024-03-01", "2024-04-01")}
    lines = (tmp_path / "ndvi.csv").read_text().splitlines()[1:]
    starts = [line.split(",")[4].strip('"')[:10] for line in lines]
    assert len(set(starts)) == len(starts), "months that overlap by their lookback double no row"
    assert {"2024-02-02", "2024-02-18", "2024-03-05", "2024-03-21"} <= set(starts)


def test_a_run_without_any_dates_fails_with_what_to_do(airflow):
    run_id = airflow.trigger("ndvi_modis_timeseries")
    with pytest.raises(RunFailedError, match="no dates: give the arguments start and end"):
        airflow.wait("ndvi_modis_timeseries", run_id)
    assert airflow.task_instance("ndvi_modis_timeseries", run_id, "fetch_series")["try_number"] == 1, (
        "no retry can cure it"
    )


def test_a_deferred_export_frees_its_slot_and_ends(airflow, server, operations):
    server.inject("image:export", "stuck")
    run_id = run_until(airflow, "export_deferred", "deferred")
    pool = airflow.get("pools/default_pool")
    assert (pool["running_slots"], pool["deferred_slots"]) == (0, 1)
    (operation,) = operations("export_deferred")
    assert operation.state in {"PENDING", "RUNNING"}
    # Airflow's scheduler takes an end that it hears of only after the task was resumed for that of the resumed task.
    wait_for(lambda: any(run_id in line and "state success" in line for line in executor_events(airflow)))
    EarthEngineClient(ClientSettings(project="demo-project", endpoint=server.url)).cancel_operation(operation.name)
    with pytest.raises(RunFailedError, match="(?i)cancelled"):
        airflow.wait("export_deferred", run_id)
    run_id = airflow.trigger("export_deferred")
    airflow.wait("export_deferred", run_id)
    result = airflow.xcom("export_deferred", run_id, "export")
    assert result["state"] == "SUCCEEDED"
    assert [item.name for item in operations("export_deferred")].count(result["operation"]) == 1
    assert len(operations("export_deferred")) == 2, "one for each run, however many tries it took"
    assert set(result) == {
        "operation", "state", "description", "uris", "uri_count", "manifest_uri", "bytes", "eecu_seconds", "attempt", "start", "end",
    }  # fmt: skip
    assert (server.root / "gs/live-bucket/export_deferred/export.tif").is_file()


def test_every_image_of_an_interval_is_exported_once_by_one_deferred_task(airflow, server, operations):
    airflow.unpause("every_image")
    run_id = airflow.trigger("every_image")
    airflow.wait("every_image", run_id)
    result = airflow.xcom("every_image", run_id, "export")
    assert (result["images"], result["succeeded"], result["failed"]) == (8, 8, 0)
    assert len(operations("every_image")) == 8
    files = sorted(path.name for path in (server.root / "gs/live-bucket/every_image").iterdir())
    assert (len(files), files[0]) == (8, "2023_01_01.tif")


def test_the_sensor_fails_with_the_servers_words_in_all_three_modes(airflow, server):
    server.inject("image:export", "fail code=INVALID_ARGUMENT Export too large: specified 9 pixels (max: 1).")
    airflow.unpause("sensors")
    run_id = airflow.trigger("sensors")
    with pytest.raises(RunFailedError) as failure:
        airflow.wait("sensors", run_id)
    states = {item["task_id"]: item["state"] for item in airflow.task_instances("sensors", run_id)}
    assert states == {
        "start_export": "success",
        **{f"wait_{mode}": "failed" for mode in ("poke", "reschedule", "deferred")},
    }
    for mode in ("poke", "reschedule", "deferred"):
        assert "Export too large: specified 9 pixels" in airflow.task_log("sensors", run_id, f"wait_{mode}")
    assert "Export too large" in str(failure.value)


def test_the_connection_form_is_there(airflow):
    headers = {"Authorization": f"Bearer {airflow.token}"}
    forms = requests.get(f"{airflow.url}/ui/connections/hook_meta", headers=headers, timeout=30).json()
    form = next(item for item in forms if item["connection_type"] == "earth_engine")
    assert {"endpoint", "project", "is_anonymous"} <= set(form["extra_fields"])


def test_every_fault_really_happened(server):
    assert not server.pending


@pytest.fixture(scope="module")
def incoming(server):
    """A collection that images can be put into."""
    return Incoming(server.root)


@pytest.mark.skipif(
    not hasattr(BaseTrigger, "on_kill"),
    reason="before Airflow 3.3 nothing remembers what a watch has told",
)
def test_new_imagery_starts_runs_about_each_image_once(airflow, server, incoming):
    incoming.put("old", datetime.now(UTC) - timedelta(days=3))
    airflow.wait_for_dag("on_imagery")
    airflow.unpause("on_imagery")

    def looks():
        return sum(seen.method == "assets.listAssets" and incoming.collection in seen.path for seen in server.requests)

    # The watch begins with its first look, which has ended when the second one begins; what it finds is no news.
    wait_for(lambda: looks() > 1, 150)

    def told():
        runs = [run for run in airflow.runs("on_imagery") if run["state"] == "success"]
        return [image for run in runs for image in airflow.xcom("on_imagery", run["dag_run_id"], "told")]

    new = []
    for count in (3, 2):
        start = datetime.now(UTC) - timedelta(days=40)
        new += [incoming.put(f"new{count}{number}", start + timedelta(days=number)) for number in range(count)]
        wait_for(lambda expected=len(new): len(told()) >= expected, 150)
    time.sleep(5)
    assert sorted(image["image_id"] for image in told()) == sorted(new), "nothing is told again by later looks"
    assert not any(image["maybe_repeated"] or image["simulated"] for image in told())


def test_a_deferred_sensor_goes_on_when_imagery_is_there(airflow, incoming):
    airflow.wait_for_dag("wait_for_imagery")
    airflow.unpause("wait_for_imagery")
    run_id = airflow.trigger("wait_for_imagery")
    airflow.wait_for_task("wait_for_imagery", run_id, "wait", ["deferred"])
    identity = incoming.put("june", datetime(2024, 6, 9, tzinfo=UTC))
    airflow.wait("wait_for_imagery", run_id)
    assert airflow.xcom("wait_for_imagery", run_id, "wait")["image_ids"] == [identity]


def test_every_kind_of_export_runs_through_a_dag_and_others_read_what_it_left(airflow, server, operations):
    airflow.unpause("every_kind")
    run_id = airflow.trigger("every_kind")
    airflow.wait("every_kind", run_id)
    tasks = [item["task_id"] for item in airflow.task_instances("every_kind", run_id)]
    assert len(tasks) == 17
    assert len(operations("every_kind")) == len(tasks), "one operation for each, however many tries it took"
    results = {task: airflow.xcom("every_kind", run_id, task) for task in tasks}
    assert {result["state"] for result in results.values()} == {"SUCCEEDED"}
    folder = server.root / "gs/live-bucket/every_kind"
    for file in (folder / "image_geotiff.tif", server.root / "drive/folder/image.tif"):
        with rasterio.open(file) as image:
            assert (image.read(1) == 7).all()
    for name in ("table_geo_json.geojson", "table_kml.kml", "table_shp.shp", "table_csv.csv"):
        # Not at the top: environments of older Airflows have none, and run the other tests.
        meta, _, geometry, _ = pytest.importorskip("pyogrio.raw").read(folder / name)
        count = len(geometry) if geometry is not None else None
        assert count in ({None, 1} if name.endswith("csv") else {1}), name
        assert len(meta["fields"]) >= 1
    (line,) = (server.root / "bigquery/demo-project/fields/live.ndjson").read_text().splitlines()
    assert json.loads(line)["a"] == 1
    client = EarthEngineClient(ClientSettings(project="demo-project", endpoint=server.url))
    kinds = {name: client.get_asset(f"projects/demo-project/assets/{name}").type for name in ("image", "table")}
    assert kinds == {"image": "IMAGE", "table": "TABLE"}
