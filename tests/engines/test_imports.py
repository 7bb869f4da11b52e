"""Engines stand in DAG files, and need neither Airflow nor each other."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_ee.engines

FOLDER = Path(airflow_ee.engines.__file__).parent
ENGINES = sorted(
    path.stem for path in FOLDER.glob("*.py") if re.search(r"^class \w+Engine:", path.read_text(), re.MULTILINE)
)
HEAVY = ("numpy", "rasterio", "pyarrow", "shapely", "requests", "apache_beam", "distributed", "dask", "pyspark")


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_light_to_import_and_brings_no_other(name):
    code = f"import json, sys; import airflow_ee.engines.{name}; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    assert not loaded & {*HEAVY, "airflow", "ee"}
    others = {f"airflow_ee.engines.{other}" for other in ENGINES if other != name}
    assert not loaded & others


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_refuses_to_take_no_tile_at_a_time(name):
    module = __import__(f"airflow_ee.engines.{name}", fromlist=["x"])
    (engine,) = [getattr(module, item) for item in module.__all__ if item.endswith("Engine")]
    if name == "threads":
        assert engine() == engine()
        return
    with pytest.raises(ValueError, match="batch_units must be a whole number of at least 1, got 0"):
        engine(batch_units=0)
