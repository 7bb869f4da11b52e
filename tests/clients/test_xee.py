"""xarray with Xee: ``xarray.open_dataset(..., engine="ee").load()``, unmodified."""

import numpy as np
import pytest
import xarray

from .conftest import assert_pixels, classes, field_dates, field_grid, reflectance, vegetation

pytestmark = pytest.mark.filterwarnings("ignore:::(?!airflow_ee|tests)")  # the client's own affairs


@pytest.fixture
def spring(ee):
    return ee.ImageCollection("local/field").filterDate("2019-03-01", "2019-05-01")


def grid_of(collection):
    from xee import helpers

    return helpers.extract_grid_params(collection)


def test_the_grid_that_it_extracts_is_that_of_the_files(spring):
    crs, transform, (rows, columns) = field_grid()
    grid = grid_of(spring)
    assert grid["crs"] == crs.to_string()
    assert tuple(grid["crs_transform"]) == tuple(transform)[:6]
    assert tuple(grid["shape_2d"]) == (columns, rows)


def test_a_collection_loads_with_the_pixels_of_its_files(spring):
    dataset = xarray.open_dataset(spring, engine="ee", **grid_of(spring)).load()
    dates = [date for date in field_dates() if "20190301" <= date < "20190501"]
    assert [str(time)[:10].replace("-", "") for time in dataset.time.values] == dates
    for layer, date in zip(range(len(dates)), dates, strict=True):
        red, infrared = np.where(reflectance(date) == 0, np.nan, reflectance(date)).astype(np.float32)
        assert_pixels(dataset.B4.isel(time=layer).values, red)
        assert_pixels(dataset.B8.isel(time=layer).values, infrared)


def test_coordinates_are_pixel_centres(spring):
    _, transform, _ = field_grid()
    dataset = xarray.open_dataset(spring, engine="ee", **grid_of(spring))
    assert float(dataset.x[0]) == transform.c + transform.a / 2
    assert float(dataset.y[0]) == transform.f + transform.e / 2
    assert float(dataset.y[1] - dataset.y[0]) == transform.e


def test_small_chunks_stitch_to_the_same_pixels(spring):
    grid = grid_of(spring)
    spring = spring.select("B8").limit(3)
    whole = xarray.open_dataset(spring, engine="ee", **grid).load()
    chunks = {"time": 2, "width": 32, "height": 16}
    parts = xarray.open_dataset(spring, engine="ee", io_chunks=chunks, **grid).load()
    xarray.testing.assert_identical(whole, parts)


def test_nodata_arrives_as_nan_and_nothing_else_does(ee):
    date = "2008_01_01"
    expected = vegetation(date)
    collection = ee.ImageCollection("MODIS/061/MOD13Q1").filterDate("2008-01-01", "2008-01-02")
    dataset = xarray.open_dataset(collection, engine="ee", **grid_of(collection)).load()
    for index, band in enumerate(["NDVI", "EVI", "sur_refl_b01", "sur_refl_b02", "sur_refl_b03"]):
        found = dataset[band].isel(time=0).values
        assert_pixels(np.isnan(found), np.ma.getmaskarray(expected[index]))
        assert_pixels(found[~np.isnan(found)], expected[index].compressed().astype(np.float32))


def test_a_mapped_collection_is_computed_before_it_is_loaded(spring):
    def index(image):
        return image.normalizedDifference(["B8", "B4"]).rename("ndvi").copyProperties(image, ["system:time_start"])

    grid = grid_of(spring)
    dataset = xarray.open_dataset(spring.map(index), engine="ee", **grid).load()
    date = next(date for date in field_dates() if date >= "20190301")
    red, infrared = reflectance(date).astype(np.float64)
    with np.errstate(invalid="ignore"):
        expected = np.where((red > 0) & (infrared > 0), (infrared - red) / (infrared + red), np.nan)
    np.testing.assert_allclose(dataset.ndvi.isel(time=0).values, expected, rtol=1e-6)


def test_a_dataset_opens_by_its_asset_id(ee):
    grid = grid_of(ee.ImageCollection("local/field"))
    dataset = xarray.open_dataset("ee://local/field", engine="ee", **grid)
    assert dataset.sizes["time"] == len(field_dates())
    window = dataset.SCL.isel(time=0, x=slice(10, 20), y=slice(5, 9)).fillna(0)
    assert_pixels(window.values, classes(field_dates()[0])[5:9, 10:20].astype(np.float32))
