"""getPixels and computePixels over the wire: grids, formats, limits, and the words of refusals."""

import json

import numpy as np
import pytest
from rasterio.io import MemoryFile

from .conftest import UTM, call, graph, grid, image, loaded, message

MODIS = "projects/earthengine-public/assets/MODIS/061/MOD13Q1/2020_06_09"
NDVI = graph(call("Image.select", input=image("MODIS/061/MOD13Q1/2020_06_09"), bandSelectors=["NDVI"]))


def constant(value):
    return graph(call("Image.constant", value=value))


def test_an_npy_answer_is_a_structured_array_of_version_1(world):
    answer = world.compute(constant([1, 300, 0.5]), UTM)
    assert answer.content[:8] == b"\x93NUMPY\x01\x00"
    array = loaded(answer)
    assert array.shape == (6, 8)
    assert [array.dtype[name].str for name in array.dtype.names] == ["|u1", "<u2", "<f8"]
    assert answer.headers["x-earth-engine-emulator"] == "true"


def test_a_masked_pixel_is_zero_in_npy_and_nodata_in_geotiff(world):
    masked = graph(
        call("Image.updateMask", image=call("Image.constant", value=-7), mask=call("Image.constant", value=0))
    )
    assert not world.pixels(masked, UTM)["constant"].any()
    answer = world.compute(masked, UTM, fileFormat="GEO_TIFF")
    with MemoryFile(answer.content) as memory, memory.open() as dataset:
        assert dataset.crs.to_epsg() == 32632
        assert dataset.transform.c == 670000
        assert dataset.nodata == -128
        assert dataset.read(1, masked=True).mask.all()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # pictures have no place
@pytest.mark.parametrize(("file_format", "driver"), [("PNG", "PNG"), ("JPEG", "JPEG"), ("AUTO_JPEG_PNG", "PNG")])
def test_pictures_need_visualisation_options(world, file_format, driver):
    options = {"ranges": [{"min": 0, "max": 9000}], "paletteColors": ["brown", "yellow", "00ff00"]}
    wanted = grid("EPSG:32632", (660000, 5160000), 250, 64, 64)
    answer = world.compute(NDVI, wanted, fileFormat=file_format, visualizationOptions=options)
    with MemoryFile(answer.content) as memory, memory.open() as dataset:
        assert dataset.driver == driver
        assert dataset.shape == (64, 64)
        assert dataset.read(2).max() > 150
    assert "8-bit" in message(world.compute(NDVI, wanted, fileFormat=file_format))


def test_half_filled_grids_take_the_rest_from_asset_and_region(world):
    region = {"type": "Polygon", "coordinates": [[[11, 46], [11.2, 46], [11.2, 46.1], [11, 46.1], [11, 46]]]}
    fields = {"bandIds": ["NDVI"], "region": region}
    native = loaded(world.asset_pixels(MODIS, **fields))
    assert native.shape == (49, 74)
    sized = loaded(
        world.asset_pixels(MODIS, grid={"dimensions": {"width": 20, "height": 10}, "crsCode": "EPSG:4326"}, **fields)
    )
    assert sized.shape == (10, 20)
    same = loaded(world.compute(NDVI, grid("EPSG:4326", (11, 46.1), 0.01, 20, 10)))
    np.testing.assert_array_equal(sized, same)


def test_a_composite_without_a_grid_is_refused(world):
    collection = call("ImageCollection.load", id="MODIS/061/MOD13Q1")
    some = call("Collection.limit", collection=collection, limit=1)
    assert "Pixel grid must be specified" in message(world.compute(graph(call("reduce.mean", collection=some))))


def test_limits_have_the_words_of_the_service(world):
    def sized(width, height):
        return grid("EPSG:4326", (0, 50), 0.001, width, height)

    too_wide = world.compute(constant(1), sized(40818, 1))
    assert message(too_wide) == "Pixel grid dimensions (40818x1) must be less than or equal to 32768."
    two_bytes = constant(300)
    assert message(world.compute(two_bytes, sized(4096, 4097))) == (
        "Total request size (50343936 bytes) must be less than or equal to 50331648 bytes."
    )
    many = constant(list(range(1025)))
    assert "bands (1025)" in message(world.compute(many, UTM))


def test_exactly_the_limit_is_served(world):
    answer = world.compute(constant(300), grid("EPSG:4326", (0, 50), 0.001, 4096, 4096))
    assert loaded(answer).shape == (4096, 4096)


def test_a_long_payload_is_refused(world):
    text = message(world.compute(graph("x" * 10_485_760), UTM))
    assert text == "Request payload size exceeds the limit: 10485760 bytes."


def test_unknown_names_and_values_are_refused_field_by_field(world):
    answer = world.compute(constant(1), {**UTM, "origin": 1})
    assert message(answer) == "Invalid JSON payload received. Unknown name \"origin\" at 'grid': Cannot find field."
    (detail,) = answer.json()["error"]["details"]
    assert detail["fieldViolations"][0]["field"] == "grid"
    bad = (
        "Invalid value at 'file_format' (type.googleapis.com/google.earthengine.v1.ImageFileFormat), \"NUMPY_NDARRAY\""
    )
    assert message(world.compute(constant(1), UTM, fileFormat="NUMPY_NDARRAY")) == bad
    nan = world.session.post(
        f"{world.url}/v1/{world.project}/image:computePixels",
        data=json.dumps({"expression": {"result": "0", "values": {"0": {"constantValue": float("nan")}}}}),
        timeout=10,
    )
    assert message(nan) == "Invalid JSON payload received. Unexpected token."


def test_unknown_assets_and_bands_are_named(world):
    text = message(world.compute(graph(image("users/me/none")), UTM))
    assert text == (
        "Image.load: Image asset 'users/me/none' not found (does not exist or caller does not have access)."
    )
    assert "Available bands: [NDVI, EVI," in message(world.asset_pixels(MODIS, bandIds=["NDWI"]))
    name = "projects/earthengine-legacy/assets/users/me/none"
    assert message(world.get(name), 404) == (
        f"Permission 'earthengine.assets.get' denied on resource '{name}' (or it may not exist)."
    )


def test_an_empty_image_is_refused(world):
    far = call("GeometryConstructors.Rectangle", coordinates=[100, 60, 101, 61])
    name = "COPERNICUS/S2_SR_HARMONIZED/20200602T101036_20200602T101650_T32TPS"
    bands = call("Image.select", input=image(name), bandSelectors=["B4"])
    clipped = call("Image.clip", input=bands, geometry=far)
    assert "Image is empty" in message(world.compute(graph(clipped)))


def test_unknown_functions_are_named(world):
    answer = world.post(f"{world.project}/value:compute", {"expression": graph(call("Image.hypnotize", x=1))})
    assert message(answer) == "Image.hypnotize is not emulated"
    assert "Unrecognized argument name: colour" in message(
        world.post(f"{world.project}/value:compute", {"expression": graph(call("Image.constant", colour=1))})
    )
    assert "Parameter 'value' is required" in message(
        world.post(f"{world.project}/value:compute", {"expression": graph(call("Image.constant"))})
    )


def test_reprojections_that_are_too_large_are_refused(world):
    fine = call("Image.reproject", image=call("Image.constant", value=1), crs="EPSG:3857", scale=1)
    text = message(world.compute(graph(fine), grid("EPSG:4326", (0, 50), 1, 20, 20)))
    assert text.startswith("Reprojection output too large")
