"""geedim: ``toNumPy``, ``toGeoTIFF`` and ``toGoogleCloud``, unmodified."""

import numpy as np
import pytest
import rasterio

from .conftest import assert_pixels, classes, field_grid, reflectance, vegetation

pytestmark = pytest.mark.filterwarnings("ignore:::(?!airflow_ee|tests)")  # the client's own affairs

DATE = "20190303"


@pytest.fixture
def image(ee, monkeypatch):
    """One image of the field, for a geedim whose catalogue of descriptions in the internet is empty."""
    import geedim  # noqa: F401 -- it adds its accessor to the official client's classes
    from geedim.stac import STACClient

    monkeypatch.setattr(STACClient(), "_urls", {"ROOT": {}})
    return ee.Image(f"local/field/{DATE}")


@pytest.fixture
def bands():
    return np.concatenate([reflectance(DATE), classes(DATE)[np.newaxis].astype(np.uint16)])


def test_numpy_pixels_are_those_of_the_file(image, bands):
    assert_pixels(np.moveaxis(image.gd.toNumPy(), -1, 0), bands)


def test_a_masked_array_is_masked_where_the_file_has_no_data(image, bands):
    found = np.moveaxis(image.select(["B4", "B8"]).gd.toNumPy(masked=True), -1, 0)
    assert_pixels(np.ma.getmaskarray(found), bands[:2] == 0)


def test_many_small_tiles_make_the_same_pixels(image, bands, mounted):
    before = len(mounted.calls)
    found = image.select(["B4", "B8"]).gd.toNumPy(max_tile_dim=24)
    assert_pixels(np.moveaxis(found, -1, 0), bands[:2])
    assert mounted.calls[before:].count("thumbnails.getPixels") == 9


def test_a_geotiff_has_the_pixels_and_the_grid_of_the_file(image, bands, tmp_path):
    image.gd.toGeoTIFF(tmp_path / "field.tif")
    crs, transform, shape = field_grid()
    with rasterio.open(tmp_path / "field.tif") as dataset:
        assert (dataset.crs, dataset.transform, dataset.shape) == (crs, transform, shape)
        assert dataset.nodata == 0
        assert dataset.descriptions == ("B4", "B8", "SCL")
        assert_pixels(dataset.read(), bands)
        assert dataset.tags()["system-index"] == DATE


def test_signed_pixels_have_the_least_value_for_no_data(ee, image, tmp_path):
    expected = vegetation("2008_01_01")
    found = ee.Image("MODIS/061/MOD13Q1/2008_01_01").gd.toNumPy(masked=True)
    assert found.dtype == np.int16
    assert_pixels(np.moveaxis(np.ma.getmaskarray(found), -1, 0), np.ma.getmaskarray(expected))
    assert_pixels(np.moveaxis(found.filled(-1), -1, 0), expected.filled(-1))


def test_a_window_prepared_for_export_is_a_window_of_the_file(image, bands):
    _, transform, _ = field_grid()
    crs_transform = (10, 0, transform.c + 100, 0, -10, transform.f - 50)
    prepared = image.gd.prepareForExport(crs="EPSG:32630", crs_transform=crs_transform, shape=(20, 30))
    assert_pixels(np.moveaxis(prepared.gd.toNumPy(), -1, 0), bands[:, 5:25, 10:40])


def test_a_change_of_type_keeps_the_values(image, bands):
    _, transform, shape = field_grid()
    prepared = image.select(["B4", "B8"]).gd.prepareForExport(
        crs="EPSG:32630", crs_transform=transform[:6], shape=shape, dtype="float32"
    )
    found = prepared.gd.toNumPy(masked=True)
    assert found.dtype == np.float32
    assert_pixels(np.moveaxis(found.filled(0), -1, 0), bands[:2].astype(np.float32))


def test_an_export_to_cloud_storage_leaves_the_same_file(image, bands, mounted):
    image.gd.toGoogleCloud("geedim/field", type="cloud", folder="bucket", wait=True)
    crs, transform, shape = field_grid()
    with rasterio.open(mounted.root / "gs" / "bucket" / "geedim" / "field.tif") as dataset:
        assert (dataset.crs, dataset.transform, dataset.shape) == (crs, transform, shape)
        assert_pixels(dataset.read(), bands)


def test_an_export_that_fails_raises_its_reason(image, mounted):
    mounted.inject("image:export", "fail code=INTERNAL no disk today")
    with pytest.raises(OSError, match="no disk today"):
        image.gd.toGoogleCloud("geedim/fails", type="cloud", folder="bucket", wait=True)
