"""Folders of real images: what comes over the wire is what is in the files."""

import shutil

import numpy as np
import pytest
import rasterio

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.catalog.mounts import MountError

from .conftest import FIELD_IMAGES, MODIS_IMAGES, Rest, call, graph, grid, image, loaded, message

MODIS = "projects/earthengine-public/assets/MODIS/061/MOD13Q1"


def test_every_pixel_of_every_date_equals_its_file(real):
    files = sorted(MODIS_IMAGES.glob("*.tif"))
    assert len(files) == 137
    for path in files:
        answer = real.asset_pixels(f"{MODIS}/{path.stem}")
        assert answer.headers["x-earth-engine-emulator"] == "mounted"
        array = loaded(answer)
        with rasterio.open(path) as dataset:
            assert list(dataset.descriptions) == list(array.dtype.names)
            for index, name in enumerate(array.dtype.names, start=1):
                stored = dataset.read(index, masked=True)
                assert array[name].dtype == stored.dtype
                np.testing.assert_array_equal(array[name], stored.filled(0))


def test_masks_are_those_of_the_files(real):
    masked = 0
    for path in sorted(MODIS_IMAGES.glob("*.tif")):
        with rasterio.open(path) as dataset:
            missing = dataset.read() == -32768
        if not missing.any():
            continue
        array = real.pixels(graph(call("Image.mask", image=image(f"MODIS/061/MOD13Q1/{path.stem}"))))
        for index, name in enumerate(array.dtype.names):
            np.testing.assert_array_equal(array[name] == 0, missing[index])
        masked += int(missing.sum())
    assert masked == 78


def test_windows_and_what_lies_outside_are_exact(real):
    asset = real.get(f"{MODIS}/2008_01_01").json()
    own = asset["bands"][0]["grid"]
    affine = own["affineTransform"]
    with rasterio.open(MODIS_IMAGES / "2008_01_01.tif") as dataset:
        whole = np.zeros((27 + 8, 37 + 8), np.int16)
        whole[4:31, 4:41] = dataset.read(1)
    for row, col, height, width in [(0, 0, 35, 45), (3, 4, 5, 7), (20, 30, 15, 15), (0, 41, 3, 4)]:
        shifted = {
            **affine,
            "translateX": affine["translateX"] + (col - 4) * affine["scaleX"],
            "translateY": affine["translateY"] + (row - 4) * affine["scaleY"],
        }
        wanted = {**own, "affineTransform": shifted, "dimensions": {"width": width, "height": height}}
        array = loaded(real.asset_pixels(f"{MODIS}/2008_01_01", grid=wanted, bandIds=["NDVI"]))
        np.testing.assert_array_equal(array["NDVI"], whole[row : row + height, col : col + width])


def test_another_crs_reads_the_nearest_pixel(real):
    import pyproj

    wanted = grid("EPSG:4326", (-55.92, -11.99), 0.0007, 200, 120)
    array = loaded(real.asset_pixels(f"{MODIS}/2008_01_01", grid=wanted, bandIds=["NDVI"]))["NDVI"]
    with rasterio.open(MODIS_IMAGES / "2008_01_01.tif") as dataset:
        stored, affine = dataset.read(1), dataset.transform
        sphere = pyproj.CRS.from_wkt(dataset.crs.to_wkt())
    lon, lat = np.meshgrid(-55.92 + 0.0007 * (np.arange(200) + 0.5), -11.99 - 0.0007 * (np.arange(120) + 0.5))
    x, y = pyproj.Proj(sphere)(lon, lat)
    col, row = np.floor((x - affine.c) / affine.a).astype(int), np.floor((y - affine.f) / affine.e).astype(int)
    inside = (row >= 0) & (row < 27) & (col >= 0) & (col < 37)
    expected = np.where(inside, stored[np.clip(row, 0, 26), np.clip(col, 0, 36)], 0)
    assert inside.any()
    assert not inside.all()
    np.testing.assert_array_equal(array, expected)


def test_the_collection_lists_its_dates_with_the_calendar_of_mod13(real):
    found = real.get(
        f"{MODIS}:listAssets", filter='startTime >= "2008-01-01T00:00:00Z" AND startTime < "2009-01-01T00:00:00Z"'
    )
    assets = found.json()["assets"]
    assert found.headers["x-earth-engine-emulator"] == "mounted"
    assert [asset["id"].rsplit("/", 1)[1] for asset in assets[:2]] == ["2008_01_01", "2008_01_17"]
    assert assets[-1]["endTime"] == "2009-01-01T00:00:00Z"
    assert {band["grid"]["crsCode"] for asset in assets for band in asset["bands"]} == {"SR-ORG:6974"}
    assert assets[0]["bands"][0]["dataType"] == {"precision": "INT", "range": {"min": -32768, "max": 32767}}


def test_a_mount_takes_over_a_built_in_id(real):
    assert real.get(f"{MODIS}/2020_06_09").status_code == 404
    assert real.asset_pixels(f"{MODIS}/2020_06_09").status_code == 404


def test_files_of_one_date_are_one_image(real):
    asset = real.get("projects/earthengine-public/assets/local/field/20190127").json()
    assert [band["id"] for band in asset["bands"]] == ["B4", "B8", "SCL"]
    assert asset["startTime"] == "2019-01-27T00:00:00Z"
    assert "endTime" not in asset
    array = loaded(real.asset_pixels("projects/earthengine-public/assets/local/field/20190127"))
    with rasterio.open(FIELD_IMAGES / "20190127_scl.tif") as dataset:
        np.testing.assert_array_equal(array["SCL"], dataset.read(1))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("readme.tif", "is not named"), ("20201399.tif", "does not exist"), ("2020-01-27.tif", "writes its date unlike")],
)
def test_a_malformed_folder_is_refused_by_the_name_of_the_file(tmp_path, name, complaint):
    source = next(iter(FIELD_IMAGES.glob("*_scl.tif")), None)
    if source is None:
        pytest.skip("the real images are not beside this checkout")
    shutil.copy(source, tmp_path / "20200127_scl.tif")
    shutil.copy(source, tmp_path / name)
    with pytest.raises(MountError, match=complaint) as caught:
        Emulator(catalogs=[f"my/id={tmp_path}"])
    assert name.removesuffix(".tif") in str(caught.value)


def test_files_that_are_no_images_and_bands_that_come_twice_are_refused(tmp_path):
    (tmp_path / "20200127.tif").write_bytes(b"not a picture")
    with pytest.raises(MountError, match=r"20200127\.tif cannot be read"):
        Emulator(catalogs=[f"my/id={tmp_path}"])
    with pytest.raises(MountError, match="is not a folder"):
        Emulator(catalogs=[f"my/id={tmp_path / 'missing'}"])


def test_bands_without_descriptions_are_numbered_and_nodata_is_the_mask(tmp_path):
    profile = {"driver": "GTiff", "width": 4, "height": 3, "count": 2, "dtype": "float32", "crs": "EPSG:32632"}
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    values[0, 1, 1] = np.nan
    transform = rasterio.Affine(10, 0, 6e5, 0, -10, 5e6)
    with rasterio.open(tmp_path / "2020-06-01.tif", "w", **profile, transform=transform, nodata=np.nan) as dataset:
        dataset.write(values)
    with Emulator(catalogs=[str(tmp_path)]) as running:
        rest = Rest(running.url)
        name = f"projects/earthengine-public/assets/local/{tmp_path.name}/2020-06-01"
        array = loaded(rest.asset_pixels(name))
        assert array.dtype.names == ("b1", "b2")
        assert array["b1"][1, 1] == 0
        np.testing.assert_array_equal(array["b2"], values[1])
        assert "did not match any bands" in message(rest.asset_pixels(name, bandIds=["b9"]))
