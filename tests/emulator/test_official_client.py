"""Google's own client, unmodified, does what people do with it."""

import time

import netCDF4
import numpy as np
import pytest

from .conftest import DATA, expression_file


@pytest.fixture
def ee(mounted):
    return initialised(mounted.url)


def initialised(url):
    import ee

    ee.Reset()
    ee.Initialize(credentials=None, project="demo-project", url=url)
    return ee


def finished(ee, task):
    for _ in range(300):
        operation = ee.data.getOperation(f"projects/demo-project/operations/{task.id}")
        if operation.get("done"):
            return operation
        time.sleep(0.03)
    raise AssertionError("the task did not end")


def test_it_initialises_and_computes_values(ee):
    assert ee.Number(20).add(22).getInfo() == 42
    assert ee.String("a").cat("b").getInfo() == "ab"
    assert ee.Date("2020-06-09").advance(1, "month").format("YYYY-MM-dd").getInfo() == "2020-07-09"
    assert ee.List([1, 2, 3]).map(lambda n: ee.Number(n).multiply(2)).getInfo() == [2, 4, 6]


def test_an_image_shows_its_bands_and_properties(ee):
    info = ee.Image("MODIS/061/MOD13Q1/2008_01_01").select("NDVI").getInfo()
    (band,) = info["bands"]
    assert band["crs"] == "SR-ORG:6974"
    assert band["dimensions"] == [37, 27]
    assert band["data_type"] == {"type": "PixelType", "precision": "int", "min": -32768, "max": 32767}
    assert info["properties"]["system:time_start"] == 1199145600000


def test_get_pixels_and_compute_pixels_agree(ee):
    stored = ee.data.getPixels({"assetId": "MODIS/061/MOD13Q1/2008_01_01", "fileFormat": "NUMPY_NDARRAY"})
    image = ee.Image("MODIS/061/MOD13Q1/2008_01_01")
    computed = ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY"})
    np.testing.assert_array_equal(stored, computed)
    scaled = ee.data.computePixels({"expression": image.select("NDVI").multiply(0.0001), "fileFormat": "NUMPY_NDARRAY"})
    np.testing.assert_array_equal(scaled["NDVI"], stored["NDVI"] * 0.0001)


def test_ndvi_of_the_field_is_the_published_one(ee):
    collection = ee.ImageCollection("local/field").sort("system:time_start")
    dates = collection.aggregate_array("system:index").getInfo()
    with netCDF4.Dataset(DATA / "sentinel2_field" / "published_bands_and_ndvi.nc") as published:
        variable = next(name for name in published.variables if "ndvi" in name.lower())
        cube = np.ma.filled(published[variable][:].astype(np.float32), np.nan)
        when = netCDF4.num2date(published["t"][:], published["t"].units, only_use_cftime_datetimes=False)
    by_date = {f"{moment:%Y%m%d}": layer for moment, layer in zip(when, cube, strict=True)}
    compared = 0
    for date in dates:
        image = ee.Image(f"local/field/{date}")
        cloudy = image.select("SCL").remap([3, 8, 9, 10], [1, 1, 1, 1], 0)
        ndvi = image.normalizedDifference(["B8", "B4"]).updateMask(cloudy.Not())
        pixels = ee.data.computePixels(
            {"expression": ndvi.addBands(ndvi.mask().rename("m")), "fileFormat": "NUMPY_NDARRAY"}
        )
        assert pixels["nd"].dtype == np.float32
        expected = by_date[date]
        valid = (pixels["m"] > 0) & np.isfinite(expected)
        np.testing.assert_array_equal(pixels["nd"][valid], expected[valid])
        compared += int(valid.sum())
    assert compared > 10_000


def test_lists_filter_by_time_and_place(ee):
    params = {"parent": "projects/earthengine-public/assets/MODIS/061/MOD13Q1"}
    point = {"type": "Point", "coordinates": [-55.95, -12.0]}
    times = {"startTime": "2010-01-01T00:00:00Z", "endTime": "2010-03-01T00:00:00Z"}
    assert len(ee.data.listImages({**params, **times})["images"]) == 3
    far = {"type": "Point", "coordinates": [10, 50]}
    assert ee.data.listImages({**params, **times, "region": far})["images"] == []
    inside = ee.ImageCollection("MODIS/061/MOD13Q1").first().geometry().centroid().getInfo()
    assert len(ee.data.listImages({**params, **times, "region": inside})["images"]) == 3
    assert point["type"] == "Point"


def test_formulas_and_mapped_functions(ee):
    image = ee.Image("MODIS/061/MOD13Q1/2008_01_01")
    formula = "2.5 * (nir - red) / (nir + 6 * red - 7.5 * b('sur_refl_b03') + 10000)"
    bands = {"nir": image.select("sur_refl_b02"), "red": image.select("sur_refl_b01")}
    evi = ee.data.computePixels({"expression": image.expression(formula, bands), "fileFormat": "NUMPY_NDARRAY"})
    raw = ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY"})
    nir, red, blue = (raw[f"sur_refl_b0{number}"].astype(float) for number in (2, 1, 3))
    expected = 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 10000)
    valid = blue != 0
    (name,) = evi.dtype.names
    np.testing.assert_allclose(evi[name][valid], expected[valid], rtol=1e-12)


def test_exports_to_storage_drive_and_assets(emulator):
    import rasterio

    ee = initialised(emulator.url)
    image = ee.Image("MODIS/061/MOD13Q1/2020_06_09").select(["NDVI", "SummaryQA"])
    region = ee.Geometry.Rectangle([11.2, 46.4, 11.4, 46.5], None, False)
    storage = ee.batch.Export.image.toCloudStorage(
        image, description="d", bucket="b", fileNamePrefix="a/ndvi", region=region, crs="EPSG:32632", scale=250,
        maxPixels=10**9, formatOptions={"cloudOptimized": True, "noData": -9999}, priority=200,
    )  # fmt: skip
    drive = ee.batch.Export.image.toDrive(image, description="e", folder="f", region=region, scale=250)
    asset = ee.batch.Export.image.toAsset(
        image, description="g", assetId="projects/demo-project/assets/made", region=region, crs="EPSG:32632",
        crsTransform=[250, 0, 0, 0, -250, 0], pyramidingPolicy={".default": "MEAN", "SummaryQA": "MODE"},
    )  # fmt: skip
    for task in (storage, drive, asset):
        task.start()
        operation = finished(ee, task)
        assert operation["metadata"]["state"] == "SUCCEEDED", operation
    assert {operation["metadata"]["description"] for operation in ee.data.listOperations()} == {"d", "e", "g"}
    with rasterio.open(emulator.root / "gs" / "b" / "a" / "ndvi.tif") as dataset:
        assert dataset.descriptions == ("NDVI", "SummaryQA")
        assert dataset.nodata == -9999
        assert dataset.transform.c % 250 == 0
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        exported = dataset.read(1, masked=True)
    made = ee.data.getPixels({"assetId": "projects/demo-project/assets/made", "fileFormat": "NUMPY_NDARRAY"})
    # With crsTransform and a region the client clips to the region itself, not to its bounding box.
    inside = made["NDVI"] != 0
    assert inside.mean() > 0.85
    np.testing.assert_array_equal(made["NDVI"][inside], exported.filled(0)[inside])
    assert [each["id"] for each in ee.data.listAssets("projects/demo-project/assets")["assets"]] == [
        "projects/demo-project/assets/made"
    ]
    assert (emulator.root / "drive" / "f" / "e.tif").is_file()


def test_a_cancelled_task_ends_cancelled(emulator):
    ee = initialised(emulator.url)
    emulator.inject("image:export", "stuck")
    image = ee.Image.constant(1).reproject("EPSG:32632", None, 100)
    region = ee.Geometry.Rectangle([11.2, 46.4, 11.21, 46.41], None, False)
    task = ee.batch.Export.image.toDrive(image, description="c", region=region, scale=100, crs="EPSG:32632")
    task.start()
    ee.data.cancelOperation(f"projects/demo-project/operations/{task.id}")
    operation = finished(ee, task)
    assert operation["error"]["code"] == 1
    assert task.status()["state"] == "CANCELLED"


def test_a_composite_of_clear_sentinel_pixels_as_people_write_it(simulated):
    ee = initialised(simulated.url)
    place = ee.Geometry.Point([11.3, 46.4]).buffer(300)

    def clear(image):
        good = image.select("SCL").remap([4, 5, 6], [1, 1, 1], 0)
        return image.updateMask(good).select("B.*").divide(10000).copyProperties(image, ["system:time_start"])

    collection = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterBounds(place)
    summer = collection.filterDate("2020-06-01", "2020-09-01").filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 30))
    ndvi = summer.map(clear).median().normalizedDifference(["B8", "B4"])
    reducer = ee.Reducer.mean().combine(ee.Reducer.minMax(), sharedInputs=True)
    found = ndvi.reduceRegion(reducer, place, 10).getInfo()
    assert 0.2 < found["nd_min"] < found["nd_mean"] < found["nd_max"] < 0.9
    months = summer.aggregate_array("system:time_start").map(lambda time: ee.Date(time).format("MM")).distinct()
    assert months.getInfo() == ["06", "07", "08"]


def test_pixel_area_is_that_on_the_ground(simulated):
    ee = initialised(simulated.url)
    place = ee.Geometry.Point([11.3, 46.4]).buffer(1000)
    for crs in ("EPSG:32632", "EPSG:4326", "EPSG:3035"):
        area = ee.Image.pixelArea().reduceRegion(ee.Reducer.sum(), place, 10, crs).getInfo()["area"]
        assert area == pytest.approx(place.area().getInfo(), rel=2e-3)


@pytest.mark.parametrize("name", ["expr_modis_ndvi.json", "expr_modis_ndvi_collection.json", "expr_s2_median.json"])
def test_recorded_expressions_evaluate(world, name):
    from .conftest import grid

    array = world.pixels(expression_file(name), grid("EPSG:32632", (672000, 5148000), 250, 16, 12))
    assert array.shape == (12, 16)
    assert all(np.isfinite(array[band]).all() and array[band].any() for band in array.dtype.names)
