"""137 real MOD13Q1 images of Mato Grosso, through Airflow and back: bit for bit, and equal to what was published."""

import csv
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import rasterio

from airflow_ee.emulator import Emulator
from tools.dag_runner import run_dags

ROOT = Path(__file__).resolve().parents[2]
BANDS = ["NDVI", "EVI", "sur_refl_b03"]
CONF = {"region": None, "quality": None, "band": ",".join(BANDS)}
FIRST, LAST = "2007-09-01", "2013-09-01"

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(modis_folder):
    with Emulator(catalogs={"MODIS/061/MOD13Q1": modis_folder / "images"}) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def connection(server):
    return json.dumps(
        {
            "conn_type": "earth_engine",
            "extra": {"project": "demo-project", "endpoint": server.url, "is_anonymous": True},
        }
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, connection):
    """One run of the DAG over all dates, and one for each month, both by Airflow."""
    home = tmp_path_factory.mktemp("airflow")
    out = {name: tmp_path_factory.mktemp(name) for name in ("whole", "monthly")}
    runs = [
        {
            "dag_id": "ndvi_modis_timeseries",
            "conf": {**CONF, "start": FIRST, "end": LAST, "output_uri": str(out["whole"])},
        }
    ]
    runs += [
        {
            "dag_id": "ndvi_modis_timeseries",
            "conf": {**CONF, "output_uri": str(out["monthly"])},
            "logical_date": f"{year}-{month:02}-01T06:00:00+00:00",
        }
        for year in range(2007, 2014)
        for month in range(1, 13)
        if "2007-10" <= f"{year}-{month:02}" <= "2013-09"
    ]
    environment = {"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": connection}
    states = [
        result["tasks"]
        for result in run_dags(runs, home=home, dags=ROOT / "dags", environment=environment, log=home / "log.txt")
    ]
    assert len(states) == 73
    assert all(tasks == {"fetch_series": "success", "draw_chart": "success"} for tasks in states)
    return out


def test_every_pixel_of_every_raster_is_the_source_files(whole, modis_folder):
    sources = sorted((modis_folder / "images").glob("*.tif"))
    assert len(sources) == 137
    masked = 0
    for source in sources:
        with rasterio.open(source) as original, rasterio.open(whole["whole"] / "rasters" / source.name) as made:
            assert made.descriptions[:3] == tuple(BANDS)
            assert tuple(made.transform) == tuple(original.transform)
            assert (made.width, made.height, made.nodata) == (original.width, original.height, original.nodata)
            assert made.scales[:3] == (0.0001,) * 3
            assert "Sinusoidal" in made.crs.to_wkt()
            for band in made.descriptions:
                index = original.descriptions.index(band) + 1
                expected, found = (
                    original.read(index, masked=True),
                    made.read(made.descriptions.index(band) + 1, masked=True),
                )
                assert found.data.tobytes() == expected.data.tobytes()
                assert np.array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
                masked += int(np.ma.getmaskarray(found).sum()) if band in BANDS else 0
    assert masked == 52 + 26, "masked EVI and sur_refl_b03 pixels must come out masked, not 0"


def test_the_published_series_of_999_pixels_is_met(whole, modis_folder):
    published = defaultdict(dict)
    with (modis_folder / "published_999_series.csv").open() as file:
        for row in csv.DictReader(file):
            published[row["time"]][int(row["ts_id"]) - 1] = (row["NDVI"], row["EVI"], row["BLUE"])
    assert len(published) == 23
    compared = 0
    for day, pixels in published.items():
        with rasterio.open(whole["whole"] / "rasters" / f"{day.replace('-', '_')}.tif") as made:
            values = made.read([1, 2, 3], masked=True).reshape(3, 999) * 0.0001
        for index, row in pixels.items():
            for band, text in enumerate(row):
                if text not in ("", "NA") and not np.ma.getmaskarray(values)[band, index]:
                    assert abs(values[band, index] - float(text)) <= 1e-7
                    compared += 1
    assert compared > 23 * 999 * 3 * 0.99


def test_means_are_numpys_masked_means(whole, modis_folder):
    rows = pyarrow.parquet.read_table(whole["whole"] / "ndvi.parquet").to_pylist()
    assert len(rows) == 137 * 3
    for row in rows:
        with rasterio.open(modis_folder / "images" / f"{row['image_start']:%Y_%m_%d}.tif") as original:
            values = original.read(original.descriptions.index(row["band"]) + 1, masked=True).astype(float) * 0.0001
        assert abs(row["mean"] - values.mean()) <= 1e-12
        assert abs(row["std"] - values.std()) <= 1e-12
        assert (row["min"], row["max"]) == (values.min(), values.max())
        assert (row["valid_count"], row["pixel_count"]) == (values.count(), 999)
        assert row["image_ids"] == [f"MODIS/061/MOD13Q1/{row['image_start']:%Y_%m_%d}"]
        assert row["simulated"] is False


def test_composites_end_with_their_year(whole):
    rows = {
        row["image_start"].date(): row
        for row in pyarrow.parquet.read_table(whole["whole"] / "ndvi.parquet").to_pylist()
    }
    assert rows[date(2007, 12, 19)]["image_end"].date() == date(2008, 1, 1)
    assert rows[date(2008, 1, 1)]["image_end"].date() == date(2008, 1, 17)


def test_the_observation_date_is_the_median_pixels_and_days_after_new_year_are_the_next_years(whole, modis_folder):
    rows = [
        row for row in pyarrow.parquet.read_table(whole["whole"] / "ndvi.parquet").to_pylist() if row["band"] == "NDVI"
    ]
    wrapped = 0
    for row in rows:
        start = row["image_start"].date()
        with rasterio.open(modis_folder / "images" / f"{start:%Y_%m_%d}.tif") as original:
            days = original.read(original.descriptions.index("DayOfYear") + 1).ravel()
        observed = sorted(
            date(start.year + (day < start.timetuple().tm_yday), 1, 1) + timedelta(days=int(day) - 1) for day in days
        )
        wrapped += sum(day.year > start.year for day in observed)
        assert row["observation_date"] == observed[(len(observed) - 1) // 2]
    assert wrapped > 0, "the composite of 2007-12-19 has pixels of January"


def test_a_run_a_month_makes_the_table_of_one_run_over_all(whole):
    for name in ("ndvi.parquet", "ndvi.csv"):
        assert (whole["monthly"] / name).read_bytes() == (whole["whole"] / name).read_bytes()
    assert sorted(path.name for path in (whole["monthly"] / "rasters").iterdir()) == sorted(
        path.name for path in (whole["whole"] / "rasters").iterdir()
    )


def test_the_operator_called_for_each_date_makes_the_same_table(whole, connection, tmp_path, modis_folder):
    days = sorted(path.stem for path in (modis_folder / "images").glob("*.tif"))
    _call_operators([days], connection, tmp_path)
    assert (tmp_path / "ndvi.parquet").read_bytes() == (whole["whole"] / "ndvi.parquet").read_bytes()


def test_eight_runs_side_by_side_in_random_order_make_the_same_table(whole, connection, tmp_path, modis_folder):
    days = sorted(path.stem for path in (modis_folder / "images").glob("*.tif"))
    random.Random(137).shuffle(days)
    _call_operators([days[i::8] for i in range(8)], connection, tmp_path)
    assert (tmp_path / "ndvi.parquet").read_bytes() == (whole["whole"] / "ndvi.parquet").read_bytes()
    assert (tmp_path / "ndvi.csv").read_bytes() == (whole["whole"] / "ndvi.csv").read_bytes()


CALLER = """
import json, sys
from datetime import datetime, timedelta
from types import SimpleNamespace
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator
days, folder, bands = json.loads(sys.argv[1])
context = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
for day in days:
    start = datetime.strptime(day, "%Y_%m_%d")
    EarthEngineTimeSeriesOperator(
        task_id="task", collection="MOD13Q1", bands=bands, quality=None, table_uri=folder + "/ndvi",
        start=start.date().isoformat(), end=(start + timedelta(days=1)).date().isoformat(),
    ).execute(context)
"""


def _call_operators(shares, connection, folder):
    """Real processes side by side, each calling the operator for its own dates."""
    environment = {**os.environ, "AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": connection}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, json.dumps([share, str(folder), BANDS])],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for share in shares
    ]  # fmt: skip
    for process in processes:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-3000:]
