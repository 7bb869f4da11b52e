"""Cheapest ways against scipy's shortest paths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.pixels.raster import render

from .test_neighbourhoods import PLANE, from_array, pixels, run, whole

sparse = pytest.importorskip("scipy.sparse")
paths = pytest.importorskip("scipy.sparse.csgraph")


def oracle(prices, mask, sources, size):
    """All ways, by Dijkstra."""
    height, width = prices.shape
    edges = sparse.lil_matrix((prices.size, prices.size))
    for row, col in np.ndindex(prices.shape):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            at = row + down, col + right
            if at[0] < height and 0 <= at[1] < width and mask[row, col] and mask[at]:
                cost = (prices[row, col] + prices[at]) / 2 * size * np.hypot(down, right)
                edges[row * width + col, at[0] * width + at[1]] = cost
    starts = [row * width + col for row, col in np.argwhere(sources & (mask > 0))]
    if not starts:
        return np.full(prices.shape, np.inf)
    return paths.dijkstra(edges, directed=False, indices=starts).min(axis=0).reshape(prices.shape)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_the_cheapest_way_is_found(seed):
    random = np.random.default_rng(seed)
    prices, mask = random.random((8, 9)) * 5 + 0.1, random.random((8, 9)) > 0.2
    sources = random.random((8, 9)) > 0.92
    image = run(
        "Image.cumulativeCost", cost=from_array(prices, mask.astype(np.float32)), source=from_array(sources.astype(np.uint8)),
        maxDistance=900, geodeticDistance=False,
    )  # fmt: skip
    assert image.names == ["cumulative_cost"]
    found, expected = pixels(image, (8, 9)), oracle(prices, mask, sources, 10)
    np.testing.assert_array_equal(found.mask > 0, np.isfinite(expected))
    np.testing.assert_allclose(found.values[found.mask > 0], expected[np.isfinite(expected)])


def ways(prices, sources, projection=PLANE, **arguments):
    cost, source = (from_array(each, projection=projection) for each in (prices, sources))
    return run("Image.cumulativeCost", cost=cost, source=source, **arguments)


SOURCE = np.zeros((5, 12), np.uint8)
SOURCE[2, 1] = 1


def test_ways_have_at_most_as_many_steps_as_the_distance_has_pixels():
    found = pixels(ways(np.ones((5, 12)), SOURCE, maxDistance=40, geodeticDistance=False), (5, 12))
    assert found.values[2, 1:6].tolist() == [0, 10, 20, 30, 40]
    assert (found.mask[2] > 0).tolist() == [True] * 6 + [False] * 6


def test_distances_on_the_sphere():
    degrees = Projection(Crs("EPSG:4326"), (0.001, 0.0, 11.0, 0.0, -0.001, 60.0))
    image = ways(np.ones((5, 12)), SOURCE, degrees, maxDistance=1000)
    (found,) = render([image.bands[0].node], whole(5, 12, projection=degrees))
    step = np.radians(0.001) * 6378137
    assert found.values[2, 2] == pytest.approx(step * np.cos(np.radians(60 - 0.0025)), rel=1e-6)
    assert found.values[3, 1] == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize("at", [(0, 0, 2, 5), (2, 4, 1, 1), (1, 2, 3, 9)])
def test_a_window_equals_its_part_of_the_whole(at):
    row, col, height, width = at
    prices = np.random.default_rng(3).random((5, 12))
    nodes = [ways(prices, SOURCE, maxDistance=60).bands[0].node]
    (complete,), (part,) = render(nodes, whole(5, 12)), render(nodes, whole(height, width, row, col))
    window = (slice(row, row + height), slice(col, col + width))
    np.testing.assert_array_equal(part.mask, complete.mask[window])
    np.testing.assert_array_equal(part.values, complete.values[window])


def test_limits_are_refused_by_name():
    cost = from_array(np.ones((5, 12)))
    with pytest.raises(EmulatorError, match="must be positive"):
        run("Image.cumulativeCost", cost=cost, source=cost, maxDistance=0)
    with pytest.raises(EmulatorError, match="too large"):
        pixels(run("Image.cumulativeCost", cost=cost, source=cost, maxDistance=1e6), (5, 12))
    two = run("Image.addBands", dstImg=cost, srcImg=cost)
    with pytest.raises(EmulatorError, match="several cost bands is not emulated"):
        run("Image.cumulativeCost", cost=two, source=cost, maxDistance=10)
    with pytest.raises(EmulatorError, match="one band"):
        run("Image.cumulativeCost", cost=cost, source=two, maxDistance=10)
