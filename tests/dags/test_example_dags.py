"""The example DAGs: read by Airflow, serialised, with forms that a person can fill in, and run against the emulator."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from airflow_ee.emulator import Emulator
from tests.tfrecords import read_shard
from tools.dag_runner import read_dags, run_dags

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "ndvi_modis_timeseries",
    "ndvi_sentinel2_composite",
    "export_ndvi_composite",
    "training_patches",
    "ndvi_on_new_imagery",
    "ndvi_large_area",
}

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def dags():
    return read_dags(ROOT / "dags")


def test_all_examples_are_read(dags):
    assert set(dags) == EXPECTED


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_an_example_survives_serialisation(dags, dag_id):
    from tests.older_airflow import DagSerialization

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
            arguments = getattr(task, "partial_kwargs", None) or vars(task)
            assert (task.pool, task.pool_slots) == ("earth_engine", arguments.get("max_concurrency") or 1)


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


@pytest.mark.slow
def test_the_large_area_is_put_together_of_parts(tmp_path):
    with Emulator(root=tmp_path / "root") as emulator:
        connection = {
            "conn_type": "earth_engine",
            "extra": {"project": "demo-project", "endpoint": emulator.url, "is_anonymous": True},
        }
        conf = {
            "output_uri": str(tmp_path),
            "start": "2023-06-01",
            "end": "2023-07-01",
            # Ten tiles, of which a part has three or four.
            "region": "-58.0,-16.0,-53.0,-11.0",
            "scale": 150,
            "parts": 3,
        }
        (result,) = run_dags(
            [{"dag_id": "ndvi_large_area", "conf": conf, "logical_date": None}],
            home=tmp_path / "airflow", dags=ROOT / "dags", log=tmp_path / "log.txt",
            environment={"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection)},
        )  # fmt: skip
        asked = emulator.calls.count("image:computePixels")
    assert set(result["tasks"].values()) == {"success"}, (tmp_path / "log.txt").read_text()[-3000:]
    job = json.loads((tmp_path / "large_area/ndvi_2023-06-01_2023-07-01.job.json").read_text())
    assert (job["version"], job["client"]["credentials"]["kind"]) == (1, "anonymous")
    with rasterio.open(tmp_path / "large_area/ndvi_2023-06-01_2023-07-01.tif") as file:
        ndvi = file.read(1, masked=True)
        assert file.tags()["simulated"] == "true"
        assert file.overviews(1)
    assert asked >= 4
    assert ndvi.mask.mean() < 0.9
    assert -2000 <= ndvi.min() <= ndvi.mean() <= ndvi.max() <= 10000


@pytest.mark.slow
def test_the_patches_example_makes_labelled_shards_of_images_and_of_a_composite(tmp_path):
    places = [(-55.55, -12.05), (-55.52, -12.02), (-55.58, -12.08)]
    (tmp_path / "places.csv").write_text(
        "lon,lat,crop\n" + "".join(f"{lon},{lat},{crop}\n" for (lon, lat), crop in zip(places, "abc", strict=True))
    )
    with Emulator(root=tmp_path / "root") as emulator:
        connection = {
            "conn_type": "earth_engine",
            "extra": {"project": "demo-project", "endpoint": emulator.url, "is_anonymous": True},
        }
        conf = {
            "points": str(tmp_path / "places.csv"),
            "labels": "crop",
            "patch_size": 16,
            "output_uri": str(tmp_path),
            "start": "2023-06-01",
            "end": "2023-07-01",
        }
        (result,) = run_dags(
            [{"dag_id": "training_patches", "conf": conf, "logical_date": None}],
            home=tmp_path / "airflow", dags=ROOT / "dags", log=tmp_path / "log.txt",
            environment={"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection)},
        )  # fmt: skip
    assert result["tasks"] == {"stored_patches": "success", "composite_patches": "success"}
    stored = read_shard(tmp_path / "patches" / "stored_2023-06-01_2023-07-01" / "patches-00000-of-00001.tfrecord.gz")
    assert [record["crop"][1] for record in stored] == [[b"a"], [b"a"], [b"b"], [b"b"], [b"c"], [b"c"]]
    assert len(stored[0]["NDVI"][1]) == 16 * 16
    folder = tmp_path / "patches" / "composite_2023-06-01_2023-07-01"
    composite = read_shard(folder / "patches-00000-of-00001.tfrecord.gz")
    assert [record["crop"][1] for record in composite] == [[b"a"], [b"b"], [b"c"]]
    assert {record["crs"][1][0] for record in composite} == {b"EPSG:32721"}
    for record in composite:
        valid = np.frombuffer(record["B8_mask"][1][0], np.uint8) == 1
        assert valid.mean() > 0.5
        assert (np.array(record["B8"][1])[valid] > 0).all()
    told = json.loads((folder / "dataset.json").read_text())
    assert told["provenance"]["simulated"] is True
    assert told["counts"]["patches"] == 3


@pytest.mark.slow
def test_the_example_of_new_imagery_runs_by_hand_over_the_days_of_its_form(tmp_path):
    with Emulator(root=tmp_path / "root") as emulator:
        connection = {
            "conn_type": "earth_engine",
            "extra": {"project": "demo-project", "endpoint": emulator.url, "is_anonymous": True},
        }
        conf = {"output_uri": str(tmp_path), "start": "2023-06-01", "end": "2023-06-12", "scale": 100}
        (result,) = run_dags(
            [{"dag_id": "ndvi_on_new_imagery", "conf": conf, "logical_date": None}],
            home=tmp_path / "airflow", dags=ROOT / "dags", log=tmp_path / "log.txt",
            environment={"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection)},
        )  # fmt: skip
    assert result["tasks"] == {"fetch_series": "success"}
    assert len((tmp_path / "new_imagery" / "ndvi.csv").read_text().splitlines()) > 2


def test_the_days_of_new_imagery_are_those_of_its_images(dags):
    days = dags["ndvi_on_new_imagery"].user_defined_macros["days"]
    images = [{"start_time": f"2024-06-{day}T10:00:00+00:00"} for day in ("11", "03")]
    events = [SimpleNamespace(extra={"payload": {"images": images}})]
    empty = {"start": None, "end": None}
    assert days(empty, {"asset": events}) == ("2024-06-03", "2024-06-12")
    assert days({"start": "2024-01-01", "end": "2024-01-02"}, {}) == ("2024-01-01", "2024-01-02")
    with pytest.raises(ValueError, match="no dates"):
        days(empty, {})
