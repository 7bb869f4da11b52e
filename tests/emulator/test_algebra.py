"""Image arithmetic, types, masks and reducers against numpy."""

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.functions.regions import coverage
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Positional, Raster, render
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band, Image

PLANE = Projection(Crs("EPSG:32632"), (10.0, 0.0, 6e5, 0.0, -10.0, 5e6))


def whole(height, width):
    return Grid(PLANE, row=0, col=0, height=height, width=width)


def from_array(values, mask=None, name="b"):
    """An image whose pixels are an array's."""
    mask = np.ones(values.shape, np.float32) if mask is None else mask.astype(np.float32)

    def read(grid):
        window = (slice(grid.row, grid.row + grid.height), slice(grid.col, grid.col + grid.width))
        return Raster(values[window], mask[window])

    extent = whole(*values.shape)
    return Image((Band(name, type_of_dtype(values.dtype), Positional(read), PLANE, extent),))


def pixels(image, shape):
    (raster,) = render([band.node for band in image.bands], whole(*shape))
    return raster


def run(name, **arguments):
    return registry.call(name, arguments)


SHORTS = np.array([[-32768, -3, 0, 2], [7, 100, 32767, 5]], np.int16)
OTHERS = np.array([[-32768, 2, 0, -2], [0, 3, 32767, 5]], np.int16)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("add", np.add), ("subtract", np.subtract), ("multiply", np.multiply), ("min", np.minimum), ("max", np.maximum),
        ("eq", np.equal), ("neq", np.not_equal), ("lt", np.less), ("gte", np.greater_equal), ("and", np.logical_and),
        ("or", np.logical_or), ("bitwiseAnd", np.bitwise_and), ("bitwiseOr", np.bitwise_or),
    ],
)  # fmt: skip
def test_whole_numbers_never_overflow(name, oracle):
    result = pixels(run(f"Image.{name}", image1=from_array(SHORTS), image2=from_array(OTHERS)), (2, 4))
    np.testing.assert_array_equal(result.values, oracle(SHORTS.astype(np.int64), OTHERS.astype(np.int64)))
    assert result.values.dtype.kind in "iu"


def test_division_gives_floats_and_zero_by_zero():
    image = run("Image.divide", image1=from_array(SHORTS), image2=from_array(OTHERS))
    result = pixels(image, (2, 4))
    expected = np.divide(SHORTS, OTHERS, out=np.zeros(SHORTS.shape), where=OTHERS != 0).astype(np.float32)
    assert image.bands[0].type.precision == "float"
    np.testing.assert_array_equal(result.values, expected)
    assert (result.mask == 1).all()


def test_a_double_constant_makes_doubles_and_names_come_from_the_longer_image():
    image = run("Image.multiply", image1=from_array(SHORTS, name="NDVI"), image2=0.0001)
    assert image.names == ["NDVI"]
    np.testing.assert_array_equal(pixels(image, (2, 4)).values, SHORTS * 0.0001)
    two = run("Image.addBands", dstImg=from_array(SHORTS, name="x"), srcImg=from_array(OTHERS, name="x"))
    assert two.names == ["x", "x_1"]
    assert run("Image.add", image1=1, image2=two).names == ["x", "x_1"]
    assert run("Image.add", image1=two, image2=1).properties == {}


def test_bands_of_the_same_names_meet_by_name():
    first = run("Image.addBands", dstImg=from_array(SHORTS, name="a"), srcImg=from_array(OTHERS, name="b"))
    second = run("Image.select", input=first, bandSelectors=["b", "a"])
    difference = run("Image.subtract", image1=first, image2=second)
    assert all((raster.values == 0).all() for raster in render([band.node for band in difference.bands], whole(2, 4)))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("toByte", 300.7, 255), ("toByte", -3.9, 0), ("toInt8", -3.9, -3), ("int", 7.99, 7), ("toUint16", 70000, 65535),
     ("toInt64", 1e300, 9223372036854774784), ("float", 0.1, np.float32(0.1))],
)  # fmt: skip
def test_casts_cut_and_clamp(name, value, expected):
    assert pixels(run(f"Image.{name}", value=value), (1, 1)).values[0, 0] == expected


def test_masks_multiply_and_unmask_fills_only_the_footprint():
    half = np.array([[0.5, 1.0, 0.0, 1.0]], np.float32)
    image = from_array(np.array([[1, 2, 3, 4]], np.uint8), half)
    updated = pixels(run("Image.updateMask", image=image, mask=from_array(np.array([[1, 0, 1, 9]], np.uint8))), (1, 4))
    np.testing.assert_array_equal(updated.mask, [[0.5, 0, 0, 1]])
    shown = pixels(run("Image.mask", image=image), (1, 4))
    np.testing.assert_array_equal(shown.values, half)
    assert (shown.mask == 1).all()
    padded = Grid(PLANE, row=0, col=-1, height=1, width=3)
    wide = from_array(np.array([[1, 2, 3, 4]], np.uint8), np.zeros((1, 4)))
    kept = run("Image.unmask", input=_bounded(wide), value=9)
    (inside,) = render([kept.bands[0].node], padded)
    np.testing.assert_array_equal(inside.values * (inside.mask > 0), [[0, 9, 9]])
    everywhere = run("Image.unmask", input=_bounded(wide), value=9, sameFootprint=False)
    (outside,) = render([everywhere.bands[0].node], padded)
    np.testing.assert_array_equal(outside.values, [[9, 9, 9]])


def _bounded(image):
    """The same image, masked outside of its array instead of failing there."""
    band = image.bands[0]

    def read(grid):
        cols = np.arange(grid.col, grid.col + grid.width)
        return Raster(np.zeros(grid.shape, np.uint8), np.zeros((grid.height, cols.size), np.float32))

    return image.with_bands([band.computed(Positional(read))])


def test_normalized_difference_masks_negative_input():
    two = run("Image.addBands", dstImg=from_array(SHORTS, name="n"), srcImg=from_array(OTHERS, name="r"))
    image = run("Image.normalizedDifference", input=two)
    result = pixels(image, (2, 4))
    a, b = SHORTS.astype(float), OTHERS.astype(float)
    assert image.names == ["nd"]
    np.testing.assert_array_equal(result.mask > 0, (a >= 0) & (b >= 0))
    valid = (a >= 0) & (b >= 0) & (a + b != 0)
    np.testing.assert_array_equal(
        result.values[valid], ((a - b) / np.where(a + b == 0, 1, a + b)).astype(np.float32)[valid]
    )


def test_what_is_not_a_number_is_masked():
    result = pixels(run("Image.log", value=from_array(np.array([[-1.0, 0.0, 1.0]]))), (1, 3))
    np.testing.assert_array_equal(result.mask, [[0, 0, 1]])


def test_where_and_remap():
    base = from_array(np.array([[1, 2, 3, 4]], np.uint8))
    test = from_array(np.array([[0, 1, 1, 1]], np.uint8), np.array([[1, 1, 0, 1]]))
    result = pixels(run("Image.where", input=base, test=test, value=200.5), (1, 4))
    np.testing.assert_array_equal(result.values, [[1, 200.5, 3, 200.5]])
    mapped = pixels(run("Image.remap", image=base, **{"from": [4, 2], "to": [40, 20]}), (1, 4))
    np.testing.assert_array_equal(mapped.values, [[0, 20, 0, 40]])
    np.testing.assert_array_equal(mapped.mask, [[0, 1, 0, 1]])


@given(
    row=st.integers(-20, 40), col=st.integers(-20, 40), height=st.integers(1, 30), width=st.integers(1, 30),
    mode=st.sampled_from(["nearest", "bilinear", "bicubic", "reproject", "clip"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_window_computed_alone_equals_the_window_of_the_whole(simulated, row, col, height, width, mode):
    from airflow_ee.emulator.session import Session

    session = Session(simulated.catalog, registry, simulated.clock.now())
    image = session.call("Image.load", {"id": "MODIS/061/MOD13Q1/2020_06_09"})
    image = session.call("Image.select", {"input": image, "bandSelectors": ["NDVI", "EVI"]})
    if mode in ("bilinear", "bicubic"):
        image = session.call("Image.resample", {"image": image, "mode": mode})
    elif mode == "reproject":
        image = session.call("Image.reproject", {"image": image, "crs": "EPSG:4326", "scale": 400})
    elif mode == "clip":
        circle = session.call(
            "Geometry.buffer",
            {"geometry": session.call("GeometryConstructors.Point", {"coordinates": [11.3, 46.4]}), "distance": 3000},
        )
        image = session.call("Image.clip", {"input": image, "geometry": circle})
    plane = Projection(Crs("EPSG:32632"), (97.0, 3.0, 675000.0, 2.0, -101.0, 5143000.0))
    large = Grid(plane, row=-20, col=-20, height=90, width=90)
    nodes = [band.node for band in image.bands]
    wholes = render(nodes, large)
    parts = render(nodes, Grid(plane, row=row, col=col, height=height, width=width))
    window = (slice(row + 20, row + 20 + height), slice(col + 20, col + 20 + width))
    for part, complete in zip(parts, wholes, strict=True):
        np.testing.assert_array_equal(part.values, complete.values[window])
        np.testing.assert_array_equal(part.mask, complete.mask[window])


def reducer(name, **arguments):
    return run(f"Reducer.{name}", **arguments)


def test_masked_images_take_no_part_in_a_composite():
    stack = [
        from_array(np.array([[value, 9]], np.int16), np.array([[mask, 0]])) for value, mask in [(5, 1), (7, 0), (8, 1)]
    ]
    collection = run("ImageCollection.fromImages", images=stack)
    mean = pixels(run("reduce.mean", collection=collection), (1, 2))
    np.testing.assert_array_equal(mean.values, [[6.5, 0]])
    np.testing.assert_array_equal(mean.mask, [[1, 0]])
    np.testing.assert_array_equal(pixels(run("reduce.count", collection=collection), (1, 2)).values, [[2, 0]])
    np.testing.assert_array_equal(pixels(run("ImageCollection.mosaic", collection=collection), (1, 2)).values[0, 0], 8)
    quality = pixels(run("ImageCollection.qualityMosaic", collection=collection, qualityBand="b"), (1, 2))
    assert quality.values[0, 0] == 8
    both = registry.call(
        "Reducer.combine", {"reducer1": reducer("mean"), "reducer2": reducer("minMax"), "sharedInputs": True}
    )
    assert run("ImageCollection.reduce", collection=collection, reducer=both).names == ["b_mean", "b_min", "b_max"]


def test_coverage_is_the_exact_intersection():
    shape = shapely.Polygon([(600003, 4999991), (600041, 4999955), (600017, 4999907)])
    grid = whole(12, 8)
    cover = coverage(grid, Geometry(shape, PLANE.crs))
    for row in range(12):
        for col in range(8):
            box = shapely.box(*grid.window(row=row, col=col, height=1, width=1).bounds)
            assert cover[row, col] == pytest.approx(shape.intersection(box).area / 100, abs=1e-12)
    assert cover.sum() * 100 == pytest.approx(shape.area)


def test_region_statistics_weigh_the_edge_by_coverage():
    values = np.arange(96, dtype=np.int16).reshape(12, 8)
    mask = np.ones((12, 8), np.float32)
    mask[2, 2] = 0
    region = Geometry(shapely.Polygon([(600003, 4999991), (600041, 4999955), (600017, 4999907)]), PLANE.crs)
    cover = np.minimum(coverage(whole(12, 8), region), mask)
    cover[cover < 0.005] = 0
    arguments = {"image": from_array(values, mask), "geometry": region}
    assert run("Image.reduceRegion", reducer=reducer("mean"), **arguments)["b"] == pytest.approx(
        (values * cover).sum() / cover.sum()
    )
    assert run("Image.reduceRegion", reducer=reducer("sum"), **arguments)["b"] == pytest.approx((values * cover).sum())
    x, y = whole(12, 8).centres()
    centred = shapely.contains_xy(region.shape, *np.broadcast_arrays(x, y)) & (mask > 0)
    assert run("Image.reduceRegion", reducer=reducer("count"), **arguments)["b"] == centred.sum()
    assert run("Image.reduceRegion", reducer=reducer("max"), **arguments)["b"] == values[centred].max()
    nothing = from_array(values, np.zeros((12, 8)))
    assert run("Image.reduceRegion", reducer=reducer("mean"), image=nothing, geometry=region) == {"b": None}
