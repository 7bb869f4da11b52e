"""Rasters as Zarr stores: what readers see, whatever the grid, type and mask."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import numpy as np
import pyproj
import pytest
import xarray as xr
import zarr
from fsspec.implementations.local import LocalFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.errors import MalformedResponse
from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.plan import Tile
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout
from airflow_ee.core.sinks.zarr import ZarrSink

UTM = PixelGrid(crs="EPSG:32633", transform=(10.0, 0.0, 5e5, 0.0, -10.0, 4e6), width=70, height=50)
MODIS = PixelGrid(
    crs="SR-ORG:6974",
    transform=(231.65635826395825, 0, -6161133.8, 0, -231.65635826395834, -1332487.4),
    width=33,
    height=21,
)
DEGREES = PixelGrid(crs="EPSG:4326", transform=(0.01, 0, 10.5, 0, -0.01, 45.25), width=40, height=30)
SHEARED = replace(UTM, transform=(10.0, 2.0, 5e5, 1.0, -10.0, 4e6))
DAY = datetime(2020, 6, 9, 10, 30, tzinfo=UTC)
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


def local(path):
    return Location(LocalFileSystem(), str(path), str(path))


def memory(name):
    return Location(fsspec.filesystem("memory"), f"/{name}/a.zarr", f"memory://{name}/a.zarr")


def bands(*dtypes, **fields):
    return tuple(BandLayout(name=f"B{i}", dtype=np.dtype(dtype), **fields) for i, dtype in enumerate(dtypes))


def pixels(grid, dtypes, seed=0, masked=0.2):
    """A structured array as an answer holds it, with masks: values of the whole range of their types but its ends."""
    rng = np.random.default_rng(seed)
    array = np.zeros(grid.shape, [(f"B{i}", dtype) for i, dtype in enumerate(dtypes)] + [("mask", "u1")])
    for i, dtype in enumerate(dtypes):
        kind = np.dtype(dtype)
        limits = None if kind.kind == "f" else np.iinfo(kind)
        array[f"B{i}"] = (
            rng.normal(size=grid.shape)
            if limits is None
            else rng.integers(limits.min + 1, limits.max - 1, grid.shape, kind.newbyteorder("="))
        )
    array["mask"] = rng.random(grid.shape) >= masked
    return array


def block_of(array, rows=slice(None), cols=slice(None)):
    names = tuple(name for name in array.dtype.names if name != "mask")
    part = array[rows, cols]
    return PixelBlock(names, tuple(part[name] for name in names), (part["mask"],) * len(names))


def tiles(grid, rows, cols):
    for row in range(0, grid.height, rows):
        for col in range(0, grid.width, cols):
            size = {"rows": min(rows, grid.height - row), "cols": min(cols, grid.width - col)}
            yield Tile(row, col, grid.window(row=row, col=col, **size))


def store(sink, array, tile_rows=10_000, tile_cols=10_000):
    sink.prepare()
    records = [
        sink.write(tile, block_of(array, *tile.slices)) for tile in tiles(sink.layout.grid, tile_rows, tile_cols)
    ]
    return sink.commit(records)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("grid", [UTM, MODIS, DEGREES], ids=["utm", "sinusoidal", "degrees"])
def test_xarray_sees_pixels_coordinates_crs_time_and_masks(tmp_path, grid):
    layout = RasterLayout(
        grid=grid,
        bands=bands("int16", scale=0.0001, offset=-0.2, unit="1"),
        tags={"source": "MODIS/061/MOD13Q1", "simulated": "true"},
    )
    array = pixels(grid, ["int16"])
    store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=16), array, 32, 48)
    with xr.open_zarr(tmp_path / "a.zarr", decode_coords="all") as opened:
        band = opened["B0"]
        assert band.dims == ("time", "y", "x")
        assert opened["time"].values.tolist() == [np.datetime64("2020-06-09T10:30:00", "ns").astype(int)]
        np.testing.assert_allclose(opened["x"], [grid.xy(col + 0.5, 0)[0] for col in range(grid.width)], rtol=1e-15)
        np.testing.assert_allclose(opened["y"], [grid.xy(0, row + 0.5)[1] for row in range(grid.height)], rtol=1e-15)
        expected = np.where(array["mask"] == 0, np.nan, array["B0"] * 0.0001 - 0.2)
        np.testing.assert_allclose(band[0], expected, rtol=1e-12)
        assert np.isnan(band[0].values).sum() == (array["mask"] == 0).sum() > 0
        assert band.attrs["units"] == "1"
        assert opened.attrs["simulated"] == "true"
        assert opened.attrs["source"] == "MODIS/061/MOD13Q1"
        assert opened.attrs["Conventions"].startswith("CF-1.")
        assert band.encoding["grid_mapping"] == "spatial_ref"
        crs = pyproj.CRS.from_cf(opened["spatial_ref"].attrs)
        assert crs == parse_crs(grid.crs)
        assert pyproj.CRS.from_wkt(opened["spatial_ref"].attrs["spatial_ref"]) == parse_crs(grid.crs)
        c, a, b, f, d, e = map(float, opened["spatial_ref"].attrs["GeoTransform"].split())
        assert (a, b, c, d, e, f) == grid.transform


def test_coordinates_have_the_names_that_cf_gives_them(tmp_path):
    for grid, x, y in [
        (UTM, "projection_x_coordinate", "projection_y_coordinate"),
        (DEGREES, "longitude", "latitude"),
    ]:
        place = tmp_path / f"{x}.zarr"
        store(
            ZarrSink(location=local(place), layout=RasterLayout(grid=grid, bands=bands("u1")), time=DAY),
            pixels(grid, ["u1"]),
        )
        with xr.open_zarr(place) as opened:
            assert opened["x"].attrs["standard_name"] == x
            assert opened["y"].attrs["standard_name"] == y


def test_a_sheared_grid_is_told_by_its_geotransform_alone(tmp_path):
    layout = RasterLayout(grid=SHEARED, bands=bands("f4"))
    array = pixels(SHEARED, ["f4"])
    store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=16), array)
    with xr.open_zarr(tmp_path / "a.zarr", decode_coords="all") as opened:
        assert set(opened.coords) == {"time", "spatial_ref"}
        c, a, b, f, d, e = map(float, opened["spatial_ref"].attrs["GeoTransform"].split())
        assert (a, b, c, d, e, f) == SHEARED.transform
        np.testing.assert_array_equal(opened["B0"][0], np.where(array["mask"] == 0, np.nan, array["B0"]))


def test_a_raster_without_a_time_has_no_time_dimension(tmp_path):
    layout = RasterLayout(grid=UTM, bands=bands("uint16"))
    array = pixels(UTM, ["uint16"])
    (output,) = store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, chunk=32), array)
    assert output.url == str(tmp_path / "a.zarr")
    with xr.open_dataset(tmp_path / "a.zarr", engine="zarr") as opened:
        assert opened["B0"].dims == ("y", "x")
        assert "time" not in opened


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    chunk=st.integers(1, 20),
    spans=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3),
    shear=st.sampled_from([0.0, 1.5]),
    mask=st.sampled_from(["nodata", "band", "none"]),
    byte_order=st.sampled_from("<>"),
    seed=st.integers(0, 2**16),
)
def test_zarr_python_reads_what_numpy_says(
    tmp_path_factory, height, width, chunk, spans, dtypes, shear, mask, byte_order, seed
):
    grid = replace(UTM, transform=(10.0, shear, 5e5, -shear, -10.0, 4e6), width=width, height=height)
    layout = RasterLayout(grid=grid, bands=bands(*dtypes), mask=mask)
    array = pixels(grid, [np.dtype(dtype).newbyteorder(byte_order) for dtype in dtypes], seed)
    folder = tmp_path_factory.mktemp("zarr") / "a.zarr"
    sink = ZarrSink(location=local(folder), layout=layout, time=DAY, chunk=chunk)
    store(sink, array, spans[0] * chunk, spans[1] * chunk)
    group = zarr.open_group(folder, mode="r")
    absent = array["mask"] == 0
    for index, dtype in enumerate(map(np.dtype, dtypes)):
        expected = array[f"B{index}"].astype(dtype)
        if mask == "band":
            expected[absent] = 0
            np.testing.assert_array_equal(group[f"B{index}_mask"][0], array["mask"])
        elif mask == "nodata":
            fills = {
                "f": np.nan,
                "i": dtype.kind == "i" and np.iinfo(dtype).min,
                "u": dtype.kind == "u" and np.iinfo(dtype).max,
            }
            expected[absent] = fills[dtype.kind]
        assert group[f"B{index}"].dtype == dtype
        np.testing.assert_array_equal(group[f"B{index}"][0], expected)
        rows, cols = min(chunk, height), min(chunk, width)
        assert group[f"B{index}"].nchunks_initialized == -(-height // rows) * -(-width // cols)


def test_a_mask_of_its_own_keeps_zero_apart_from_masked(tmp_path):
    array = pixels(UTM, ["uint8"])
    array["B0"][:5] = 0
    array["mask"][:5] = 1
    layout = RasterLayout(grid=UTM, bands=bands("uint8"), mask="band")
    store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32), array)
    with xr.open_zarr(tmp_path / "a.zarr") as opened:
        assert opened["B0"].dtype == np.uint8
        np.testing.assert_array_equal(opened["B0_mask"][0], array["mask"])
        np.testing.assert_array_equal(opened["B0"][0], array["B0"] * array["mask"])
        assert opened["B0_mask"].attrs["flag_meanings"] == "masked valid"
        assert opened["B0"].attrs["ancillary_variables"] == "B0_mask"


def test_fractions_of_masks_are_kept(tmp_path):
    values = np.arange(UTM.pixels, dtype="int16").reshape(UTM.shape)
    masks = np.linspace(0, 1, UTM.pixels, dtype="float32").reshape(UTM.shape)
    layout = RasterLayout(grid=UTM, bands=bands("int16"), mask="fraction")
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32)
    sink.prepare()
    sink.commit([sink.write(Tile(0, 0, UTM), PixelBlock(("B0",), (values,), (masks,)))])
    with xr.open_zarr(tmp_path / "a.zarr") as opened:
        np.testing.assert_array_equal(opened["B0_mask"][0], masks)
        np.testing.assert_array_equal(opened["B0"][0], np.where(masks == 0, 0, values))


def test_bands_may_be_masked_in_different_places(tmp_path):
    values = np.full(UTM.shape, 7, "int16")
    masks = np.ones(UTM.shape, "u1"), np.ones(UTM.shape, "u1"), np.zeros(UTM.shape, "u1")
    masks[1][3] = 0
    layout = RasterLayout(grid=UTM, bands=bands("int16", "int16", "int16"))
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32)
    sink.prepare()
    sink.commit([sink.write(Tile(0, 0, UTM), PixelBlock(layout.names, (values,) * 3, masks))])
    with xr.open_zarr(tmp_path / "a.zarr") as opened:
        assert [int(opened[name].isnull().sum()) for name in layout.names] == [0, UTM.width, UTM.pixels]


def test_a_valid_pixel_that_equals_nodata_is_refused_where_pixels_are_masked(tmp_path):
    array = pixels(UTM, ["uint8"])
    array["B0"][0, 0], array["mask"][0, 0] = 255, 1
    layout = RasterLayout(grid=UTM, bands=bands("uint8"))
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32)
    sink.prepare()
    with pytest.raises(ValueError, match=r"nodata: 255 is a value of valid pixels of B0 in tile.*mask='band'"):
        sink.write(Tile(0, 0, UTM), block_of(array))
    chosen = replace(sink, layout=replace(layout, nodata=254))
    array["B0"][array["B0"] == 254] = 3
    store(chosen, array)
    with xr.open_zarr(tmp_path / "a.zarr") as opened:
        assert float(opened["B0"][0, 0, 0]) == 255


def test_a_valid_pixel_that_equals_nodata_is_refused_also_when_another_tile_has_the_masked_ones(tmp_path):
    array = pixels(UTM, ["uint8"], masked=0)
    array["B0"][0, 0], array["mask"][40, 3] = 255, 0
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=RasterLayout(grid=UTM, bands=bands("uint8")), chunk=32)
    sink.prepare()
    records = [sink.write(tile, block_of(array, *tile.slices)) for tile in tiles(UTM, 32, 96)]
    assert [{**record.facts, "valid": 0} for record in records] == [
        {"valid": 0, "clashing": ["B0"]},
        {"valid": 0, "masked": ["B0"]},
    ]
    assert [record.rows * record.cols - record.facts["valid"][0] for record in records] == [0, 1]
    with pytest.raises(ValueError, match="nodata: 255"):
        sink.commit(records)
    assert not (tmp_path / "a.zarr").exists()


def test_where_nothing_is_masked_every_value_is_allowed_and_no_nodata_declared(tmp_path):
    array = pixels(UTM, ["uint8"], masked=0)
    array["B0"] = np.arange(UTM.pixels).reshape(UTM.shape) % 256
    layout = RasterLayout(grid=UTM, bands=bands("uint8"))
    store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32), array, 32, 32)
    with xr.open_zarr(tmp_path / "a.zarr") as opened:
        np.testing.assert_array_equal(opened["B0"][0], array["B0"])
        assert opened["B0"].dtype == np.uint8


def test_tiles_in_any_order_threads_and_sizes_make_the_same_bytes(tmp_path):
    layout = RasterLayout(grid=UTM, bands=bands("int16", "float32"), tags={"request_digest": "ab"})
    array = pixels(UTM, ["int16", "float32"])
    whole = ZarrSink(location=local(tmp_path / "one" / "a.zarr"), layout=layout, time=DAY, chunk=16)
    store(whole, array)
    cut = replace(whole, location=local(tmp_path / "many" / "a.zarr"))
    cut.prepare()
    order = list(tiles(UTM, 16, 32))[::-1]
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda tile: cut.write(tile, block_of(array, *tile.slices)), order))
    again = cut.write(order[0], block_of(array, *order[0].slices))
    assert again == records[0]
    cut.commit(records)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")
    assert sorted(os.listdir(tmp_path / "one")) == ["a.zarr"], "nothing may stay beside the store"


def test_nothing_is_seen_before_commit_and_an_old_store_stays_until_then(tmp_path):
    layout = RasterLayout(grid=UTM, bands=bands("int16"))
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32)
    sink.prepare()
    record = sink.write(Tile(0, 0, UTM), block_of(pixels(UTM, ["int16"])))
    assert not (tmp_path / "a.zarr").exists()
    sink.commit([record])
    before = contents(tmp_path)
    sink.prepare()
    sink.write(Tile(0, 0, UTM), block_of(pixels(UTM, ["int16"], seed=1)))
    sink.discard()
    assert contents(tmp_path) == before
    store(replace(sink, layout=replace(layout, bands=bands("float32"))), pixels(UTM, ["float32"]))
    with xr.open_zarr(tmp_path / "a.zarr") as opened:
        assert opened["B0"].dtype == np.float32


def test_a_store_is_replaced_where_the_filesystem_cannot_exchange_names(tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_ee.core.sinks.folders._exchange", lambda *_: False)
    layout = RasterLayout(grid=UTM, bands=bands("int16"))
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32)
    store(sink, pixels(UTM, ["int16"]))
    store(sink, pixels(UTM, ["int16"], seed=5))
    with xr.open_zarr(tmp_path / "a.zarr", mask_and_scale=False) as opened:
        expected = pixels(UTM, ["int16"], seed=5)
        np.testing.assert_array_equal(opened["B0"][0], np.where(expected["mask"] == 0, -32768, expected["B0"]))
    assert sorted(os.listdir(tmp_path)) == ["a.zarr"]


def test_what_was_recorded_is_held_whole_or_not(tmp_path):
    layout = RasterLayout(grid=UTM, bands=bands("int16", "uint8"), mask="band")
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32)
    sink.prepare()
    array = pixels(UTM, ["int16", "uint8"])
    records = [sink.write(tile, block_of(array, *tile.slices)) for tile in tiles(UTM, 32, 32)]
    assert all(sink.holds(record) for record in records)
    waiting = sorted((tmp_path / ".a.zarr.parts").rglob("B1_mask/c/0/1/2"))
    content = waiting[0].read_bytes()
    waiting[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert [sink.holds(record) for record in records] == [True] * 5 + [False]
    waiting[0].unlink()
    assert [sink.holds(record) for record in records] == [True] * 5 + [False]
    with pytest.raises(FileNotFoundError, match="B1_mask/c/0/1/2"):
        sink.commit(records)
    with pytest.raises(FileNotFoundError, match="tiles are missing"):
        sink.commit(records[:-1])
    sink.write(list(tiles(UTM, 32, 32))[-1], block_of(array, slice(32, None), slice(64, None)))
    sink.commit(records)
    assert all(sink.holds(record) for record in records), "a finished store holds its tiles too"


def test_a_commit_that_was_killed_before_it_was_told_is_done_again(tmp_path):
    layout = RasterLayout(grid=UTM, bands=bands("int16"))
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32)
    sink.prepare()
    array = pixels(UTM, ["int16"])
    records = [sink.write(tile, block_of(array, *tile.slices)) for tile in tiles(UTM, 32, 32)]
    sink.commit(records)
    before = contents(tmp_path)
    sink.prepare()
    sink.commit(records)
    assert contents(tmp_path) == before
    changed = array.copy()
    changed["B0"][0, 0], changed["mask"][0, 0] = 11, 1
    sink.prepare()
    first = next(iter(tiles(UTM, 32, 32)))
    sink.commit([sink.write(first, block_of(changed, *first.slices)), *records[1:]])
    with xr.open_zarr(tmp_path / "a.zarr") as opened:
        assert float(opened["B0"][0, 0, 0]) == 11


def test_memory_and_disk_hold_the_same_bytes(tmp_path):
    layout = RasterLayout(grid=UTM, bands=bands("int16"))
    array = pixels(UTM, ["int16"])
    store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32), array, 32, 32)
    place = memory("same")
    for _ in range(2):
        store(ZarrSink(location=place, layout=layout, time=DAY, chunk=32), array, 32, 32)
        found = {path.removeprefix("/same/"): place.filesystem.cat(path) for path in place.filesystem.find("/same")}
        assert found == contents(tmp_path)
    with xr.open_zarr("memory://same/a.zarr") as opened:
        assert int(opened["B0"].notnull().sum()) == int(array["mask"].sum())


def test_a_link_to_a_store_stays_a_link(tmp_path):
    (tmp_path / "link.zarr").symlink_to(tmp_path / "deep" / "real.zarr")
    layout = RasterLayout(grid=UTM, bands=bands("int16"))
    for seed in (0, 1):
        store(ZarrSink(location=local(tmp_path / "link.zarr"), layout=layout, time=DAY), pixels(UTM, ["int16"], seed))
    assert (tmp_path / "link.zarr").is_symlink()
    assert os.listdir(tmp_path / "deep") == ["real.zarr"]
    with xr.open_zarr(tmp_path / "link.zarr") as opened:
        assert opened.sizes == {"time": 1, "y": 50, "x": 70}


def test_a_folder_of_other_things_is_never_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("years of work")
    layout = RasterLayout(grid=UTM, bands=bands("int16"))
    with pytest.raises(ValueError, match=r"data is a folder that holds other things \(thesis.tex\)"):
        ZarrSink(location=local(tmp_path / "data"), layout=layout).prepare()
    with pytest.raises(ValueError, match="is a file, a Zarr store is a folder"):
        ZarrSink(location=local(tmp_path / "data" / "thesis.tex"), layout=layout).prepare()
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file("/other/a.zarr/thesis.tex", b"years of work")
    with pytest.raises(ValueError, match="holds other things"):
        ZarrSink(location=memory("other"), layout=layout).prepare()
    assert contents(tmp_path) == {"data/thesis.tex": b"years of work"}


def test_a_full_disk_is_told_with_the_file_and_leaves_no_part(tmp_path, monkeypatch):
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=RasterLayout(grid=UTM, bands=bands("int16")), chunk=32)
    sink.prepare()

    class Full:
        def __init__(self, path, _):
            Path(path).touch()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode: Full(path, mode))
    with pytest.raises(OSError, match=r"No space left on device: .*B0/c/0/0'"):
        sink.write(Tile(0, 0, UTM), block_of(pixels(UTM, ["int16"])))
    monkeypatch.undo()
    assert contents(tmp_path) == {}


def test_a_folder_that_vanished_is_told(tmp_path):
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=RasterLayout(grid=UTM, bands=bands("int16")), chunk=32)
    sink.prepare()
    sink.discard()
    with pytest.raises(FileNotFoundError, match="B0/c/0"):
        sink.write(Tile(0, 0, UTM), block_of(pixels(UTM, ["int16"])))


def test_pixels_of_other_types_or_bands_are_refused(tmp_path):
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=RasterLayout(grid=UTM, bands=bands("int16")))
    sink.prepare()
    with pytest.raises(MalformedResponse, match=r"tile at row 0.*has bands B0 \(float32\), the store B0 \(int16\)"):
        sink.write(Tile(0, 0, UTM), block_of(pixels(UTM, ["float32"])))
    with pytest.raises(MalformedResponse, match="B1"):
        sink.write(Tile(0, 0, UTM), block_of(pixels(UTM, ["int16", "int16"])))


@pytest.mark.parametrize("window", [(0, 0, 40, 70), (8, 0, 42, 70), (0, 32, 32, 20)])
def test_tiles_that_would_share_a_chunk_are_refused(tmp_path, window):
    sink = ZarrSink(location=local(tmp_path / "a.zarr"), layout=RasterLayout(grid=UTM, bands=bands("int16")), chunk=32)
    assert sink.block == 32
    row, col, rows, cols = window
    with pytest.raises(ValueError, match="does not fill whole chunks of 32"):
        sink.write(Tile(row, col, UTM.window(row=row, col=col, rows=rows, cols=cols)), block_of(pixels(UTM, ["int16"])))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"chunk": 50_000}, "chunk at most"),
        ({"grows": True}, "time: a cube's date needs one"),
        ({"time": datetime(2020, 1, 1)}, "time zone and whole seconds"),
        ({"time": DAY + timedelta(microseconds=5)}, "whole seconds"),
        ({"layout": RasterLayout(grid=UTM, bands=bands("complex64"))}, "band B0: Zarr holds"),
        ({"layout": RasterLayout(grid=UTM, bands=bands("uint8"), nodata=-1)}, "nodata must be a uint8 for band B0"),
        ({"layout": RasterLayout(grid=UTM, bands=bands("uint8"), nodata=0.5)}, "nodata must be a uint8"),
        ({"layout": RasterLayout(grid=UTM, bands=bands("float32"), nodata=1e300)}, "nodata must be a float32"),
        (
            {"layout": RasterLayout(grid=UTM, bands=(BandLayout(name="time", dtype=np.dtype("u1")),))},
            "'time' cannot be",
        ),
        ({"layout": RasterLayout(grid=UTM, bands=(BandLayout(name="a/b", dtype=np.dtype("u1")),))}, "'a/b' cannot be"),
        (
            {
                "layout": RasterLayout(
                    grid=UTM,
                    mask="band",
                    bands=(
                        BandLayout(name="a", dtype=np.dtype("u1")),
                        BandLayout(name="a_mask", dtype=np.dtype("u1")),
                    ),
                )
            },
            "two variables of one name",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused_at_once(tmp_path, fields, message):
    usual = {"location": local(tmp_path / "a.zarr"), "layout": RasterLayout(grid=UTM, bands=bands("u1")), "time": DAY}
    if "grows" in fields:
        usual["time"] = None
    with pytest.raises(ValueError, match=message):
        ZarrSink(**{**usual, **fields})


@pytest.mark.parametrize("nodata", [-9999.0, float("nan"), float("-inf"), 0.1])
def test_a_chosen_nodata_of_floats_is_masked_again(tmp_path, nodata):
    layout = RasterLayout(grid=UTM, bands=bands("float32"), nodata=nodata)
    array = pixels(UTM, ["float32"])
    store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY), array)
    with xr.open_zarr(tmp_path / "a.zarr") as opened:
        np.testing.assert_array_equal(opened["B0"][0], np.where(array["mask"] == 0, np.nan, array["B0"]))
    raw = zarr.open_group(tmp_path / "a.zarr", mode="r")["B0"][0]
    np.testing.assert_array_equal(raw[array["mask"] == 0], np.float32(nodata))


def test_metadata_have_sorted_keys_and_no_clock(tmp_path):
    layout = RasterLayout(grid=UTM, bands=bands("int16"), tags={"b": "2", "a": "1"})
    store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY), pixels(UTM, ["int16"]))
    for path in (tmp_path / "a.zarr").rglob("zarr.json"):
        document = json.loads(path.read_bytes())
        assert path.read_bytes() == json.dumps(document, sort_keys=True, indent=2).encode()
    text = (tmp_path / "a.zarr" / "zarr.json").read_text()
    assert str(datetime.now(UTC).year) not in text.replace("2020", "")


def test_chunks_that_are_wholly_masked_are_written(tmp_path):
    array = pixels(UTM, ["int16"], masked=1)
    layout = RasterLayout(grid=UTM, bands=bands("int16"))
    store(ZarrSink(location=local(tmp_path / "a.zarr"), layout=layout, time=DAY, chunk=32), array)
    assert len(list((tmp_path / "a.zarr" / "B0" / "c").rglob("*/*/*"))) == 6
