"""Whatever the grid, its tiles are the whole, and every pixel lies where rasterio says that it lies."""

import math
import os
import threading
from dataclasses import replace

import numpy as np
import pyproj
import pytest
import rasterio.transform
from affine import Affine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_ee.core.expression import Expression, constant, invoke
from airflow_ee.core.fetch import PixelFetcher
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.pixels import PixelSource, fetch_image
from airflow_ee.core.resources import Band
from airflow_ee.core.settings import Limits
from airflow_ee.emulator import Emulator
from tests.core import jobs

EXAMPLES = int(os.environ.get("AIRFLOW_EE_GRIDS", "15"))
LAEA = pyproj.CRS("+proj=laea +lat_0=-20 +lon_0=31.5 +x_0=1234.5 +ellps=bessel +units=m +no_defs")
CRSS = {
    "EPSG:32633": ("EPSG:32633", 500_000.0, 5_000_000.0, 30.0),
    "SR-ORG:6974": (
        "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs",
        -6_050_632.4,
        -1_334_340.6,
        231.656,
    ),
    "EPSG:4326": ("EPSG:4326", 12.3, 47.1, 0.001),
    LAEA.to_wkt("WKT1_GDAL"): (LAEA, 1234.5, 0.0, 100.0),
}
"""What requests name, what pyproj is told, a place where the projection is good, and metres or degrees of a pixel."""
CASTS = {
    "uint8": ("Image.toUint8", 200), "int8": ("Image.toInt8", 100), "uint16": ("Image.toUint16", 60_000),
    "int16": ("Image.toInt16", 30_000), "uint32": ("Image.toUint32", 3e9), "int32": ("Image.toInt32", 2e9),
    "float32": ("Image.toFloat", 1e5), "float64": ("Image.toDouble", 1e5),
}  # fmt: skip


FINE = 771_234.56789
"""Steps in a degree: every pixel has a number of its own."""


@st.composite
def grids(draw):
    crs = draw(st.sampled_from(list(CRSS)))
    _, x, y, size = CRSS[crs]
    size *= draw(st.floats(0.2, 20))
    turn = math.radians(draw(st.sampled_from([0.0, 90.0, 180.0, -37.5]) | st.floats(-180, 180)))
    shear, ratio = draw(st.floats(-0.7, 0.7)), draw(st.floats(0.3, 3)) * draw(st.sampled_from([1, -1]))
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) @ [[1, shear], [0, ratio]]
    (a, b), (d, e) = matrix * size
    origin = x + draw(st.floats(-50, 50)) * size, y + draw(st.floats(-50, 50)) * size
    width, height = draw(st.integers(1, 45)), draw(st.integers(1, 45))
    return PixelGrid(crs=crs, transform=(a, b, origin[0], d, e, origin[1]), width=width, height=height)


def call(name, **arguments):
    return invoke(
        name, **{key: value if isinstance(value, dict) else constant(value) for key, value in arguments.items()}
    )


def degrees(name):
    return call("Image.select", input=call("Image.pixelLonLat"), bandSelectors=[name])


def typed(index, dtype):
    """Whole or real numbers that change from pixel to pixel, of a type, masked in stripes of their own."""
    cast, size = CASTS[dtype]
    fine = call(
        "Image.multiply",
        image1=degrees(("longitude", "latitude")[index % 2]),
        image2=call("Image.constant", value=FINE + index),
    )
    piece = call("Image.mod", image1=call("Image.abs", value=fine), image2=call("Image.constant", value=size))
    stripes = call("Image.mod", image1=call("Image.abs", value=fine), image2=call("Image.constant", value=50 + index))
    mask = call("Image.gt", image1=stripes, image2=call("Image.constant", value=20))
    return call(
        "Image.rename", input=call("Image.updateMask", image=call(cast, value=piece), mask=mask), names=[f"band{index}"]
    )


def source(dtypes, masks="each"):
    """Longitude and latitude, then bands of these types."""
    image = degrees("longitude")
    for each in [degrees("latitude"), *(typed(index, dtype) for index, dtype in enumerate(dtypes))]:
        image = call("Image.addBands", dstImg=image, srcImg=each)
    names = ["longitude", "latitude", *(f"band{index}" for index in range(len(dtypes)))]
    bands = tuple(
        Band(id=name, dtype=np.dtype(dtype)) for name, dtype in zip(names, ["f8", "f8", *dtypes], strict=True)
    )
    return PixelSource(expression=Expression.parse({"result": "0", "values": {"0": image}}), bands=bands, masks=masks)


def fetched(client, image, grid):
    """Values and masks of the whole grid, and of how many tiles they came; a pixel that comes twice or never is an error."""
    values = [np.zeros(grid.shape, band.dtype) for band in image.bands]
    masks = [np.zeros(grid.shape, np.uint8) for _ in image.bands]
    seen, lock = np.zeros(grid.shape, int), threading.Lock()

    def deliver(tile, block, _):
        with lock:
            seen[tile.slices] += 1
        for index in range(len(values)):
            values[index][tile.slices] = block.values[index]
            masks[index][tile.slices] = block.valid[index]

    fetcher = PixelFetcher(client)
    fetch_image(fetcher, image, grid, deliver)
    assert (seen == 1).all()
    return values, masks, fetcher.progress.tiles


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with Emulator(root=tmp_path_factory.mktemp("root"), requests_per_second=None) as running:
        yield running.url


MANY = PixelGrid(crs="EPSG:32633", transform=(21.2, 21.2, 5e5, 21.2, -21.2, 5e6), width=40, height=37)


@given(
    grid=grids(),
    dtypes=st.lists(st.sampled_from(list(CASTS)), max_size=6),
    tile_pixels=st.integers(20, 700),
    limit=st.none() | st.integers(16, 300),
)
@example(grid=MANY, dtypes=list(CASTS), tile_pixels=100, limit=None)
@example(grid=MANY, dtypes=list(CASTS), tile_pixels=1000, limit=60)
@example(grid=replace(MANY, width=1, height=200), dtypes=["uint8"], tile_pixels=20, limit=None)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_whole_image_equals_its_tiles_and_lies_where_rasterio_says(url, grid, dtypes, tile_pixels, limit):
    image = source(dtypes)
    with jobs.connected(url, limits=Limits()) as client:
        whole, whole_masks, count = fetched(client, image, grid)
    assert count == 1
    limits = Limits(
        target_bytes=tile_pixels * image.bytes_per_pixel,
        max_request_bytes=(limit or 10**6) * image.bytes_per_pixel,
        floor_side=4,
    )
    with jobs.connected(url, limits=limits) as client:
        tiles, tile_masks, count = fetched(client, image, grid)
    assert count >= math.ceil(grid.pixels / min(tile_pixels, limit or tile_pixels))
    check_same(image, (whole, whole_masks), (tiles, tile_masks))
    check_place(grid, whole)


def check_same(image, whole, tiles):
    """Equal, but for what a tile's corner is rounded by, in the last of sixteen digits: next to a step it may lead to the other side."""
    for index, band in enumerate(image.bands):
        near, sure = (1e-4, sure_of(index - 2, whole[0])) if index > 1 else (1e-11, slice(None))
        for one, other in zip((whole[0][index], whole[1][index]), (tiles[0][index], tiles[1][index]), strict=True):
            same = np.isclose(one, other, rtol=0, atol=near) if one.dtype == "f8" else one == other
            assert same[sure].all(), band


def sure_of(index, values):
    """Where a number is not next to a whole one, at which it steps or a stripe of the mask ends."""
    fine = np.abs(values[index % 2]) * (FINE + index)
    return np.abs(fine - np.rint(fine)) > 1e-6


def check_place(grid, values):
    """Longitude and latitude are those of the pixels' centres, by other people's arithmetic."""
    rows, cols = np.indices(grid.shape)
    xs, ys = rasterio.transform.xy(Affine(*grid.transform), rows.ravel(), cols.ravel(), offset="center")
    to_degrees = pyproj.Transformer.from_crs(CRSS[grid.crs][0], "EPSG:4326", always_xy=True)
    longitudes, latitudes = to_degrees.transform(np.asarray(xs), np.asarray(ys))
    assert np.allclose(values[0].ravel(), longitudes, rtol=0, atol=1e-9)
    assert np.allclose(values[1].ravel(), latitudes, rtol=0, atol=1e-9)


@pytest.mark.parametrize("fault", ["memory over=150px", "timeout over=99px"])
@given(grid=grids(), dtypes=st.lists(st.sampled_from(list(CASTS)), max_size=3))
@settings(
    max_examples=max(EXAMPLES // 4, 5), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_quarters_of_what_was_too_much_are_the_whole_too(url, emulator, fault, grid, dtypes):
    image = source(dtypes)
    emulator.clear_faults()
    emulator.inject(jobs.METHOD, fault)
    with jobs.connected(url, limits=Limits()) as client:
        whole, masks, _ = fetched(client, image, grid)
    with jobs.connected(emulator.url, limits=Limits(floor_side=4), requests_per_second=90) as client:
        pieces, piece_masks, _ = fetched(client, image, grid)
    check_same(image, (whole, masks), (pieces, piece_masks))
