"""The real images behind an emulator, the official client for it, and the images' own pixels to compare with."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from airflow_ee.emulator import Emulator

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FIELD = DATA / "sentinel2_field" / "images"
MODIS = DATA / "mod13q1_mato_grosso" / "images"
PUBLIC = "projects/earthengine-public/assets"


def reflectance(date):
    """B4 and B8 of the field: digital numbers as (band, row, column), 0 where there are none."""
    with rasterio.open(FIELD / f"{date}_reflectance.tif") as dataset:
        return dataset.read()


def classes(date):
    """Scene classes of the field as (row, column)."""
    with rasterio.open(FIELD / f"{date}_scl.tif") as dataset:
        return dataset.read(1)


def field_dates():
    return sorted(path.name[:8] for path in FIELD.glob("*_scl.tif"))


def field_grid():
    """The CRS, the transform and the shape of the field's images."""
    with rasterio.open(FIELD / f"{field_dates()[0]}_reflectance.tif") as dataset:
        return dataset.crs, dataset.transform, dataset.shape


def vegetation(date):
    """The seven bands of one MOD13Q1 image as a masked (band, row, column) array."""
    with rasterio.open(MODIS / f"{date}.tif") as dataset:
        return dataset.read(masked=True)


@pytest.fixture(scope="session")
def mounted(tmp_path_factory):
    if not DATA.is_dir():
        pytest.skip("the real images are not beside this checkout")
    catalogs = {"MODIS/061/MOD13Q1": MODIS, "local/field": FIELD}
    quick = {"pending_seconds": 0, "running_seconds": 0}
    with Emulator(root=tmp_path_factory.mktemp("clients"), catalogs=catalogs, **quick) as running:
        yield running


@pytest.fixture
def ee(mounted):
    """The official client, unmodified."""
    import ee

    ee.Reset()
    ee.Initialize(credentials=None, project="demo-project", url=mounted.url)
    return ee


def assert_pixels(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
