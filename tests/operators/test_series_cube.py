"""The cube of a series: dates from any run in any order, the same bytes, masked pixels NaN."""

from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import xarray
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.operators.series import EarthEngineTimeSeriesOperator

CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
REGION = [-55.6, -12.1, -55.55, -12.05]


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


def make(folder, start="2023-01-01", end="2023-03-06", **arguments):
    arguments = {
        "collection": "MOD13Q1",
        "index": "NDVI",
        "region": REGION,
        "table_uri": str(folder / "ndvi"),
        "cube_uri": str(folder / "cube.zarr"),
        **arguments,
    }
    return EarthEngineTimeSeriesOperator(task_id="task", request_retries=0, start=start, end=end, **arguments).execute(
        CONTEXT
    )


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_image_is_a_date_with_the_pixels_of_its_raster(server, tmp_path):
    summary = make(tmp_path, raster_uri=str(tmp_path / "rasters"))
    assert summary["cube_uri"] == str(tmp_path / "cube.zarr")
    with xarray.open_zarr(tmp_path / "cube.zarr") as cube:
        assert cube.NDVI.dims == ("time", "y", "x")
        dates = cube.time.values.astype("datetime64[s]").tolist()
        assert dates == [datetime(2023, 1, 1), datetime(2023, 1, 17), datetime(2023, 2, 2), datetime(2023, 2, 18)]
        for index, path in enumerate(sorted((tmp_path / "rasters").glob("*.tif"))):
            with rasterio.open(path) as file:
                number = file.descriptions.index("NDVI") + 1
                pixels = file.read(number, masked=True).astype("f8") * file.scales[number - 1]
            found = cube.NDVI.values[index]
            assert (np.isnan(found) == np.ma.getmaskarray(pixels)).all()
            np.testing.assert_allclose(found[~np.isnan(found)], pixels.compressed(), atol=1e-6)
        assert np.isnan(cube.NDVI.values).any()


def test_runs_in_any_order_leave_the_bytes_of_one(server, tmp_path):
    one, many = tmp_path / "one", tmp_path / "many"
    make(one)
    make(many, start="2023-02-01")
    make(many, end="2023-01-10")
    make(many)
    assert content(one / "cube.zarr") == content(many / "cube.zarr")


def test_a_date_that_is_there_is_not_fetched_again_and_one_that_went_is(server, tmp_path):
    make(tmp_path)
    before = server.calls.count("image:computePixels")
    assert make(tmp_path)["images_unchanged"] == 4
    assert server.calls.count("image:computePixels") == before
    other = make(tmp_path, cube_uri=str(tmp_path / "other.zarr"))
    assert other["images_unchanged"] == 0
    assert content(tmp_path / "other.zarr") == content(tmp_path / "cube.zarr")


def test_a_cube_alone_is_an_output(server, tmp_path):
    summary = make(tmp_path, table_uri=None)
    assert (summary["table_uris"], summary["images"]) == ([], 4)
    with xarray.open_zarr(tmp_path / "cube.zarr") as cube:
        assert cube.sizes["time"] == 4


def test_a_cube_of_another_grid_is_refused_before_a_pixel_is_asked_for(server, tmp_path):
    make(tmp_path)
    before = server.calls.count("image:computePixels")
    with pytest.raises(AirflowFailException, match="grid|spatial_ref|x"):
        make(tmp_path, region=[-55.6, -12.1, -55.5, -12.0])
    assert server.calls.count("image:computePixels") == before


def test_a_day_of_granules_is_one_date(server, tmp_path):
    arguments = {
        "collection": "S2_SR_HARMONIZED",
        "region": [10.9, 46.9, 11.1, 47.1],
        "scale": 500,
        "crs": "EPSG:32632",
        "start": "2023-06-01",
        "end": "2023-06-04",
    }
    made = make(tmp_path, group_by="day", **arguments)
    assert made["groups"] >= 1
    with xarray.open_zarr(tmp_path / "cube.zarr") as cube:
        assert cube.sizes["time"] == made["groups"]
