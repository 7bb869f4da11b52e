"""A folder of GeoTIFFs, and the STAC catalog that one command makes of it, serve the NDVI DAG with the files' own numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
import rasterio

from airflow_ee.emulator import Emulator
from tools.dag_runner import run_dags

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def tables(tmp_path_factory, modis_folder):
    """The DAG's table of each collection: the folder's, the catalog's."""
    home = tmp_path_factory.mktemp("airflow")
    catalog = home / "catalog" / "collection.json"
    command = [sys.executable, "-m", "airflow_ee.emulator", "catalog", str(modis_folder / "images"), "--days", "16"]
    subprocess.run([*command, "--output", str(catalog)], check=True, timeout=120)
    with Emulator(catalogs={"own/folder": modis_folder / "images", "own/catalog": catalog}) as emulator:
        connection = {
            "conn_type": "earth_engine",
            "extra": {"project": "demo-project", "endpoint": emulator.url, "is_anonymous": True},
        }
        runs = [
            {
                "dag_id": "ndvi_modis_timeseries",
                "conf": {
                    "collection": f"own/{name}",
                    "band": "NDVI",
                    "region": None,
                    "start": "2008-01-01",
                    "end": "2009-01-01",
                    "output_uri": str(home / name),
                },
            }
            for name in ("folder", "catalog")
        ]
        environment = {"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection)}
        results = list(run_dags(runs, home=home, dags=ROOT / "dags", environment=environment, log=home / "log.txt"))
    assert [result["tasks"] for result in results] == [{"fetch_series": "success", "draw_chart": "success"}] * 2, (
        home / "log.txt"
    ).read_text()[-3000:]
    return {name: home / name for name in ("folder", "catalog")}


@pytest.mark.parametrize("name", ["folder", "catalog"])
def test_means_are_those_of_the_files(tables, modis_folder, name):
    rows = pyarrow.parquet.read_table(tables[name] / "ndvi.parquet").to_pylist()
    assert len(rows) == 23
    for row in rows:
        index = f"{row['image_start']:%Y_%m_%d}"
        with rasterio.open(modis_folder / "images" / f"{index}.tif") as original:
            values = original.read(original.descriptions.index("NDVI") + 1, masked=True).astype(float)
        assert abs(row["mean"] - values.mean()) <= 1e-9
        assert (row["min"], row["max"]) == (values.min(), values.max())
        assert (row["valid_count"], row["pixel_count"]) == (values.count(), 999)
        assert row["image_ids"] == [f"own/{name}/{index}"]
        assert row["simulated"] is False


@pytest.mark.parametrize("name", ["folder", "catalog"])
def test_rasters_are_the_files(tables, modis_folder, name):
    made = sorted((tables[name] / "rasters").glob("*.tif"))
    assert len(made) == 23
    for path in made:
        with rasterio.open(path) as raster, rasterio.open(modis_folder / "images" / path.name) as original:
            expected = original.read(original.descriptions.index("NDVI") + 1, masked=True)
            assert raster.read(1, masked=True).tobytes() == expected.tobytes()
            assert tuple(raster.transform) == tuple(original.transform)


def test_times_of_the_catalog_reach_the_table(tables):
    lengths = {}
    for name, path in tables.items():
        rows = pyarrow.parquet.read_table(path / "ndvi.parquet").to_pylist()
        lengths[name] = {row["image_end"] and (row["image_end"] - row["image_start"]).days for row in rows}
    assert lengths == {"folder": {None}, "catalog": {16}}
