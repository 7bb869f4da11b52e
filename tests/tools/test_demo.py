"""`make demo` leaves what the README promises, and a second run changes no number."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rasterio

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def demo(output):
    started = time.monotonic()
    command = [sys.executable, "tools/demo.py", "--output", str(output)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout, time.monotonic() - started


def content(output):
    files = [output / "ndvi.csv", output / "ndvi.parquet", *sorted((output / "rasters").glob("*.tif"))]
    return {file.name: file.read_bytes() for file in files}


def test_the_demo_leaves_its_files_and_a_second_run_changes_nothing(tmp_path):
    said, _ = demo(tmp_path)
    assert "SIMULATED" in said
    with (tmp_path / "ndvi.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 26
    assert len({row["image_start"] for row in rows}) == 26
    assert {row["simulated"] for row in rows} == {"true"}
    assert (tmp_path / "ndvi.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((tmp_path / "rasters").glob("*.tif"))) == 26
    exports = list((tmp_path / "exports" / "gs").rglob("*.tif"))
    assert len(exports) == 2
    for export in exports:
        with rasterio.open(export) as file:
            assert file.crs.to_epsg() == 4326
            assert file.nodata == -9999
            assert file.tags()["simulated"] == "true"
            pixels = file.read(1, masked=True)
            assert pixels.mask.mean() < 0.5
            assert 0.2 < pixels.min() <= pixels.max() < 1, "masked pixels must not come out as 0"
    before = content(tmp_path)
    _, seconds = demo(tmp_path)
    assert content(tmp_path) == before
    assert seconds < 90
