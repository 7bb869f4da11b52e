"""Thumbnails, downloads, filmstrips and map tiles: the same pixels as computePixels, as files for people."""

import io
import zipfile

import numpy as np
import pytest
import requests
from rasterio.io import MemoryFile

from airflow_ee.emulator.api.maps import HALF_WORLD_METRES, tile_grid

from .conftest import UTM, call, graph, grid, image, loaded, message

# Pictures say nothing about where they lie.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

IMAGE = image("MODIS/061/MOD13Q1/2020_06_09")
NDVI = call("Image.select", input=IMAGE, bandSelectors=["NDVI"])
TWO = call("Image.select", input=IMAGE, bandSelectors=["NDVI", "SummaryQA"])
AREA = grid("EPSG:32632", (660000, 5160000), 250, 40, 30)
GREY = {"ranges": [{"min": 0, "max": 9000}]}


def created(world, kind, expression, **body):
    return world.post(f"{world.project}/{kind}", {"expression": graph(expression), **body})


def fetched(world, kind, expression, **body):
    answer = created(world, kind, expression, **body)
    assert answer.status_code == 200, answer.text
    action = "getFeatures" if kind == "tables" else "getPixels"
    return requests.get(f"{world.url}/v1/{answer.json()['name']}:{action}", timeout=30)


def layers(answer):
    assert answer.status_code == 200, answer.text
    with MemoryFile(answer.content) as memory, memory.open() as dataset:
        return dataset.read()


def test_a_thumbnail_is_named_by_a_secret_and_echoed(world):
    answer = created(world, "thumbnails", NDVI, fileFormat="PNG", grid=AREA, visualizationOptions=GREY)
    assert answer.json()["fileFormat"] == "PNG"
    assert answer.headers["x-earth-engine-emulator"] == "simulated"
    name = answer.json()["name"]
    assert (
        name
        == created(world, "thumbnails", NDVI, fileFormat="PNG", grid=AREA, visualizationOptions=GREY).json()["name"]
    )
    assert name.startswith("projects/demo-project/thumbnails/")
    guessed = name[:-1] + ("0" if name[-1] != "0" else "1")
    assert "not found" in message(requests.get(f"{world.url}/v1/{guessed}:getPixels", timeout=5), 404)


@pytest.mark.parametrize(
    "options", [GREY, {**GREY, "paletteColors": ["000080", "lime", "f00"]}, {**GREY, "gamma": {"value": 2}}]
)
def test_a_png_shows_what_compute_pixels_shows_and_its_mask_as_alpha(world, options):
    shown = layers(fetched(world, "thumbnails", NDVI, fileFormat="PNG", grid=AREA, visualizationOptions=options))
    expected = world.pixels(graph(NDVI), AREA, visualizationOptions=options)
    names = expected.dtype.names if len(expected.dtype.names) == 3 else expected.dtype.names * 3
    valid = world.pixels(graph(call("Image.mask", image=NDVI)), AREA)["NDVI"] > 0
    assert shown.shape == (4, 30, 40)
    np.testing.assert_array_equal(shown[3] > 0, valid)
    for layer, name in zip(shown[:3], names, strict=True):
        np.testing.assert_array_equal(layer[valid], expected[name][valid])


def test_a_picture_without_a_grid_is_512_pixels_of_the_footprint(world):
    shape = {"type": "Polygon", "coordinates": [[[11, 46], [11.4, 46], [11.4, 46.1], [11, 46.1], [11, 46]]]}
    clipped = call("Image.clip", input=NDVI, geometry=shape)
    assert layers(fetched(world, "thumbnails", clipped, fileFormat="PNG")).shape == (4, 128, 512)


def test_without_options_the_range_of_the_type_is_stretched(world):
    constant = call("Image.constant", value=0.5)
    assert set(layers(fetched(world, "thumbnails", constant, fileFormat="PNG", grid=UTM))[0].ravel()) == {128}


def test_downloads_are_the_pixels_of_compute_pixels(world):
    expected = world.pixels(graph(TWO), AREA)
    npy = loaded(fetched(world, "thumbnails", TWO, fileFormat="NPY", grid=AREA))
    np.testing.assert_array_equal(npy, expected)
    tiff = layers(fetched(world, "thumbnails", TWO, fileFormat="GEO_TIFF", grid=AREA))
    np.testing.assert_array_equal(tiff, layers(world.compute(graph(TWO), AREA, fileFormat="GEO_TIFF")))


def test_archives_hold_one_file_or_one_for_each_band(world):
    each = fetched(world, "thumbnails", TWO, fileFormat="ZIPPED_GEO_TIFF_PER_BAND", grid=AREA, filenamePrefix="a/../b")
    assert each.headers["content-disposition"] == 'attachment; filename="a_.._b.zip"'
    with zipfile.ZipFile(io.BytesIO(each.content)) as archive:
        assert archive.namelist() == ["a_.._b.NDVI.tif", "a_.._b.SummaryQA.tif"]
        with MemoryFile(archive.read("a_.._b.NDVI.tif")) as memory, memory.open() as dataset:
            assert dataset.dtypes == ("int16",)
            assert dataset.transform.c == 660000
    whole = fetched(world, "thumbnails", TWO, fileFormat="ZIPPED_GEO_TIFF", grid=AREA)
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert archive.namelist() == ["2020_06_09.tif"]
        with MemoryFile(archive.read("2020_06_09.tif")) as memory, memory.open() as dataset:
            assert dataset.descriptions == ("NDVI", "SummaryQA")
    made = fetched(world, "thumbnails", call("Image.constant", value=1), fileFormat="ZIPPED_GEO_TIFF", grid=UTM)
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        assert archive.namelist() == ["download.tif"]


def test_downloads_have_smaller_limits(world):
    wide = grid("EPSG:4326", (0, 50), 0.001, 10_001, 1)
    too_wide = fetched(world, "thumbnails", call("Image.constant", value=1), fileFormat="NPY", grid=wide)
    assert message(too_wide) == "Pixel grid dimensions (10001x1) must be less than or equal to 10000."
    large = grid("EPSG:4326", (0, 50), 0.001, 4097, 4096)
    answer = fetched(world, "thumbnails", call("Image.constant", value=1), fileFormat="NPY", grid=large)
    assert message(answer) == "Total request size (33562624 bytes) must be less than or equal to 33554432 bytes."


def test_what_cannot_be_drawn_is_refused_when_it_is_created(world):
    assert "must evaluate to an image" in message(created(world, "thumbnails", call("Date", value=0)))
    assert "Available bands" in message(created(world, "maps", NDVI, bandIds=["B4"]))
    assert "Unsupported file format" in message(created(world, "maps", NDVI, fileFormat="NPY"))
    assert "Expression must be specified" in message(world.post(f"{world.project}/maps"))
    tag = world.session.post(
        f"{world.url}/v1/{world.project}/maps?workloadTag=_", json={"expression": graph(NDVI)}, timeout=5
    )
    assert "workload tag" in message(tag)


def tile(world, name, zoom, x, y):
    return requests.get(f"{world.url}/v1/{name}/tiles/{zoom}/{x}/{y}", timeout=30)


def test_tiles_are_windows_of_one_lattice_at_every_zoom():
    for zoom in range(25):
        last = tile_grid(zoom, 2**zoom - 1, 2**zoom - 1)
        assert last.bounds[2] == pytest.approx(HALF_WORLD_METRES, abs=1e-6)
        assert last.bounds[1] == pytest.approx(-HALF_WORLD_METRES, abs=1e-6)
        left, right = tile_grid(zoom, 0, 0), tile_grid(zoom, min(1, 2**zoom - 1), 0)
        assert right.projection == left.projection


@pytest.mark.parametrize(("zoom", "x", "y"), [(0, 0, 0), (6, 34, 22), (9, 272, 182), (13, 4352, 2914)])
def test_a_tile_shows_the_pixels_of_its_place(world, zoom, x, y):
    name = created(world, "maps", NDVI, fileFormat="PNG", visualizationOptions=GREY).json()["name"]
    answer = tile(world, name, zoom, x, y)
    assert answer.headers["content-type"] == "image/png"
    shown = layers(answer)
    place = tile_grid(zoom, x, y).as_json()
    expected = world.pixels(graph(NDVI), place, visualizationOptions=GREY)["vis-gray"]
    valid = world.pixels(graph(call("Image.mask", image=NDVI)), place)["NDVI"] > 0
    np.testing.assert_array_equal(shown[0][valid], expected[valid])
    if not valid.all():
        np.testing.assert_array_equal(shown[-1] > 0, valid)


def test_unknown_maps_and_impossible_tiles(world):
    name = created(world, "maps", NDVI, visualizationOptions=GREY).json()["name"]
    assert message(tile(world, "projects/demo-project/maps/none", 0, 0, 0), 404).startswith("Map 'projects/")
    for zoom, x, y in [(1, 2, 0), (25, 0, 0), (3, 0, 8)]:
        assert "does not exist" in message(tile(world, name, zoom, x, y))
    assert "TYPE_INT32" in message(tile(world, name, 1, "a", 0))
    assert "TYPE_INT32" in message(tile(world, name, 1, -1, 0))


def test_a_filmstrip_puts_images_below_or_beside_each_other(world):
    values = [call("Image.constant", value=value) for value in (10, 200)]
    bytes_ = [call("Image.toByte", value=each) for each in values]
    strip = call("ImageCollection.fromImages", images={"arrayValue": {"values": bytes_}})
    down = layers(fetched(world, "filmstripThumbnails", strip, fileFormat="PNG", grid=UTM))
    assert down.shape == (4, 12, 8)
    assert (set(down[0][:6].ravel()), set(down[0][6:].ravel())) == ({10}, {200})
    beside = fetched(world, "filmstripThumbnails", strip, fileFormat="PNG", grid=UTM, orientation="HORIZONTAL")
    assert layers(beside).shape == (4, 6, 16)
    assert "1 to 500 images" in message(
        created(world, "filmstripThumbnails", call("ImageCollection.fromImages", images=[]), fileFormat="PNG")
    )
