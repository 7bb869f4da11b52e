"""GDAL reads from files that we put together of blocks what the blocks were made of."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import Tile
from airflow_ee.core.sinks import tiff_directories
from airflow_ee.core.sinks.base import scratch_directory
from airflow_ee.core.sinks.geotiff import GeoTiffForm
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout
from airflow_ee.core.sinks.parts import PartsSink
from airflow_ee.core.sinks.tiff_directories import BlockSource, check_whole, read_directories, write_tiff
from tests.core.jobs import place

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
BLOCK = 16


def grid(height, width):
    return PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=width, height=height)


def tiles(whole, side):
    for row in range(0, whole.height, side):
        for col in range(0, whole.width, side):
            rows, cols = min(side, whole.height - row), min(side, whole.width - col)
            yield Tile(row, col, whole.window(row=row, col=col, rows=rows, cols=cols))


def write_parts(target, whole, arrays, masks, *, cog, mask, side):
    bands = tuple(BandLayout(name=f"b{i}", dtype=array.dtype) for i, array in enumerate(arrays))
    layout = RasterLayout(grid=whole, bands=bands, mask=mask)
    sink = PartsSink(target=place(target), layout=layout, form=GeoTiffForm(cloud_optimized=cog), block=BLOCK)
    sink.prepare()
    records = [
        sink.write(
            tile,
            PixelBlock(
                layout.names,
                tuple(array[tile.slices] for array in arrays),
                tuple(each[tile.slices] for each in masks),
            ),
        )
        for tile in tiles(whole, side)
    ]
    return sink.commit(list(reversed(records)))


@given(data=st.data(), cog=st.booleans(), mask=st.sampled_from(["nodata", "band", "none"]))
@settings(max_examples=80, deadline=None)
def test_every_pixel_of_every_type_comes_back_from_parts_of_any_size(data, cog, mask):
    height, width, count = (data.draw(st.integers(1, largest)) for largest in (50, 50, 4))
    dtype = data.draw(st.sampled_from(DTYPES))
    limits = None if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    # The lowest signed and the highest unsigned number are nodata.
    lowest, highest = (
        (0, 0) if limits is None else (int(limits.min) + (limits.min < 0), int(limits.max) - (limits.min == 0))
    )
    elements = (
        st.floats(allow_nan=False, width=np.dtype(dtype).itemsize * 8)
        if limits is None
        else st.integers(lowest, highest)
    )
    arrays = [data.draw(hnp.arrays(dtype, (height, width), elements=elements)) for _ in range(count)]
    one = data.draw(hnp.arrays(np.uint8, (height, width), elements=st.integers(0, 1)))
    with scratch_directory() as directory:
        file = directory / "x.tif"
        write_parts(
            file, grid(height, width), arrays, [one] * count, cog=cog, mask=mask, side=data.draw(st.sampled_from([16, 32, 48]))
        )  # fmt: skip
        with rasterio.open(file) as read:
            valid = read.read_masks() > 0
            pixels = read.read()
            assert read.dtypes == (dtype,) * count
            assert read.block_shapes == [(BLOCK, BLOCK)] * count
    expected = np.ones((height, width), bool) if mask == "none" else one == 1
    assert (valid == expected).all()
    for band, array in zip(pixels, arrays, strict=True):
        assert np.array_equal(band[expected], array[expected])


@pytest.mark.parametrize("cog", [False, True])
@pytest.mark.parametrize("mask", ["nodata", "band", "none"])
def test_the_fourth_band_of_bytes_is_data_and_no_alpha(tmp_path, cog, mask):
    whole = grid(20, 20)
    arrays = [np.full(whole.shape, value, "uint8") for value in (5, 6, 7, 0 if mask != "nodata" else 9)]
    ones = np.ones(whole.shape, np.uint8)
    write_parts(tmp_path / "x.tif", whole, arrays, [ones] * 4, cog=cog, mask=mask, side=32)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert rasterio.enums.ColorInterp.alpha not in file.colorinterp
        assert file.read_masks().all()


@pytest.mark.parametrize("mask", ["nodata", "band"])
@pytest.mark.parametrize("count", [1, 3])
def test_cloud_optimized_files_have_what_gdals_own_have(tmp_path, mask, count):
    from rio_cogeo.cogeo import cog_validate

    random = np.random.default_rng(7)
    whole = grid(1300, 700)
    arrays = [random.integers(0, 3000, whole.shape).astype("int16") for _ in range(count)]
    valid = np.ones(whole.shape, np.uint8)
    valid[200:300] = 0
    write_parts(tmp_path / "x.tif", whole, arrays, [valid] * count, cog=True, mask=mask, side=256)
    assert cog_validate(tmp_path / "x.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "x.tif") as file:
        structure = file.tags(ns="IMAGE_STRUCTURE")
        assert structure["LAYOUT"] == "COG"
        assert structure["COMPRESSION"] == "ZSTD"
        assert file.interleaving.value == ("PIXEL" if count > 1 else "BAND")
        assert file.overviews(1) == [2, 4]
        assert (file.read_masks(1) > 0).sum() == valid.sum()
    # The leader of each block tells its size, the trailer repeats its last bytes; GDAL trusts them.
    content = (tmp_path / "x.tif").read_bytes()
    for directory in read_directories(tmp_path / "x.tif"):
        for start, size in zip(directory.offsets.tolist(), directory.sizes.tolist(), strict=True):
            assert int.from_bytes(content[start - 4 : start], "little") == size
            assert content[start + size : start + size + 4] == content[start + size - 4 : start + size]


def test_directories_come_before_blocks_and_the_smallest_overview_before_the_large_ones(tmp_path):
    whole = grid(1300, 1300)
    array = np.arange(1300 * 1300, dtype="int32").reshape(whole.shape)
    write_parts(tmp_path / "x.tif", whole, [array], [np.ones(whole.shape, "u1")], cog=True, mask="band", side=512)
    found = read_directories(tmp_path / "x.tif")
    assert [(each.shape, each.is_mask) for each in found] == [
        ((1300, 1300), False), ((1300, 1300), True), ((650, 650), False), ((650, 650), True), ((325, 325), False), ((325, 325), True),
    ]  # fmt: skip
    firsts = [int(each.offsets.min()) for each in found]
    assert firsts[4] < firsts[2] < firsts[0]
    assert (found[1].offsets > found[0].offsets).all()
    assert (found[1].offsets[:-1] < found[0].offsets[1:]).all()


@pytest.mark.parametrize("cog", [False, True])
def test_a_file_that_is_too_large_for_the_classic_form_is_a_bigtiff(tmp_path, monkeypatch, cog):
    whole = grid(40, 90)
    array = np.random.default_rng(3).random(whole.shape)
    for limit, version in ((1 << 31, 42), (1000, 43)):
        monkeypatch.setattr(tiff_directories, "BIG_BYTES", limit)
        file = tmp_path / f"{version}.tif"
        write_parts(file, whole, [array], [np.ones(whole.shape, "u1")], cog=cog, mask="nodata", side=32)
        assert int.from_bytes(file.read_bytes()[2:4], "little") == version
        with rasterio.open(file) as read:
            assert np.array_equal(read.read(1), array)
            assert read.crs.to_epsg() == 32633


def test_blocks_that_were_moved_are_the_same_blocks(tmp_path):
    whole = grid(64, 64)
    array = np.random.default_rng(3).integers(0, 99, whole.shape).astype("u2")
    write_parts(tmp_path / "x.tif", whole, [array], [np.ones(whole.shape, "u1")], cog=False, mask="none", side=32)
    (directory,) = read_directories(tmp_path / "x.tif")
    write_tiff(tmp_path / "y.tif", [BlockSource.within(tmp_path / "x.tif", directory)], cloud_optimized=False)
    assert (tmp_path / "y.tif").read_bytes() == (tmp_path / "x.tif").read_bytes()


@given(cut=st.integers(0, 2000), flips=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=4))
@settings(max_examples=200, deadline=None)
def test_what_is_no_whole_file_is_refused_and_never_read_beyond_its_end(tmp_path_factory, cut, flips):
    file = tmp_path_factory.mktemp("broken") / "x.tif"
    whole = grid(20, 20)
    write_parts(
        file, whole, [np.ones(whole.shape, "f4")], [np.ones(whole.shape, "u1")], cog=False, mask="none", side=16
    )
    content = bytearray(file.read_bytes())
    for at, value in flips:
        if at < len(content):
            content[at] = value
    file.write_bytes(content[: max(0, len(content) - cut)])
    try:
        check_whole(file, images=1)
    except OSError as problem:
        assert "no room on the disk" in str(problem)  # noqa: PT017 -- a change may have hit what is of no concern
    else:
        (found,) = read_directories(file)
        assert (found.offsets + found.sizes).max() <= file.stat().st_size


def test_a_nodata_of_ones_own_that_valid_pixels_have_ends_the_job_at_the_first_such_tile(tmp_path):
    whole = grid(16, 16)
    layout = RasterLayout(grid=whole, bands=(BandLayout(name="b", dtype=np.dtype("u1")),), nodata=0)
    sink = PartsSink(
        target=place(tmp_path / "x.tif"), layout=layout, form=GeoTiffForm(cloud_optimized=True), block=BLOCK
    )
    sink.prepare()
    block = PixelBlock(("b",), (np.zeros(whole.shape, "u1"),), (np.ones(whole.shape, "u1"),))
    with pytest.raises(ValueError, match="nodata: 0 is a value of valid pixels of b; choose another"):
        sink.write(Tile(0, 0, whole), block)


def test_a_directory_that_follows_itself_ends_the_reading(tmp_path):
    whole = grid(16, 16)
    write_parts(
        tmp_path / "x.tif", whole, [np.ones(whole.shape, "u1")], [np.ones(whole.shape, "u1")], cog=False, mask="none", side=16
    )  # fmt: skip
    content = bytearray((tmp_path / "x.tif").read_bytes())
    first = int.from_bytes(content[4:8], "little")
    link = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    content[link : link + 4] = content[4:8]
    with pytest.raises(ValueError, match=f"the directory at byte {first} follows itself"):
        read_directories(memoryview(content))
