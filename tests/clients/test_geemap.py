"""geemap: ``ee_to_numpy`` and ``download_ee_image``, unmodified."""

import numpy as np
import pytest
import rasterio

from .conftest import assert_pixels, field_grid, reflectance

pytestmark = pytest.mark.filterwarnings("ignore:::(?!airflow_ee|tests)")  # the client's own affairs

DATE = "20190303"


@pytest.fixture
def image(ee):
    return ee.Image(f"local/field/{DATE}").select(["B4", "B8"])


def region(ee, left, top, right, bottom):
    """Pixels of the field as a rectangle in their own projection."""
    _, transform, _ = field_grid()
    west, north = transform @ (left, top)
    east, south = transform @ (right, bottom)
    return ee.Geometry.Rectangle([west, south, east, north], "EPSG:32630", False)


def test_numpy_pixels_are_those_of_the_file(image):
    import geemap

    assert_pixels(np.moveaxis(geemap.ee_to_numpy(image), -1, 0), reflectance(DATE))


def test_a_region_at_a_scale_is_a_window_of_the_file(ee, image):
    import geemap

    found = geemap.ee_to_numpy(image, region=region(ee, 10, 5, 40, 25), scale=10)
    assert_pixels(np.moveaxis(found, -1, 0), reflectance(DATE)[:, 5:25, 10:40])


def test_bands_can_be_chosen_by_name(image):
    import geemap

    assert_pixels(geemap.ee_to_numpy(image, bands=["B8"])[..., 0], reflectance(DATE)[1])


def test_a_downloaded_image_is_the_window_of_the_file(ee, image, tmp_path, monkeypatch):
    import geemap
    from geedim.stac import STACClient

    monkeypatch.setattr(STACClient(), "_urls", {"ROOT": {}})
    path = tmp_path / "downloaded.tif"
    geemap.download_ee_image(image, str(path), region=region(ee, 10, 5, 40, 25), crs="EPSG:32630", scale=10)
    with rasterio.open(path) as dataset:
        assert dataset.crs.to_epsg() == 32630
        assert_pixels(dataset.read(), reflectance(DATE)[:, 5:25, 10:40])
