"""Changing the sensor is one argument: three presets over the simulated ground tell of the same fields."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pyarrow.parquet
import pytest

from airflow_ee.emulator import Emulator

SENSORS = ("MYD13Q1", "MOD13A1", "VNP13A1")
CALLER = """
import sys
from types import SimpleNamespace
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator
context = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
for collection in sys.argv[2:]:
    EarthEngineTimeSeriesOperator(
        task_id="task", collection=collection, index="NDVI", region="-55.60,-12.10,-55.45,-11.95",
        table_uri=f"{sys.argv[1]}/{collection}", start="2022-06-01", end="2022-08-01",
    ).execute(context)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The table of each sensor."""
    folder = tmp_path_factory.mktemp("tables")
    with Emulator() as emulator:
        extra = {"project": "demo-project", "endpoint": emulator.url, "is_anonymous": True}
        connection = json.dumps({"conn_type": "earth_engine", "extra": extra})
        found = subprocess.run(
            [sys.executable, "-c", CALLER, str(folder), *SENSORS],
            env={**os.environ, "AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": connection},
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    return {name: pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pylist() for name in SENSORS}


def test_each_sensor_has_its_own_calendar(rows):
    starts = {name: [f"{row['image_start']:%m-%d}" for row in table] for name, table in rows.items()}
    assert starts["MYD13Q1"] == ["06-02", "06-18", "07-04", "07-20"]
    assert starts["MOD13A1"] == ["06-10", "06-26", "07-12", "07-28"]
    assert starts["VNP13A1"] == sorted(starts["MYD13Q1"] + starts["MOD13A1"])
    lengths = {row["image_end"] - row["image_start"] for table in rows.values() for row in table}
    assert lengths == {timedelta(days=16)}


def test_they_agree_on_the_fields_and_say_that_they_are_simulated(rows):
    viirs = {row["image_start"]: row["mean"] for row in rows["VNP13A1"]}
    for name in ("MYD13Q1", "MOD13A1"):
        for row in rows[name]:
            assert row["mean"] == pytest.approx(viirs[row["image_start"]], abs=0.01)
    for table in rows.values():
        assert all(row["simulated"] for row in table)
        assert all(row["valid_fraction"] > 0.9 for row in table)
