"""What benchmarks ask of the product is done, and done right: a fast answer that is wrong would be no figure."""

import numpy as np
import pytest
import rasterio

from benchmarks import ours, scene
from benchmarks.serving import serving

SIDE = 300
BANDS = 2


@pytest.fixture(scope="module")
def server():
    with serving((BANDS, SIDE), (1, scene.FIELD * 4), dates=5) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_conditions(server):
    server.set()


@pytest.fixture(scope="module")
def truth():
    return scene.field(scene.FIELD, len(scene.BANDS), seed=1)[:BANDS, :SIDE, :SIDE]


def test_the_image_in_memory_is_the_image(server, truth):
    found = ours.to_memory(server.url, SIDE, BANDS)
    for band, name in enumerate(scene.BANDS[:BANDS]):
        valid = truth[band] != scene.NODATA
        np.testing.assert_array_equal(found[name][valid], truth[band][valid])


def test_the_image_on_disk_is_the_image(server, truth, tmp_path):
    ours.to_geotiff(server.url, SIDE, BANDS, tmp_path)
    (path,) = tmp_path.glob("*.tif")
    with rasterio.open(path) as dataset:
        found = dataset.read(masked=True)
    np.testing.assert_array_equal(np.ma.getmaskarray(found), truth == scene.NODATA)
    np.testing.assert_array_equal(found.compressed(), truth[truth != scene.NODATA])


def test_a_job_under_a_quota_ends_whole(server):
    server.set(max_open=40, starts_per_second=100)
    ours.quota(server.url, ours.QUOTA_ACROSS)
    assert server.record()["answers"] == ours.QUOTA_ACROSS


def test_every_date_of_the_series_has_a_row(server, tmp_path):
    ours.series(server.url, tmp_path)
    assert server.record()["answers"] >= 1
    assert len(list(tmp_path.rglob("*.parquet"))) >= 1
