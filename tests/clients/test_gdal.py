"""GDAL's own drivers for Earth Engine: ``EEDAI:`` opens an image with rasterio, ``EEDA:`` lists images as features."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from .conftest import PUBLIC, assert_pixels, classes, field_dates, field_grid, reflectance, vegetation

DATE = "20190303"

# pyogrio keeps the interpreter's lock while GDAL waits for an answer: in the emulator's own process both would wait for ever.
LISTING = """
import json, sys
import pyogrio.raw, shapely
options = {"bbox": tuple, "where": str}
options = {name: options[name](value) for name, value in json.loads(sys.argv[2]).items()}
meta, _, shapes, columns = pyogrio.raw.read(sys.argv[1], **options)
fields = {name: [str(value) for value in column] for name, column in zip(meta["fields"], columns)}
print(json.dumps({"crs": meta["crs"], "bounds": [shapely.from_wkb(shape).bounds for shape in shapes], **fields}))
"""


@pytest.fixture(autouse=True)
def pointed_at_the_emulator(mounted, monkeypatch):
    monkeypatch.setenv("EEDA_URL", f"{mounted.url}/v1alpha/")
    monkeypatch.setenv("EEDA_BEARER", "anything")


def features(collection, **options):
    command = [sys.executable, "-c", LISTING, f"EEDA:{PUBLIC}/{collection}", json.dumps(options)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_image_opens_with_the_pixels_and_the_grid_of_its_file():
    crs, transform, shape = field_grid()
    with rasterio.open(f"EEDAI:{PUBLIC}/local/field/{DATE}") as dataset:
        assert (dataset.crs, dataset.transform, dataset.shape) == (crs, transform, shape)
        assert dataset.descriptions == ("B4", "B8", "SCL")
        assert_pixels(dataset.read([1, 2]), reflectance(DATE))
        assert_pixels(dataset.read(3), classes(DATE))


def test_a_window_is_read_as_from_the_file():
    with rasterio.open(f"EEDAI:{PUBLIC}/local/field/{DATE}") as dataset:
        found = dataset.read([1, 2], window=Window(10, 5, 30, 20))
    assert_pixels(found, reflectance(DATE)[:, 5:25, 10:40])


def test_bands_can_be_named_in_the_path():
    with rasterio.open(f"EEDAI:{PUBLIC}/local/field/{DATE}:B8") as dataset:
        assert dataset.count == 1
        assert_pixels(dataset.read(1), reflectance(DATE)[1])


@pytest.mark.parametrize("encoding", ["NPY", "GEO_TIFF"])
def test_both_encodings_carry_the_same_pixels(encoding):
    with rasterio.open(f"EEDAI:{PUBLIC}/MODIS/061/MOD13Q1/2008_01_01", PIXEL_ENCODING=encoding) as dataset:
        found = dataset.read()
    expected = vegetation("2008_01_01")
    valid = ~np.ma.getmaskarray(expected)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found[valid], expected.data[valid])


def test_an_image_that_is_not_there_raises():
    with pytest.raises(rasterio.errors.RasterioIOError, match="404"):
        rasterio.open(f"EEDAI:{PUBLIC}/local/field/nothing")


def test_a_collection_lists_as_features():
    crs, transform, (rows, columns) = field_grid()
    found = features("local/field")
    assert found["system:index"] == field_dates()
    assert found["startTime"][0].startswith("2019-01-27T00:00:00")
    assert set(found["band_count"]) == {"3"}
    assert set(found["band_crs"]) == {crs.to_string()}
    assert found["gdal_dataset"][0] == f"EEDAI:{PUBLIC}/local/field/{field_dates()[0]}"
    west, south, east, north = transform_bounds(
        crs, "EPSG:4326", *rasterio.transform.array_bounds(rows, columns, transform)
    )
    np.testing.assert_allclose(found["bounds"][0], (west, south, east, north), atol=1e-7)


def test_filters_of_time_and_place_select_features():
    may = "startTime >= '2010-05-01T00:00:00Z' and startTime < '2010-06-01T00:00:00Z'"
    found = features("MODIS/061/MOD13Q1", where=may, bbox=[-57, -13, -54, -11])
    assert found["system:index"] == ["2010_05_09", "2010_05_25"]
    assert features("MODIS/061/MOD13Q1", where=may, bbox=[10, 40, 11, 41])["bounds"] == []
