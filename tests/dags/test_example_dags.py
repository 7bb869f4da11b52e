"""The example DAGs: read by Airflow, serialised, with forms that a person can fill in, and run against the emulator."""

import json
from pathlib import Path

import pytest
import rasterio

from airflow_ee.emulator import Emulator
from tools.dag_runner import run_dags

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {"ndvi_modis_timeseries", "ndvi_sentinel2_composite", "export_ndvi_composite"}

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def dags():
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags")
    assert bag.import_errors == {}
    return bag.dags


def test_all_examples_are_read(dags):
    assert set(dags) == EXPECTED


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_an_example_survives_serialisation(dags, dag_id):
    from airflow.serialization.serialized_objects import DagSerialization

    text = json.dumps(DagSerialization.serialize_dag(dags[dag_id]))
    assert set(DagSerialization.deserialize_dag(json.loads(text)).task_dict) == set(dags[dag_id].task_dict)


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_an_example_says_how_it_runs(dags, dag_id):
    dag = dags[dag_id]
    assert dag.doc_md
    assert "By hand" in dag.doc_md
    assert dag.catchup is False
    assert dag.max_active_runs <= 4
    assert {"region", "collection", "band", "scale", "start", "end"} <= set(dag.params)
    assert any(task.outlets for task in dag.tasks)
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.schema.get("title"), f"{dag_id}: {name} has no title in the form"
    for task in dag.tasks:
        assert task.retries == 2
        if "Chart" not in task.task_type:
            # What asks Earth Engine shares the quota's pool, with as many slots as it asks at once.
            assert (task.pool, task.pool_slots) == ("earth_engine", getattr(task, "max_concurrency", None) or 1)


@pytest.mark.slow
def test_the_sentinel2_example_makes_a_composite_and_a_quicklook(tmp_path):
    with Emulator(root=tmp_path / "root") as emulator:
        connection = {
            "conn_type": "earth_engine",
            "extra": {"project": "demo-project", "endpoint": emulator.url, "is_anonymous": True},
        }
        conf = {
            "output_uri": str(tmp_path),
            "start": "2023-06-01",
            "end": "2023-07-01",
            "scale": 20,
            "region": "-4.90,41.76,-4.88,41.77",
        }
        (result,) = run_dags(
            [{"dag_id": "ndvi_sentinel2_composite", "conf": conf, "logical_date": None}],
            home=tmp_path / "airflow", dags=ROOT / "dags", log=tmp_path / "log.txt",
            environment={"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection)},
        )  # fmt: skip
    assert result["tasks"] == {"compute_ndvi": "success", "draw_quicklook": "success"}
    with rasterio.open(tmp_path / "sentinel2" / "ndvi_2023-06-01_2023-07-01.tif") as file:
        assert file.crs.to_epsg() == 32630
        assert file.transform.a == 20
        ndvi = file.read(1, masked=True)
        assert file.tags()["simulated"] == "true"
    assert -0.3 < ndvi.min() <= ndvi.mean() <= ndvi.max() <= 1
    with rasterio.open(tmp_path / "sentinel2" / "quicklook_2023-06-01_2023-07-01.png") as picture:
        assert picture.shape == ndvi.shape
        assert picture.read().std() > 5, "a picture of one colour shows nothing"
