"""Regions: which pixels they take, what these weigh, what the results are called, and what is refused."""

import numpy as np
import pytest

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Positional, Raster, Reprojected
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band, Image

PLANE = Projection(Crs("EPSG:32632"), (10.0, 0.0, 6e5, 0.0, -10.0, 5e6))
SIZE = 6

VALUES = np.arange(SIZE * SIZE, dtype=np.int16).reshape(SIZE, SIZE)
"""Row by row 0 to 35, one pixel every 10 m."""


def image_of(**bands):
    """An image of arrays, or of pairs of arrays: values and masks."""
    made = []
    for name, content in bands.items():
        values, mask = content if isinstance(content, tuple) else (content, np.ones(content.shape, np.float32))
        made.append(Band(name, type_of_dtype(values.dtype), _reader(values, mask), PLANE, _window()))
    return Image(tuple(made))


def _window():
    return Grid(PLANE, row=0, col=0, height=SIZE, width=SIZE)


def _reader(values, mask):
    def read(grid):
        rows, cols = np.arange(grid.row, grid.row + grid.height), np.arange(grid.col, grid.col + grid.width)
        inside = ((rows >= 0) & (rows < SIZE))[:, None] & ((cols >= 0) & (cols < SIZE))
        at = np.ix_(np.clip(rows, 0, SIZE - 1), np.clip(cols, 0, SIZE - 1))
        return Raster(values[at], (mask[at] * inside).astype(np.float32))

    return Reprojected(Positional(read), PLANE)


def square(left, top, right, bottom):
    """A region by pixel columns and rows, fractions allowed."""
    ring = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return polygon(*ring)


def polygon(*corners):
    import shapely

    return Geometry(shapely.Polygon([(6e5 + 10 * col, 5e6 - 10 * row) for col, row in corners]), PLANE.crs)


def point(col, row):
    import shapely

    return Geometry(shapely.Point(6e5 + 10 * col, 5e6 - 10 * row), PLANE.crs)


def reducer(name, **arguments):
    return registry.call(f"Reducer.{name}", arguments)


def both(one, two):
    return reducer("combine", reducer1=one, reducer2=two, sharedInputs=True)


def over(image, how, geometry, **arguments):
    return registry.call("Image.reduceRegion", {"image": image, "reducer": how, "geometry": geometry, **arguments})


ONE = image_of(b=VALUES)
TWO = image_of(x=VALUES, y=(VALUES * 2 + 1).astype(np.float32))
HALF = square(0, 0, 1.5, 1)
"""One pixel whole and half of its neighbour."""


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", (0 * 1 + 1 * 0.5) / 1.5), ("sum", 0.5), ("variance", 2 / 9), ("count", 1), ("countEvery", 1), ("max", 0),
        ("first", 0), ("last", 0), ("mode", 0), ("toList", [0]), ("frequencyHistogram", {"0": 1, "1": 0.5}),
        ("anyNonZero", 0), ("product", 0), ("median", 0.5),
    ],
)  # fmt: skip
def test_weighted_reducers_take_parts_of_pixels_and_others_whole_ones(how, expected):
    found = over(ONE, reducer(how), HALF)["b"]
    assert found == pytest.approx(expected) if isinstance(expected, float) else found == expected


def test_a_histogram_weighs_too():
    assert over(ONE, reducer("histogram"), HALF)["b"] == {
        "bucketMeans": [0, 1], "bucketMin": 0, "bucketWidth": 1, "histogram": [1, 0.5],
    }  # fmt: skip


def test_unweighted_takes_pixels_by_their_centre():
    wide = square(0, 0, 1.6, 1)
    assert over(ONE, reducer("mean"), wide)["b"] == pytest.approx(0.6 / 1.6)
    assert over(ONE, reducer("unweighted", reducer=reducer("mean")), wide)["b"] == 0.5


def test_less_than_half_a_percent_of_a_pixel_is_nothing_and_a_faint_mask_is_something():
    assert over(ONE, reducer("mean"), square(0, 0, 1.004, 1))["b"] == 0
    faint = image_of(b=(VALUES, np.full((SIZE, SIZE), 0.001, np.float32)))
    assert over(faint, reducer("mean"), square(0, 0, 2, 1))["b"] == pytest.approx(0.5)
    assert over(faint, reducer("sum"), square(1, 0, 2, 1))["b"] == pytest.approx(0.001)
    assert over(faint, reducer("count"), square(0, 0, 2, 1))["b"] == 2


def test_a_weight_is_the_lesser_of_mask_and_coverage():
    masked = image_of(b=(VALUES, np.full((SIZE, SIZE), 0.75, np.float32)))
    assert over(masked, reducer("sum"), HALF)["b"] == pytest.approx(0.75 * 0 + 0.5 * 1)
    assert over(masked, reducer("sum"), square(1, 0, 2, 1))["b"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("how", "empty"),
    [("mean", None), ("sum", 0), ("count", 0), ("max", None), ("first", None), ("median", None), ("toList", []),
     ("mode", None), ("stdDev", None), ("histogram", None), ("frequencyHistogram", {})],
)  # fmt: skip
@pytest.mark.parametrize("where", ["masked", "elsewhere"])
def test_where_nothing_is_valid(how, empty, where):
    image = image_of(b=(VALUES, np.zeros((SIZE, SIZE), np.float32))) if where == "masked" else ONE
    region = square(0, 0, 2, 2) if where == "masked" else square(40, 40, 42, 42)
    assert over(image, reducer(how), region) == {"b": empty}


@pytest.mark.parametrize(
    ("image", "how", "names"),
    [
        (ONE, reducer("mean"), ["b"]),
        (ONE, reducer("minMax"), ["b_min", "b_max"]),
        (ONE, reducer("percentile", percentiles=[5]), ["b"]),
        (TWO, reducer("mean"), ["x", "y"]),
        (TWO, both(reducer("mean"), reducer("stdDev")), ["x_mean", "x_stdDev", "y_mean", "y_stdDev"]),
        (TWO, reducer("linearFit"), ["scale", "offset"]),
        (TWO, reducer("repeat", reducer=reducer("mean"), count=2), ["mean"]),
        (TWO, reducer("group", reducer=reducer("mean"), groupField=1), ["groups"]),
        (TWO, reducer("toList", tupleSize=2), ["list"]),
        (TWO, reducer("forEachBand", reducer=reducer("mean"), image=TWO), ["x", "y"]),
    ],
)
def test_names_over_a_region(image, how, names):
    assert list(over(image, how, square(0, 0, 2, 2))) == names


@pytest.mark.parametrize(
    ("image", "how", "names"),
    [
        (ONE, reducer("mean"), ["mean"]),
        (ONE, reducer("minMax"), ["min", "max"]),
        (ONE, reducer("setOutputs", reducer=reducer("mean"), outputs=["average"]), ["average"]),
        (TWO, reducer("mean"), ["x", "y"]),
        (TWO, reducer("minMax"), ["x_min", "x_max", "y_min", "y_max"]),
        (TWO, reducer("linearFit"), ["scale", "offset"]),
    ],
)
def test_names_over_regions(image, how, names):
    regions = Collection(
        [Feature(square(0, 0, 2, 2), {"name": "a"}, "7"), Feature(point(3.5, 0.5), {"name": "b"}, "8")]
    )
    found = registry.call("Image.reduceRegions", {"image": image, "collection": regions, "reducer": how}).elements
    assert [list(each.properties) for each in found] == [["name", "system:index", *names]] * 2
    assert [(each.id, each.properties["name"]) for each in found] == [("7", "a"), ("8", "b")]
    assert found[0].geometry is regions.elements[0].geometry


def test_values_over_regions():
    regions = Collection([Feature(square(0, 0, 2, 2)), Feature(point(3.5, 0.5)), Feature(square(50, 50, 51, 51))])
    found = registry.call(
        "Image.reduceRegions", {"image": ONE, "collection": regions, "reducer": both(reducer("mean"), reducer("count"))}
    ).elements
    assert [(each.properties["mean"], each.properties["count"]) for each in found] == [(3.5, 4), (3, 1), (None, 0)]


def test_several_inputs_take_pixels_that_all_bands_have():
    mask = np.ones((SIZE, SIZE), np.float32)
    mask[0, 0] = 0
    image = image_of(x=(VALUES, mask), y=(VALUES * 3 + 5).astype(np.int16))
    fit = over(image, reducer("linearFit"), square(0, 0, 3, 1))
    assert fit == {"scale": pytest.approx(3), "offset": pytest.approx(5)}
    assert over(image, reducer("toList", tupleSize=2), square(0, 0, 3, 1))["list"] == [[1, 8], [2, 11]]
    assert over(image, reducer("max", numInputs=2), square(0, 0, 3, 1)) == {"max": 2, "max1": 11}


def test_zones():
    zones = (np.arange(36).reshape(6, 6) % 2).astype(np.uint8)
    image = image_of(b=VALUES, zone=zones)
    how = reducer("group", reducer=reducer("sum"), groupField=1, groupName="code")
    assert over(image, how, square(0, 0, 6, 1)) == {"groups": [{"code": 0, "sum": 6.0}, {"code": 1, "sum": 9.0}]}
    three = image_of(a=VALUES, b=VALUES, zone=zones)
    how = reducer("group", reducer=reducer("repeat", reducer=reducer("mean"), count=2), groupField=2)
    assert over(three, how, square(0, 0, 2, 1)) == {
        "groups": [{"group": 0, "mean": [0.0, 0.0]}, {"group": 1, "mean": [1.0, 1.0]}]
    }


def test_split_weights_take_the_second_band_as_weight():
    weights = np.zeros((SIZE, SIZE), np.float32)
    weights[0, :2] = [3, 1]
    image = image_of(b=VALUES, w=weights)
    found = over(image, reducer("splitWeights", reducer=reducer("mean")), square(0, 0, 6, 6))
    assert found == {"mean": pytest.approx(0.25)}


def test_points_and_lines_take_the_pixels_that_they_touch():
    import shapely

    assert over(ONE, reducer("mean"), point(2.2, 1.9))["b"] == 8
    assert over(ONE, reducer("first"), point(2, 2))["b"] == 14, "a point on an edge belongs to one pixel"
    many = Geometry(shapely.MultiPoint([(6e5 + 5, 5e6 - 5), (6e5 + 15, 5e6 - 15)]), PLANE.crs)
    assert over(ONE, reducer("sum"), many)["b"] == 7
    line = Geometry(shapely.LineString([(6e5 + 5, 5e6 - 5), (6e5 + 25, 5e6 - 5)]), PLANE.crs)
    assert over(ONE, reducer("sum"), line)["b"] == 3


def test_scale_and_transform_choose_the_lattice():
    coarse = over(ONE, reducer("count"), square(0, 0, 6, 6), scale=20)["b"]
    shifted = over(ONE, reducer("count"), square(0, 0, 6, 6), crsTransform=[30, 0, 6e5, 0, -30, 5e6])["b"]
    assert (coarse, shifted) == (9, 4)
    geographic = over(ONE, reducer("count"), square(0, 0, 6, 6), crs="EPSG:4326", scale=10)["b"]
    assert 30 < geographic < 60


def test_results_keep_their_kind():
    assert over(ONE, reducer("max"), square(0, 0, 6, 6)) == {"b": 35}
    assert isinstance(over(ONE, reducer("max"), square(0, 0, 6, 6))["b"], int)
    assert over(image_of(b=VALUES.astype(np.float32) / 4), reducer("min"), square(1, 0, 2, 1)) == {"b": 0.25}


def test_best_effort_makes_pixels_larger():
    assert over(ONE, reducer("count"), square(0, 0, 6, 6), maxPixels=9, bestEffort=True)["b"] <= 9


@pytest.mark.parametrize(
    ("image", "how", "arguments", "words"),
    [
        (ONE, reducer("mean"), {"maxPixels": 35}, "Image.reduceRegion: Too many pixels in the region. Found 36, but"),
        (ONE, reducer("mean"), {"scale": 10, "crsTransform": [1, 0, 0, 0, 1, 0]}, "both crsTransform and scale"),
        (ONE, reducer("mean"), {"tileScale": 17}, "tileScale"),
        (ONE, reducer("mean"), {"scale": 0}, "scale"),
        (ONE, reducer("linearFit"), {}, "Image.reduceRegion: Need 2 inputs for Reducer.linearFit, got 1."),
        (TWO, reducer("max", numInputs=3), {}, "Need 3 inputs for Reducer.max, got 2."),
    ],
)
def test_what_is_refused(image, how, arguments, words):
    with pytest.raises(Exception, match=words.replace("(", r"\(")):
        over(image, how, square(0, 0, 6, 6), **arguments)


def test_images_without_a_lattice_or_an_end_are_refused(refusal):
    words = refusal(lambda ee: ee.Image(1).reduceRegion("mean", ee.Geometry.Point([11, 46])))
    assert words.startswith("Image.reduceRegion: The default WGS84 projection is invalid for aggregations.")
    assert "must not be unbounded" in refusal(lambda ee: ee.Image(1).reduceRegion("mean", None, 100))


def test_a_constant_at_a_scale(evaluate):
    found = evaluate(lambda ee: ee.Image([3, 4.5]).reduceRegion("mean", ee.Geometry.Point([11, 46]), 30))
    assert found == {"constant": 3, "constant_1": 4.5}
