"""rasterio reads from our GeoTIFFs what was put in, and masked pixels are never values."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_ee.core.canvas import Canvas
from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import Tile
from airflow_ee.core.sinks.base import scratch_directory
from airflow_ee.core.sinks.geotiff import write_geotiff

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def grid(height, width, crs="EPSG:32633"):
    return PixelGrid(crs=crs, transform=(10, 0.5, 5e5, -0.25, -10, 4e6), width=width, height=height)


def canvas(arrays, masks, directory, crs="EPSG:32633"):
    height, width = arrays[0].shape
    whole = grid(height, width, crs)
    names = tuple(f"band{i}" for i in range(len(arrays)))
    made = Canvas(whole, names, directory)
    made.put(Tile(0, 0, whole), PixelBlock(names, tuple(arrays), tuple(masks)))
    return made


@given(
    data=st.data(),
    dtype=st.sampled_from(DTYPES),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    cog=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_pixels_masks_and_grid_come_back(data, dtype, height, width, cog):
    limits = None if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    elements = (
        st.floats(-1e6, 1e6, width=32) if limits is None else st.integers(int(limits.min) + 1, int(limits.max) - 1)
    )
    arrays = [data.draw(hnp.arrays(dtype, (height, width), elements=elements)) for _ in range(2)]
    masks = [data.draw(hnp.arrays(bool, (height, width))) for _ in range(2)]
    with scratch_directory() as directory:
        made = canvas(arrays, masks, directory)
        write_geotiff(directory / "x.tif", made, cloud_optimized=cog)
        with rasterio.open(directory / "x.tif") as file:
            read = file.read(masked=True)
            assert file.dtypes == (dtype, dtype)
            assert tuple(file.transform)[:6] == made.grid.transform
            assert file.crs.to_epsg() == 32633
            assert file.descriptions == ("band0", "band1")
    for index in range(2):
        assert np.array_equal(~np.ma.getmaskarray(read[index]), masks[index])
        assert np.array_equal(read[index].data[masks[index]], arrays[index][masks[index]])


def test_bytes_depend_on_pixels_only(tmp_path):
    arrays = [(np.arange(300 * 400) % 1000).astype("int16").reshape(300, 400)]
    masks = [np.ones((300, 400), bool)]
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_geotiff(
            tmp_path / name / "x.tif", canvas(arrays, masks, tmp_path / name), cloud_optimized=True, nodata=-1
        )
        digests.append(hashlib.sha256((tmp_path / name / "x.tif").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_the_sinusoidal_grid_is_written_as_wkt(tmp_path):
    made = canvas([np.ones((3, 3), "int16")], [np.ones((3, 3), bool)], tmp_path, crs="SR-ORG:6974")
    write_geotiff(tmp_path / "x.tif", made, cloud_optimized=True)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert "Sinusoidal" in file.crs.to_wkt()
        assert "6371007.181" in file.crs.to_wkt()


def test_a_nodata_value_that_is_also_a_valid_value_is_refused(tmp_path):
    made = canvas([np.array([[0, 255]], "uint8")], [np.array([[True, True]])], tmp_path)
    with pytest.raises(ValueError, match="nodata: 0 is a value of valid pixels of band0"):
        write_geotiff(tmp_path / "x.tif", made, cloud_optimized=False, nodata=0)
    masked = canvas([np.array([[7, 255]], "uint8")], [np.array([[False, True]])], tmp_path)
    with pytest.raises(ValueError, match="mask='band'"):
        write_geotiff(tmp_path / "x.tif", masked, cloud_optimized=False)


def test_where_nothing_is_masked_a_full_range_needs_no_nodata(tmp_path):
    made = canvas([np.array([[0, 255]], "uint8")], [np.array([[True, True]])], tmp_path)
    write_geotiff(tmp_path / "x.tif", made, cloud_optimized=False)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.nodata is None
        assert file.read(1).tolist() == [[0, 255]]


def test_a_full_range_with_masked_pixels_is_widened_where_that_is_wished(tmp_path):
    made = canvas([np.array([[7, 255]], "uint8")], [np.array([[False, True]])], tmp_path)
    write_geotiff(tmp_path / "x.tif", made, cloud_optimized=False, widen=True)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert (file.dtypes[0], file.nodata) == ("uint16", 65535)
        assert file.read(1).tolist() == [[65535, 255]]


@pytest.mark.parametrize("nodata", [256, -1, 0.5])
def test_a_nodata_that_the_type_cannot_hold_is_refused(tmp_path, nodata):
    made = canvas([np.array([[1]], "uint8")], [np.array([[True]])], tmp_path)
    with pytest.raises(ValueError, match="nodata must be a uint8, 0 to 255"):
        write_geotiff(tmp_path / "x.tif", made, cloud_optimized=False, nodata=nodata)


@pytest.mark.parametrize("cog", [False, True])
def test_a_mask_band_lies_inside_the_file_and_is_all_there_is(tmp_path, cog):
    mask = np.arange(300 * 300).reshape(300, 300) % 3 > 0
    arrays = [np.full((300, 300), 5, "uint8"), np.full((300, 300), 0, "uint8")]
    write_geotiff(tmp_path / "x.tif", canvas(arrays, [mask, mask], tmp_path), cloud_optimized=cog, mask="band")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]
    with rasterio.open(tmp_path / "x.tif") as file:
        assert np.array_equal(file.read_masks(1) > 0, mask)
        assert np.array_equal(file.dataset_mask() > 0, mask)


def test_bands_with_masks_of_their_own_cannot_share_one(tmp_path):
    arrays = [np.zeros((2, 2), "uint8")] * 2
    with pytest.raises(ValueError, match="one mask for all"):
        write_geotiff(
            tmp_path / "x.tif",
            canvas(arrays, [np.eye(2, dtype=bool), ~np.eye(2, dtype=bool)], tmp_path),
            cloud_optimized=False,
            mask="band",
        )


def test_bands_of_several_types_share_the_one_that_holds_them_all(tmp_path):
    arrays = [np.array([[-5]], "int16"), np.array([[60000]], "uint16")]
    write_geotiff(tmp_path / "x.tif", canvas(arrays, [np.ones((1, 1), bool)] * 2, tmp_path), cloud_optimized=False)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.dtypes == ("int32", "int32")
        assert file.read().ravel().tolist() == [-5, 60000]


def test_scale_offset_unit_and_tags_are_told(tmp_path):
    made = canvas([np.ones((2, 2), "int16")], [np.ones((2, 2), bool)], tmp_path)
    write_geotiff(
        tmp_path / "x.tif",
        made,
        cloud_optimized=True,
        scales=[0.0001],
        offsets=[-0.2],
        units=["1"],
        tags={"source": "s"},
    )
    with rasterio.open(tmp_path / "x.tif") as file:
        assert (file.scales, file.offsets, file.units) == ((0.0001,), (-0.2,), ("1",))
        assert file.tags()["source"] == "s"


def test_pixels_outside_a_region_become_masked_by_their_centre(tmp_path):
    from airflow_ee.core.region import Region

    whole = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 3), width=3, height=3)
    made = Canvas(whole, ("b",), tmp_path)
    made.put(Tile(0, 0, whole), PixelBlock(("b",), (np.ones((3, 3), "u1"),), (np.ones((3, 3), bool),)))
    made.clip(Region.parse([0.6, 0.6, 2.6, 2.4]))
    assert made.valid[0].tolist() == [[False] * 3, [False, True, True], [False] * 3]


def test_a_large_band_is_kept_on_disk(tmp_path):
    whole = grid(3000, 6000)
    made = Canvas(whole, ("b",), tmp_path)
    tile = Tile(0, 0, whole.window(row=0, col=0, rows=2, cols=2))
    made.put(tile, PixelBlock(("b",), (np.ones((2, 2), "f8"),), (np.ones((2, 2), bool),)))
    assert isinstance(made.values[0], np.memmap)
    assert Path(made.values[0].filename).parent == tmp_path


def test_a_cloud_optimized_file_is_one_in_the_eyes_of_rio_cogeo_and_its_overviews_are_pixels_of_the_image(tmp_path):
    from rio_cogeo.cogeo import cog_validate

    valid = np.ones((1500, 1100), bool)
    valid[:100] = False
    made = canvas([np.arange(1500 * 1100, dtype=np.int32).reshape(1500, 1100)], [valid], tmp_path)
    for mask in ("nodata", "band"):
        file = tmp_path / f"{mask}.tif"
        write_geotiff(file, made, cloud_optimized=True, mask=mask)
        assert cog_validate(file) == (True, [], [])
        with rasterio.open(file) as whole, rasterio.open(file, overview_level=0) as smaller:
            assert whole.overviews(1) == [2, 4]
            assert set(smaller.read(1, masked=True).compressed()) <= set(whole.read(1, masked=True).compressed())
            assert np.ma.getmaskarray(smaller.read(1, masked=True)).mean() == pytest.approx(100 / 1500, abs=0.002)
