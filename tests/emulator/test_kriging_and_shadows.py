"""Kriging against the textbook's system of equations, and the shadows of a wall."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.sphere import EARTH_RADIUS, vectors_of

from .test_neighbourhoods import from_array, run, whole

DEGREES = Projection(Crs("EPSG:4326"), (0.01, 0.0, 11.0, 0.0, -0.01, 46.0))
MODEL = {"shape": "spherical", "range": 30_000, "sill": 4.0, "nugget": 0.5}


def table(*rows):
    return Collection([Feature(Geometry(shapely.Point(x, y)), {"t": value}) for x, y, value in rows])


def estimated(rows, grid=None, **arguments):
    image = run("FeatureCollection.kriging", collection=table(*rows), propertyName="t", **{**MODEL, **arguments})
    assert image.names == ["estimate"]
    return render([image.bands[0].node], grid or Grid(DEGREES, row=0, col=0, height=20, width=20))[0]


def semivariogram(shape, metres):
    share = metres / 30_000
    rise = {
        "spherical": np.where(share < 1, 1.5 * share - 0.5 * share**3, 1), "exponential": 1 - np.exp(-3 * share),
        "gaussian": 1 - np.exp(-3 * share**2),
    }[shape]  # fmt: skip
    return np.where(metres > 0, 0.5 + 3.5 * rise, 0)


@pytest.mark.parametrize("shape", ["spherical", "exponential", "gaussian"])
def test_estimates_solve_the_kriging_system(shape):
    random = np.random.default_rng(1)
    rows = [(11 + 0.2 * x, 46 - 0.2 * y, value) for x, y, value in random.random((9, 3))]
    found = estimated(rows, shape=shape, maxDistance=1e6)
    at = vectors_of(np.array(rows)[:, :2])
    apart = np.arccos(np.clip(at @ at.T, -1, 1)) * EARTH_RADIUS
    np.fill_diagonal(apart, 0)
    system = np.ones((10, 10))
    system[:9, :9], system[9, 9] = semivariogram(shape, apart), 0
    for row, col in ((0, 0), (7, 11), (19, 3)):
        here = vectors_of(np.array([[11.005 + 0.01 * col, 45.995 - 0.01 * row]]))[0]
        away = semivariogram(shape, np.arccos(np.clip(at @ here, -1, 1)) * EARTH_RADIUS)
        weights = np.linalg.solve(system, np.append(away, 1))[:9]
        assert found.values[row, col] == pytest.approx(weights @ np.array(rows)[:, 2], rel=1e-6)


def test_a_place_keeps_its_value_and_far_pixels_have_none():
    found = estimated([(11.005, 45.995, 7.0), (11.105, 45.995, 9.0)], maxDistance=2000)
    assert found.values[0, 0] == pytest.approx(7)
    assert found.values[0, 10] == pytest.approx(9)
    assert found.mask[10, 5] == 0
    assert (estimated([]).mask == 0).all()


def test_values_of_one_place_are_reduced():
    rows = [(11.005, 45.995, 7.0), (11.005, 45.995, 9.0)]
    assert estimated(rows).values[0, 0] == pytest.approx(8)
    assert estimated(rows, reducer=run("Reducer.max")).values[0, 0] == pytest.approx(9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"shape": "linear"}, "Unknown shape"), ({"range": 0}, "must be positive"), ({"nugget": 9}, "'nugget'"),
     ({"reducer": run("Reducer.minMax")}, "one number")],
)  # fmt: skip
def test_models_that_are_none_are_refused(arguments, words):
    with pytest.raises(EmulatorError, match=words):
        estimated([(11, 46, 1)], **arguments)
    with pytest.raises(EmulatorError, match="must be a number"):
        estimated([(11, 46, "a")])
    line = Collection([Feature(Geometry(shapely.LineString([(0, 0), (1, 1)])), {"t": 1})])
    with pytest.raises(EmulatorError, match="must be a point"):
        run("FeatureCollection.kriging", collection=line, propertyName="t", **MODEL)


GROUND = np.zeros((9, 15))
GROUND[:, 7] = 25
"""A wall of 25 m over pixels of 10 m."""


@pytest.mark.parametrize(
    ("azimuth", "zenith", "dark"),
    [(90, 45, [5, 6]), (270, 45, [8, 9]), (90, 80, [*range(7)]), (0, 45, []), (90, 0, [])],
)
def test_a_wall_shades_what_lies_behind_it(azimuth, zenith, dark):
    image = run("Terrain.hillShadow", image=from_array(GROUND), azimuth=azimuth, zenith=zenith, neighborhoodSize=10)
    assert image.names == ["shadow"]
    (raster,) = render([image.bands[0].node], whole(9, 15))
    assert np.flatnonzero(raster.values[4] == 0).tolist() == dark


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"hysteresis": True}, "hysteresis"), ({"neighborhoodSize": 0}, "neighborhoodSize"), ({"zenith": 99}, "zenith"),
     ({"neighborhoodSize": 9999}, "neighborhoodSize")],
)  # fmt: skip
def test_shadows_that_are_not_cast_are_refused_by_name(arguments, words):
    with pytest.raises(EmulatorError, match=words):
        run(
            "HillShadow",
            **{"image": from_array(GROUND), "azimuth": 0, "zenith": 45, "neighborhoodSize": 5, **arguments},
        )
    image = run("HillShadow", image=from_array(GROUND, projection=DEGREES), azimuth=0, zenith=45, neighborhoodSize=5)
    with pytest.raises(EmulatorError, match="square pixels"):
        render([image.bands[0].node], whole(3, 3, projection=DEGREES))


@given(row=st.integers(0, 4), col=st.integers(0, 9), height=st.integers(1, 5), width=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_a_window_equals_its_part_of_the_whole(row, col, height, width):
    random = np.random.default_rng(4)
    rows = [(11 + 0.2 * x, 46 - 0.2 * y, value) for x, y, value in random.random((9, 3))]
    window = (slice(row, row + height), slice(col, col + width))
    complete, part = estimated(rows), estimated(rows, Grid(DEGREES, row=row, col=col, height=height, width=width))
    np.testing.assert_array_equal(part.mask, complete.mask[window])
    np.testing.assert_array_equal(part.values, complete.values[window])
    ground = from_array(random.random((9, 15)) * 40)
    nodes = [run("HillShadow", image=ground, azimuth=30, zenith=60, neighborhoodSize=6).bands[0].node]
    (shade,), (piece,) = render(nodes, whole(9, 15)), render(nodes, whole(height, width, row, col))
    np.testing.assert_array_equal(piece.values, shade.values[window])
