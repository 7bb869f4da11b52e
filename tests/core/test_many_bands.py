"""However many bands an image has, its tiles hold whole chunks and patches."""

import numpy as np
import pytest

from airflow_ee.core.image_file import ImageFile
from airflow_ee.core.pixels import PixelSource
from airflow_ee.core.resources import Band
from airflow_ee.core.settings import Limits
from tests.core import jobs


@pytest.mark.parametrize("form", jobs.RASTERS)
def test_tiles_hold_whole_blocks_where_less_would_be_best(emulator, tmp_path, form):
    """As where the bytes of a pixel are many: then what is best for a request is less than a block."""
    for name, share in (("usual", 1), ("less", 3)):
        target = Limits(target_bytes=jobs.SIDE**2 * jobs.BYTES_PER_PIXEL // share)
        with jobs.connected(emulator.url, limits=target, requests_per_second=90) as client:
            summary = jobs.raster(tmp_path / name, form, tiles=20).run(client).summary
        assert summary["tiles"] == 20 if share == 1 or form not in {"NPY", "NPZ"} else summary["tiles"] > 20
    assert jobs.content(tmp_path / "usual") == jobs.content(tmp_path / "less")


def source(count):
    bands = tuple(Band(id=f"b{index}", dtype=np.dtype("f4")) for index in range(count))
    return PixelSource(asset_id="some/image", bands=bands)


@pytest.mark.parametrize(("count", "block"), [(1, 512), (27, 512), (28, 256), (109, 256), (110, 128), (512, 64)])
def test_chunks_are_as_large_as_one_request_can_hold(tmp_path, count, block):
    job = ImageFile(file_format="ZARR").job(source(count), jobs.grid(10), jobs.place(tmp_path / "x"))
    assert job.sink_for(job.layout).block == block
    assert block**2 * source(count).bytes_per_pixel <= Limits().max_request_bytes


def test_patches_that_no_request_can_hold_are_refused_before_anything_is_asked_for(tmp_path):
    form = ImageFile(file_format="TF_RECORD")
    assert form.job(source(109), jobs.grid(10), jobs.place(tmp_path / "x"))
    with pytest.raises(ValueError, match="bands: 110 are too many for TF_RECORD"):
        form.job(source(110), jobs.grid(10), jobs.place(tmp_path / "x"))
