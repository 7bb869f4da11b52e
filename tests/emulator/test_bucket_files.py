"""Images straight from files of a bucket, through Google's client: GeoTIFFs and Zarr arrays, against rasterio and numpy."""

import json

import numpy as np
import pytest
import zarr

from .test_external_images import VALUES, cog
from .test_imports import geotiff
from .test_official_client import initialised

AFFINE = [10, 0, 600_000, 0, -10, 5_100_000]
CUBE = np.arange(3 * 2 * 40 * 50, dtype="float32").reshape(3, 2, 40, 50)


@pytest.fixture
def bucket(emulator):
    folder = emulator.root / "gs" / "b"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def ee(emulator):
    return initialised(emulator.url)


def array_of(folder, name, values, compressor="default", **options):
    """A Zarr array as other programs write it, with its group's metadata."""
    group = zarr.open_group(str(folder), mode="a", zarr_format=2)
    given = {} if compressor == "default" else {"compressors": compressor}
    array = group.create_array(
        name, shape=values.shape, chunks=(*([1] * (values.ndim - 2)), 16, 16), dtype=values.dtype, **given, **options
    )
    array[...] = values
    array.attrs["_ARRAY_DIMENSIONS"] = [*"tvzw"[: values.ndim - 2], "y", "x"]
    zarr.consolidate_metadata(group.store, zarr_format=2)
    return f"gs://b/{folder.name}/{name}/.zarray"


def pixels_of(ee, image, rows=40, cols=50):
    grid = {
        "dimensions": {"width": cols, "height": rows},
        "affineTransform": {"scaleX": 10, "translateX": 600_000, "scaleY": -10, "translateY": 5_100_000},
        "crsCode": "EPSG:32632",
    }
    return ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid})


def test_a_cloud_optimized_geotiff_is_an_image(bucket, ee):
    cog(bucket / "c.tif", VALUES, nodata=7)
    image = ee.Image.loadGeoTIFF("gs://b/c.tif")
    shown = image.getInfo()
    assert [band["id"] for band in shown["bands"]] == ["red", "nir"]
    assert shown["bands"][0]["dimensions"] == [600, 700]
    assert shown["bands"][0]["crs_transform"] == AFFINE
    found = pixels_of(ee, image, 700, 600)
    np.testing.assert_array_equal(found["red"], np.where(VALUES[0] == 7, 0, VALUES[0]))
    np.testing.assert_array_equal(found["nir"], VALUES[1])
    masks = pixels_of(ee, image.mask(), 700, 600)
    np.testing.assert_array_equal(masks["red"], VALUES[0] != 7)


def test_geotiffs_that_cannot_be_are_refused(bucket, ee):
    geotiff(bucket / "plain.tif", VALUES[:1])
    (bucket / "broken.tif").write_bytes(b"II*\0nothing")
    for uri, complaint in [
        ("gs://b/plain.tif", "is not a Cloud Optimized GeoTIFF"),
        ("gs://b/broken.tif", "Unable to read gs://b/broken.tif"),
        ("gs://b/gone.tif", "Unable to open gs://b/gone.tif"),
        ("gs://b/../../x.tif", "."),
        ("https://example.org/a.tif", "Invalid Cloud Storage URI"),
    ]:
        with pytest.raises(ee.EEException, match=complaint):
            ee.Image.loadGeoTIFF(uri).getInfo()


def test_a_zarr_array_is_an_image_of_its_slices(bucket, ee):
    uri = array_of(bucket / "cube.zarr", "ndvi", CUBE, fill_value=33.0)
    projection = ee.Projection("EPSG:32632", AFFINE)
    image = ee.Image.loadZarrV2Array(uri, projection)
    assert image.bandNames().getInfo() == [f"ndvi_{t}_{v}" for t in range(3) for v in range(2)]
    found, masks = pixels_of(ee, image), pixels_of(ee, image.mask())
    for t in range(3):
        for v in range(2):
            expected = np.where(CUBE[t, v] == 33, 0, CUBE[t, v])
            np.testing.assert_array_equal(found[f"ndvi_{t}_{v}"], expected)
            np.testing.assert_array_equal(masks[f"ndvi_{t}_{v}"], CUBE[t, v] != 33)
    part = ee.Image.loadZarrV2Array(uri, projection, [-1, None], [None, 1])
    assert part.bandNames().getInfo() == ["ndvi_2_0"]
    assert part.projection().getInfo()["transform"] == AFFINE


def test_a_zarr_array_is_a_collection_along_an_axis(bucket, ee):
    uri = array_of(bucket / "cube.zarr", "ndvi", CUBE)
    projection = ee.Projection("EPSG:32632", AFFINE)
    along_time = ee.ImageCollection.loadZarrV2Array(uri, projection)
    assert along_time.size().getInfo() == 3
    assert along_time.first().bandNames().getInfo() == ["ndvi_0", "ndvi_1"]
    np.testing.assert_array_equal(pixels_of(ee, along_time.sum())["ndvi_1"], CUBE.sum(axis=0)[1])
    other = ee.ImageCollection.loadZarrV2Array(uri, projection, 1, [1, None])
    assert other.size().getInfo() == 2
    assert other.first().bandNames().getInfo() == ["ndvi_1", "ndvi_2"]
    with pytest.raises(ee.EEException, match="axis 2 is not one of the 2 non-spatial axes"):
        ee.ImageCollection.loadZarrV2Array(uri, projection, 2).size().getInfo()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "<i4", ">f8"])
def test_a_plane_of_any_type_is_one_band(bucket, ee, dtype):
    values = (CUBE[0, 0] % 200).astype(dtype)
    values[3, 4] = 0
    image = ee.Image.loadZarrV2Array(
        array_of(bucket / "p.zarr", "v", values, fill_value=None), ee.Projection("EPSG:32632", AFFINE)
    )
    assert image.bandNames().getInfo() == ["v"]
    np.testing.assert_array_equal(pixels_of(ee, image)["v"], values)


def test_not_a_number_is_masked(bucket, ee):
    values = CUBE[0, 0].copy()
    values[2, 3] = np.nan
    uri = array_of(bucket / "n.zarr", "v", values)
    mask = pixels_of(ee, ee.Image.loadZarrV2Array(uri, ee.Projection("EPSG:32632", AFFINE)).mask())["v"]
    assert mask[2, 3] == 0


def test_arrays_that_cannot_be_are_refused(bucket, ee):
    projection = ee.Projection("EPSG:32632", AFFINE)

    def refusal(uri, *arguments):
        with pytest.raises(ee.EEException) as caught:
            ee.Image.loadZarrV2Array(uri, projection, *arguments).getInfo()
        return str(caught.value)

    uri = array_of(bucket / "c.zarr", "v", CUBE)
    assert "starts must have 2 elements, got 1" in refusal(uri, [0])
    assert "whole numbers or null" in refusal(uri, [0.5, 0])
    assert "must be that of a .zarray file" in refusal("gs://b/c.zarr/v")
    assert "there is no such object" in refusal("gs://b/c.zarr/w/.zarray")
    folder = bucket / "c.zarr" / "v"
    described = json.loads((folder / ".zarray").read_text())
    for change, complaint in [
        ({"compressor": {"id": "blosc", "cname": "blosclz"}}, "the codec blosc blosclz is not supported"),
        ({"compressor": {"id": "bz2"}}, "the codec bz2 is not supported"),
        ({"dtype": "|S3"}, "its values are no numbers"),
        ({"zarr_format": 3}, "must be an array of Zarr version 2"),
    ]:
        (folder / ".zarray").write_text(json.dumps({**described, **change}))
        assert complaint in refusal(uri)
    (folder / ".zarray").write_text(json.dumps(described))
    (folder / ".zattrs").write_text("{}")
    assert "_ARRAY_DIMENSIONS must name its 4 dimensions" in refusal(uri)
    (folder / ".zattrs").unlink()
    assert ".zattrs is missing, or is no JSON" in refusal(uri)
    (folder / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["t", "v", "y", "x"]}')
    (bucket / "c.zarr" / ".zmetadata").unlink()
    assert "there is no .zmetadata in the folder above the array's" in refusal(uri)
