"""The series operator against simulated MOD13Q1: quality, dates, revisions, bad input, kills."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import rasterio
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_ee.operators.series import EarthEngineTimeSeriesOperator

REGION = [-55.6, -12.1, -55.55, -12.05]
CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


def make(folder, **arguments):
    arguments = {
        "request_retries": 0,
        "collection": "MOD13Q1", "index": "NDVI", "region": REGION, "start": "2023-01-01", "end": "2023-03-06",
        "table_uri": str(folder / "ndvi"), "raster_uri": str(folder / "rasters"), **arguments,
    }  # fmt: skip
    return EarthEngineTimeSeriesOperator(task_id="task", **arguments)


def rows(folder):
    return pyarrow.parquet.read_table(folder / "ndvi.parquet").to_pylist()


def test_rows_are_physical_and_pixels_of_bad_quality_do_not_count(server, tmp_path):
    make(tmp_path).execute(CONTEXT)
    for row in rows(tmp_path):
        with rasterio.open(tmp_path / "rasters" / f"{row['image_start']:%Y_%m_%d}.tif") as file:
            bands = dict(zip(file.descriptions, file.read(masked=True), strict=True))
            assert file.tags()["quality"] == "SummaryQA<=1"
        good = ~np.ma.getmaskarray(bands["SummaryQA"]) & (bands["SummaryQA"].data <= 1)
        assert not (~np.ma.getmaskarray(bands["NDVI"]) & ~good).any()
        assert row["valid_count"] <= good.sum()
        assert 0 < row["mean"] < 1
        assert row["unit"] == "1"
        assert row["simulated"] is True


def test_a_rerun_fetches_nothing_and_changes_no_byte(server, tmp_path):
    first = make(tmp_path).execute(CONTEXT)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    asked = server.calls.count("image:computePixels")
    second = make(tmp_path).execute(CONTEXT)
    assert (first["images"], first["images_unchanged"], second["images_unchanged"]) == (4, 0, 4)
    assert server.calls.count("image:computePixels") == asked
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_changed_request_makes_its_images_anew_and_doubles_no_row(server, tmp_path):
    make(tmp_path).execute(CONTEXT)
    strict = make(tmp_path, quality="SummaryQA==0").execute(CONTEXT)
    assert strict["images_unchanged"] == 0
    assert len(rows(tmp_path)) == 4


def revise(monkeypatch):
    """From now on the service tells of another revision of every image."""
    from airflow_ee.core import wire

    original = wire.asset_from_rest
    monkeypatch.setattr(
        wire, "asset_from_rest", lambda value: original({**value, "updateTime": "2030-01-01T00:00:00Z"})
    )


def test_revised_images_are_replaced_or_kept_as_asked(server, tmp_path, monkeypatch):
    make(tmp_path).execute(CONTEXT)
    revise(monkeypatch)
    assert make(tmp_path, on_revised="keep").execute(CONTEXT)["images_unchanged"] == 4
    assert {row["source_update_time"] for row in rows(tmp_path)} != {"2030-01-01T00:00:00Z"}
    assert make(tmp_path, on_revised="replace").execute(CONTEXT)["images_unchanged"] == 0
    assert {row["source_update_time"] for row in rows(tmp_path)} == {"2030-01-01T00:00:00Z"}


def test_keeping_revisions_does_not_keep_what_was_made_by_another_rule(server, tmp_path):
    make(tmp_path).execute(CONTEXT)
    assert make(tmp_path, quality="SummaryQA==0", on_revised="keep").execute(CONTEXT)["images_unchanged"] == 0


def test_bands_that_are_added_later_leave_no_stale_row(server, tmp_path):
    make(tmp_path, quality=None, raster_uri=None).execute(CONTEXT)
    wide = {row["image_ids"][0]: row["valid_count"] for row in rows(tmp_path)}
    arguments = {"index": None, "bands": ["NDVI", "EVI"], "quality": "SummaryQA==0", "raster_uri": None}
    make(tmp_path, **arguments).execute(CONTEXT)
    fresh = tmp_path / "fresh"
    make(fresh, **arguments).execute(CONTEXT)
    assert (fresh / "ndvi.csv").read_bytes() == (tmp_path / "ndvi.csv").read_bytes()
    assert any(row["valid_count"] < wide[row["image_ids"][0]] for row in rows(tmp_path))


def test_a_region_outside_the_grid_is_refused(server, tmp_path):
    grid = {
        "crsCode": "EPSG:4326", "dimensions": {"width": 5, "height": 5},
        "affineTransform": {"scaleX": 0.005, "translateX": -55.6, "scaleY": -0.005, "translateY": -12.05},
    }  # fmt: skip
    with pytest.raises(AirflowFailException, match="lies outside the grid"):
        make(tmp_path, grid=grid).execute(CONTEXT)


def test_images_with_grids_of_their_own_need_one_grid(server, tmp_path):
    arguments = {
        "collection": "COPERNICUS/S2_HARMONIZED", "index": None, "bands": ["B1"], "quality": None,
        "region": [-53.9, -12.6, -52.3, -12.4], "start": "2023-06-01", "end": "2023-06-11",
    }  # fmt: skip
    with pytest.raises(
        AirflowFailException, match="have different native grids; give grid, grid_from_asset, or scale and crs"
    ):
        make(tmp_path, **arguments).execute(CONTEXT)


def test_a_feature_in_a_file_keeps_its_name(server, tmp_path):
    import json

    polygon = {"type": "Polygon", "coordinates": [[[-55.6, -12.1], [-55.55, -12.1], [-55.55, -12.05], [-55.6, -12.1]]]}
    file = tmp_path / "field.geojson"
    file.write_text(json.dumps({"type": "Feature", "id": "f1", "properties": {"name": "north"}, "geometry": polygon}))
    assert make(tmp_path, region=str(file)).execute(CONTEXT)["region_id"] == "f1"
    named = make(tmp_path, region=str(file), region_id_property="name", raster_uri=None).execute(CONTEXT)
    assert named["region_id"] == "north"


def test_lookback_asks_again_for_the_days_before(server, tmp_path):
    summary = make(tmp_path, lookback=16).execute(CONTEXT)
    assert summary["start"].startswith("2022-12-16")
    assert summary["images"] == 5


def test_too_little_of_the_region_gives_a_row_without_statistics(server, tmp_path):
    make(tmp_path, min_valid_fraction=1.0, quality="SummaryQA==0", weights="area").execute(CONTEXT)
    for row in rows(tmp_path):
        assert (row["mean"] is None) == (row["valid_fraction"] < 1.0)
        assert row["pixel_count"] > 0


def test_an_interval_without_images_skips_or_fails_as_asked(server, tmp_path):
    early = {"start": "1990-01-01", "end": "1990-02-01"}
    with pytest.raises(AirflowSkipException, match="no image in"):
        make(tmp_path, **early).execute(CONTEXT)
    with pytest.raises(AirflowFailException, match="no image in"):
        make(tmp_path, on_empty="fail", **early).execute(CONTEXT)
    assert list(tmp_path.glob("ndvi*")) == []


BAD = [
    ({"start": "2023-03-01", "end": "2023-01-01"}, "start"),
    ({"start": "first of May"}, "start"),
    ({"start": None, "end": None}, "no dates"),
    ({"weights": "pixels"}, "weights must be one of coverage, center, area"),
    ({"table_format": "xlsx"}, "table_format must be one of"),
    ({"on_empty": "wait"}, "on_empty must be one of skip, fail, defer"),
    ({"group_by": "month"}, "group_by must be one of image, day, interval"),
    ({"mosaic": "best"}, "mosaic must be one of first, last, mean"),
    ({"statistics": ["mode"]}, "statistics must be one of mean, std"),
    ({"percentiles": [101]}, r"percentiles must be in 0\.\.100"),
    ({"filters": "cloudy"}, "filters: each must be a property compared with a value"),
    ({"regions_uri": "/nowhere/fields.geojson"}, "region and regions_uri exclude each other"),
    ({"regions_uri": "/nowhere/fields.geojson", "region": None}, "there is no file /nowhere/fields.geojson"),
    ({"group_by": "interval", "lookback": 16}, "lookback would make the interval itself longer"),
    ({"group_by": "day", "start": "2023-01-01T06:00", "end": "2023-01-01T18:00"}, "takes whole days"),
    (
        {"collection": "COPERNICUS/S2_SR", "index": None, "bands": ["B4"]},
        "jump by 1000 on 2022-01-25; take COPERNICUS/S2_SR_H",
    ),
    ({"estimate_only": "maybe"}, "estimate_only must be true or false"),
    ({"table_uri": None, "raster_uri": None}, "nothing would be kept"),
    ({"table_uri": "/x/ndvi.csv"}, "without its suffix"),
    ({"bands": ["NDVI"]}, "either bands or index"),
    ({"index": None}, "either bands or index"),
    ({"index": "LAI"}, "index must be one of NDVI, EVI"),
    ({"index": None, "bands": ["NVDI"]}, "has no band 'NVDI'"),
    ({"quality": "good"}, "quality must be comparisons"),
    ({"quality": "Cloud<=1"}, "has no band Cloud"),
    ({"min_valid_fraction": 2}, "min_valid_fraction must be in 0..1"),
    ({"region": [170, -20, 190, -10]}, "leaves the world"),
    ({"region": None}, "a side must not exceed"),
    ({"region_id_property": "name"}, "no property 'name'"),
    ({"index": None, "bands": ["NDVI", "NDVI"]}, "each band at most once"),
    ({"min_valid_fraction": "half"}, "min_valid_fraction must be a number"),
    ({"lookback": 10**6}, "goes back before the first year"),
    ({"lookback": "99999999999"}, "longer than time"),
    ({"table_uri": "None", "raster_uri": "None"}, "nothing would be kept"),
    ({"table_uri": "/dev/null/ndvi"}, "cannot be written, /dev/null is a file"),
    ({"raster_uri": "gs://"}, "needs a bucket and a path"),
    ({"request_retries": "often"}, "request_retries must be a number"),
    (
        {
            "region": {
                "type": "FeatureCollection",
                "features": [
                    {
                        "type": "Feature",
                        "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
                    },
                    {
                        "type": "Feature",
                        "geometry": {"type": "Polygon", "coordinates": [[[3, 0], [4, 0], [4, 1], [3, 0]]]},
                    },
                ],
            }
        },
        "region has 2 features",
    ),
    ({"on_revised": "keep", "table_uri": None}, "on_revised='keep' needs table_uri"),
    ({"collection": "local/unknown", "index": None, "bands": ["b"]}, "local/unknown"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[str(row[0])[:40] for row in BAD])
def test_bad_input_is_refused_before_a_pixel_is_asked_for(server, tmp_path, arguments, words):
    with pytest.raises(AirflowFailException, match=words):
        make(tmp_path, **arguments).execute(CONTEXT)
    assert "image:computePixels" not in server.calls
    assert [path for path in tmp_path.iterdir() if path.name != "root"] == []


def test_regions_of_several_features_have_their_names(server, tmp_path):
    feature = {
        "type": "Feature",
        "properties": {"name": "north field"},
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[-55.6, -12.1], [-55.55, -12.1], [-55.55, -12.05], [-55.6, -12.1]]],
        },
    }
    make(tmp_path, region=feature, region_id_property="name", raster_uri="None").execute(CONTEXT)
    make(tmp_path, region={**feature, "id": "f1"}, raster_uri=None).execute(CONTEXT)
    assert {row["region_id"] for row in rows(tmp_path)} == {"north field", "f1"}
    assert len(rows(tmp_path)) == 8


@pytest.mark.parametrize(
    "other",
    [
        {"region": [9.0, 48.0, 9.05, 48.05]},
        {"index": None, "bands": ["NDVI", "EVI"]},
        {"scale": 500, "crs": "EPSG:4326"},
    ],
)
def test_rasters_of_another_series_are_never_replaced_in_silence(server, tmp_path, other):
    make(tmp_path).execute(CONTEXT)
    before = {path: path.read_bytes() for path in (tmp_path / "rasters").iterdir()}
    with pytest.raises(AirflowFailException, match="holds rasters of another series"):
        make(tmp_path, **other).execute(CONTEXT)
    assert {path: path.read_bytes() for path in (tmp_path / "rasters").iterdir()} == before


@pytest.mark.parametrize("damage", ["delete", "truncate"])
def test_a_raster_that_is_gone_or_damaged_is_made_again(server, tmp_path, damage):
    make(tmp_path).execute(CONTEXT)
    raster = tmp_path / "rasters" / "2023_01_17.tif"
    good = raster.read_bytes()
    raster.unlink()
    if damage == "truncate":
        raster.write_bytes(good[:-100])
    assert make(tmp_path).execute(CONTEXT)["images_unchanged"] == 3
    assert raster.read_bytes() == good


def test_a_part_that_is_damaged_is_made_again(server, tmp_path):
    make(tmp_path).execute(CONTEXT)
    good = (tmp_path / "ndvi.parquet").read_bytes()
    part = next(tmp_path.glob("ndvi.parts/*/2023_01_17.parquet"))
    part.write_bytes(part.read_bytes()[:50])
    assert make(tmp_path).execute(CONTEXT)["images_unchanged"] == 3
    assert (tmp_path / "ndvi.parquet").read_bytes() == good


def test_an_answer_that_is_spoilt_is_asked_for_again(server, tmp_path):
    server.inject("image:computePixels", "corrupt", "corrupt")
    make(tmp_path, max_concurrency=1).execute(CONTEXT)
    assert server.calls.count("image:computePixels") == 6
    assert not server.pending


RUN = """
import sys
from types import SimpleNamespace
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator
EarthEngineTimeSeriesOperator(
    task_id="task", collection="MOD13Q1", index="NDVI", region=[-55.6, -12.1, -55.55, -12.05], start="2022-01-01",
    end="2023-01-01", table_uri=sys.argv[1] + "/ndvi", raster_uri=sys.argv[1] + "/rasters", max_concurrency=2,
).execute({"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")})
"""


def test_a_killed_run_goes_on_where_it_stopped_and_ends_byte_for_byte_the_same(server, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    subprocess.run([sys.executable, "-c", RUN, str(whole)], check=True, env=dict(os.environ), capture_output=True)
    server.inject("image:computePixels", *["delay=0.3"] * 40)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(killed)], env=dict(os.environ), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(list(killed.glob("ndvi.parts/*/*.parquet"))) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(killed.glob("ndvi.parts/*/*.parquet")))
    assert 5 <= done < 23
    assert not (killed / "ndvi.parquet").exists()
    asked = server.calls.count("image:computePixels")
    subprocess.run([sys.executable, "-c", RUN, str(killed)], check=True, env=dict(os.environ), capture_output=True)
    assert server.calls.count("image:computePixels") - asked == 23 - done
    _same(whole, killed)


def _same(whole, killed):
    def files(folder):
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }

    first, second = files(whole), files(killed)
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []
