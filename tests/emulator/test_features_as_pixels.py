"""Features drawn by reducers, distances to them, and error matrices."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.crs import WGS84, Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry, box
from airflow_ee.emulator.values.measures import segments
from airflow_ee.emulator.values.sphere import EARTH_RADIUS, vectors_of

from .test_neighbourhoods import PLANE, run, whole


def rectangle(left, top, right, bottom):
    """Pixels of the plane from one column and row to before others."""
    grid = whole(bottom - top, right - left, top, left)
    return box(grid.bounds, grid.projection.crs)


FIELDS = Collection([
    Feature(rectangle(0, 0, 4, 4), {"n": 1, "w": 1}),
    Feature(rectangle(2, 2, 6, 6), {"n": 5, "w": 3}),
    Feature(rectangle(3, 3, 4, 4), {"n": 3.5}),
    Feature(None, {"n": 100, "w": 1}),
])  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [("first", 1), ("mean", 19 / 6), ("count", 3), ("max", 5), ("sum", 9.5)])
def test_properties_are_reduced_at_each_pixel(name, value):
    image = run("Collection.reduceToImage", collection=FIELDS, properties=["n"], reducer=run(f"Reducer.{name}"))
    assert image.names == [name]
    (raster,) = render([image.bands[0].node], whole(8, 8))
    assert raster.values[3, 3] == pytest.approx(value)
    covered = np.zeros((8, 8), bool)
    covered[:4, :4] = covered[2:6, 2:6] = True
    np.testing.assert_array_equal(raster.mask > 0, covered)
    assert raster.values[0, 0] == 1


def test_several_properties_go_into_one_reducer():
    image = run("Collection.reduceToImage", collection=FIELDS, properties=["n", "w"], reducer=run("Reducer.linearFit"))
    assert image.names == ["scale", "offset"]
    scale, offset = render([band.node for band in image.bands], whole(8, 8))
    assert (scale.values[3, 3], offset.values[3, 3]) == pytest.approx((0.5, 0.5))
    assert scale.mask[0, 0] == 0
    with pytest.raises(EmulatorError, match="Need 2 inputs"):
        run("Collection.reduceToImage", collection=FIELDS, properties=["n"], reducer=run("Reducer.linearFit"))


def test_what_is_no_number_is_refused():
    texts = Collection([Feature(rectangle(0, 0, 1, 1), {"n": "a"})])
    with pytest.raises(EmulatorError, match="property 'n' is not a number"):
        run("Collection.reduceToImage", collection=texts, properties=["n"], reducer=run("Reducer.first"))


def test_a_point_is_the_pixel_that_it_lies_in():
    points = Collection([Feature(Geometry(shapely.Point(600025, 4999985), PLANE.crs), {"n": 7})])
    image = run("Collection.reduceToImage", collection=points, properties=["n"], reducer=run("Reducer.first"))
    (raster,) = render([image.bands[0].node], whole(4, 4))
    assert np.argwhere(raster.mask > 0).tolist() == [[1, 2]]


DEGREES = Projection(Crs("EPSG:4326"), (0.01, 0.0, 11.0, 0.0, -0.01, 46.0))
SHAPES = Collection([
    Feature(Geometry(shapely.Point(11.05, 45.95))),
    Feature(Geometry(shapely.LineString([(11.2, 45.9), (11.3, 45.7)]), geodesic=True)),
    Feature(Geometry(shapely.box(11.02, 45.72, 11.1, 45.8))),
])  # fmt: skip


def on_sphere(points, places):
    """The shortest angle between two sets of vectors."""
    return np.arccos(np.clip(places @ points.T, -1, 1)).min(axis=1)


def test_distances_are_those_to_densely_drawn_edges():
    image = run("Collection.distance", features=SHAPES)
    assert image.names == ["distance"]
    (raster,) = render([image.bands[0].node], Grid(DEGREES, row=0, col=0, height=35, width=36))
    parts = [segments(each.geometry) for each in SHAPES.elements]
    steps = np.linspace(0, 1, 801)[:, None, None]
    drawn = np.concatenate([(part.starts * (1 - steps) + part.ends * steps).reshape(-1, 3) for part in parts])
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    x, y = np.broadcast_arrays(*Grid(DEGREES, row=0, col=0, height=35, width=36).centres())
    expected = on_sphere(drawn, vectors_of(np.column_stack([x.ravel(), y.ravel()]))) * EARTH_RADIUS
    np.testing.assert_allclose(raster.values.ravel(), expected, atol=20)
    assert (raster.mask == 1).all()
    inner = raster.values[24, 6]  # in the box, whose outline counts
    assert 2000 < inner < 4000


def test_beyond_the_search_radius_nothing_is_known():
    near = run("Collection.distance", features=SHAPES, searchRadius=3000)
    grid = Grid(DEGREES, row=0, col=0, height=35, width=36)
    (raster,), (full,) = (
        render([image.bands[0].node], grid) for image in (near, run("Collection.distance", features=SHAPES))
    )
    np.testing.assert_array_equal(raster.mask > 0, full.values <= 3000)
    np.testing.assert_array_equal(raster.values[raster.mask > 0], full.values[raster.mask > 0])
    (nothing,) = render([run("Collection.distance", features=Collection([])).bands[0].node], grid)
    assert (nothing.mask == 0).all()
    with pytest.raises(EmulatorError, match="searchRadius"):
        run("Collection.distance", features=SHAPES, searchRadius=0)


@given(row=st.integers(0, 30), col=st.integers(0, 30), height=st.integers(1, 40), width=st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_a_window_equals_its_part_of_the_whole(row, col, height, width):
    made = (
        (run("Collection.distance", features=SHAPES, searchRadius=9000), DEGREES),
        (run("Collection.reduceToImage", collection=FIELDS, properties=["n"], reducer=run("Reducer.mean")), PLANE),
    )
    for image, projection in made:
        nodes = [image.bands[0].node]
        (complete,) = render(nodes, Grid(projection, row=-5, col=-5, height=80, width=80))
        (part,) = render(nodes, Grid(projection, row=row - 5, col=col - 5, height=height, width=width))
        window = (slice(row, row + height), slice(col, col + width))
        np.testing.assert_array_equal(part.mask, complete.mask[window])
        np.testing.assert_array_equal(part.values, complete.values[window])


def rows(*pairs):
    return Collection([Feature(None, {"is": one, "seems": two}) for one, two in pairs])


def test_error_matrices_count_pairs():
    table = rows((0, 0), (0, 2), (2, 2), (2, 2), (1, 0))
    matrix = run("Collection.errorMatrix", collection=table, actual="is", predicted="seems")
    assert matrix.as_value() == [[1, 0, 1], [1, 0, 0], [0, 0, 2]]
    chosen = run("Collection.errorMatrix", collection=table, actual="is", predicted="seems", order=[2, 0])
    assert chosen.as_value() == [[2, 0], [1, 1]]
    assert chosen.order == (2, 0)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(0, None)], "'seems' must be a whole number"), ([("a", 0)], "'is' must be a whole number"),
        ([(0.5, 0)], "whole number"), ([({"a": 1}, 0)], "whole number"), ([(math.inf, 0)], "whole number"), ([(-1, 0)], "below 0"), ([(10**9, 0)], "too many"),
    ],
)  # fmt: skip
def test_classes_are_small_whole_numbers(pairs, words):
    with pytest.raises(EmulatorError, match=words):
        run("Collection.errorMatrix", collection=rows(*pairs), actual="is", predicted="seems")


def test_the_projection_of_distances_is_that_of_the_request():
    assert run("Collection.distance", features=SHAPES).bands[0].projection.crs == WGS84
