"""Windows around a pixel against plain loops over numpy arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Positional, Raster, render
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.image import Band, Image

PLANE = Projection(Crs("EPSG:32632"), (10.0, 0.0, 6e5, 0.0, -10.0, 5e6))
RANDOM = np.random.default_rng(11)
VALUES = RANDOM.integers(0, 200, (14, 17)).astype(np.uint8)
MASK = (RANDOM.random((14, 17)) > 0.2).astype(np.float32)


def whole(height, width, row=0, col=0, projection=PLANE):
    return Grid(projection, row=row, col=col, height=height, width=width)


def from_array(values, mask=None, name="b", projection=PLANE):
    """An image with an array's pixels, and garbage wherever it is masked or beyond the array."""
    mask = np.ones(values.shape, np.float32) if mask is None else mask.astype(np.float32)
    garbage = values.dtype.type(77)

    def read(grid):
        rows, cols = np.arange(grid.row, grid.row + grid.height), np.arange(grid.col, grid.col + grid.width)
        inside = ((rows >= 0) & (rows < len(values)))[:, None] & ((cols >= 0) & (cols < values.shape[1]))[None]
        picked = np.ix_(np.clip(rows, 0, len(values) - 1), np.clip(cols, 0, values.shape[1] - 1))
        valid = np.where(inside, mask[picked], np.float32(0))
        return Raster(np.where(valid > 0, values[picked], garbage), valid)

    extent = whole(*values.shape, projection=projection)
    return Image((Band(name, type_of_dtype(values.dtype), Positional(read), projection, extent),))


def pixels(image, shape=VALUES.shape, projection=PLANE):
    (raster,) = render([band.node for band in image.bands], whole(*shape, projection=projection))
    return raster


def run(name, **arguments):
    return registry.call(name, arguments)


def neighbours(values, mask, cells):
    """For every pixel the list of (value, weight) of its valid neighbours."""
    found = np.empty(values.shape, dtype=object)
    for row, col in np.ndindex(values.shape):
        near = []
        for down, right, weight in cells:
            at = row + down, col + right
            if 0 <= at[0] < values.shape[0] and 0 <= at[1] < values.shape[1] and mask[at] > 0:
                near.append((float(values[at]), weight))
        found[row, col] = near
    return found


CIRCLE = run("Kernel.circle", radius=2.0)
CELLS = CIRCLE.at(10.0).cells


@pytest.mark.parametrize("name", ["Max", "Min", "Mean", "Median", "Mode"])
def test_focal_operations_see_only_valid_neighbours_and_fill_gaps(name):
    result = pixels(run(f"Image.focal{name}", image=from_array(VALUES, MASK), radius=2.0))
    lists = {
        "Max": max, "Min": min, "Mean": np.mean, "Median": np.median, "Mode": lambda v: min(set(v), key=lambda x: (-v.count(x), x)),
    }  # fmt: skip
    near = neighbours(VALUES, MASK, CELLS)
    for at in np.ndindex(VALUES.shape):
        values = [value for value, _ in near[at]]
        assert bool(result.mask[at]) == bool(values)
        if values:
            assert result.values[at] == pytest.approx(lists[name](values), rel=1e-12)


def test_focal_operations_keep_names_and_repeat():
    once = run("Image.focal_max", image=from_array(VALUES, name="NDVI"), kernelType="square", radius=1)
    assert once.names == ["NDVI"]
    again = run("Image.focal_max", image=from_array(VALUES), kernelType="square", radius=1, iterations=2)
    np.testing.assert_array_equal(
        pixels(again).values, pixels(run("Image.focal_max", image=once, kernelType="square", radius=1)).values
    )
    assert pixels(once).values.dtype == np.uint8


def test_a_kernel_in_metres_follows_the_grid():
    image = from_array(VALUES, MASK)
    metres = run("Image.focal_max", image=image, radius=20, units="meters")
    np.testing.assert_array_equal(pixels(metres).values, pixels(run("Image.focal_max", image=image, radius=2)).values)
    finer = Projection(PLANE.crs, (5.0, 0.0, 6e5, 0.0, -5.0, 5e6))
    source = pixels(run("Image.focal_max", image=image, radius=4), (28, 34), finer)
    np.testing.assert_array_equal(pixels(metres, (28, 34), finer).values, source.values)


@pytest.mark.parametrize("weight", ["kernel", "mask", "min"])
@pytest.mark.parametrize("result", ["mean", "sum", "count", "stdDev"])
def test_reducers_over_neighbourhoods_weigh_as_told(weight, result):
    mask = MASK * np.where(RANDOM.random(MASK.shape) > 0.5, np.float32(0.25), np.float32(1))
    kernel = run("Kernel.gaussian", radius=1.0, sigma=0.8)
    image = run(
        "Image.reduceNeighborhood",
        image=from_array(VALUES, mask),
        reducer=run(f"Reducer.{result}"),
        kernel=kernel,
        inputWeight=weight,
    )
    assert image.names == [f"b_{result}"]
    found = pixels(image)
    for row, col in np.ndindex(VALUES.shape):
        values, weights = [], []
        for down, right, share in kernel.at(10.0).cells:
            at = row + down, col + right
            if 0 <= at[0] < 14 and 0 <= at[1] < 17 and mask[at] > 0:
                values.append(float(VALUES[at]))
                weights.append({"kernel": share, "mask": float(mask[at]), "min": min(share, float(mask[at]))}[weight])
        assert found.mask[row, col] == (mask[row, col] if values else 0)
        if values:
            mean = np.average(values, weights=weights)
            expected = {
                "mean": mean, "sum": np.dot(values, weights), "count": len(values),
                "stdDev": np.sqrt(np.average((np.array(values) - mean) ** 2, weights=weights)),
            }  # fmt: skip
            assert found.values[row, col] == pytest.approx(expected[result], rel=1e-6, abs=1e-6)


def test_neighbourhoods_of_masked_pixels_can_be_kept():
    kernel = run("Kernel.square", radius=1)
    image = from_array(VALUES, MASK)
    kept = run("Image.reduceNeighborhood", image=image, reducer=run("Reducer.max"), kernel=kernel, skipMasked=False)
    assert pixels(kept).mask[MASK == 0].all()


def test_convolution_weighs_and_masks_where_a_neighbour_is_masked():
    kernel = run("Kernel.fixed", weights=[[1.0, 2.0, 0.0], [0.5, 0.0, -1.0], [0.0, 0.0, 4.0]])
    result = pixels(run("Image.convolve", image=from_array(VALUES, MASK), kernel=kernel))
    cells = kernel.at(10.0).cells
    near = neighbours(VALUES, MASK, cells)
    for at in np.ndindex(VALUES.shape):
        complete = len(near[at]) == len(cells) and MASK[at] > 0
        assert bool(result.mask[at]) == complete
        if complete:
            assert result.values[at] == sum(value * weight for value, weight in near[at])


def test_entropy_is_that_of_the_values_shares():
    values = (VALUES // 60).astype(np.uint8)
    result = pixels(run("Image.entropy", image=from_array(values, MASK), kernel=CIRCLE))
    near = neighbours(values, MASK, CELLS)
    for at in np.argwhere(MASK > 0):
        _, counts = np.unique([value for value, _ in near[tuple(at)]], return_counts=True)
        shares = counts / counts.sum()
        assert result.values[tuple(at)] == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-9)


def test_distances_reach_as_far_as_the_kernel():
    target = np.zeros((14, 17), np.uint8)
    target[3, 4] = target[10, 12] = 1
    kernel = run("Kernel.euclidean", radius=30, units="meters")
    result = pixels(run("Image.distance", image=from_array(target), kernel=kernel))
    rows, cols = np.mgrid[:14, :17]
    expected = 10 * np.minimum(np.hypot(rows - 3, cols - 4), np.hypot(rows - 10, cols - 12))
    reached = (np.abs(rows - 3) <= 3) & (np.abs(cols - 4) <= 3) | (np.abs(rows - 10) <= 3) & (np.abs(cols - 12) <= 3)
    np.testing.assert_array_equal(result.mask > 0, reached)
    np.testing.assert_allclose(result.values[reached], expected[reached])


def flooded(values, mask, at, steps):
    seen, front = {at}, [at]
    while front:
        row, col = front.pop()
        for down, right in steps:
            near = row + down, col + right
            inside = 0 <= near[0] < values.shape[0] and 0 <= near[1] < values.shape[1]
            if inside and near not in seen and mask[near] > 0 and values[near] == values[at]:
                seen.add(near)
                front.append(near)
    return len(seen)


@given(seed=st.integers(0, 10_000), eight=st.booleans(), limit=st.integers(1, 30), kinds=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_connected_pixels_are_counted_up_to_the_limit(seed, eight, limit, kinds):
    random = np.random.default_rng(seed)
    values = random.integers(0, kinds, (9, 11)).astype(np.uint8)
    mask = (random.random((9, 11)) > 0.15).astype(np.float32)
    image = run("Image.connectedPixelCount", input=from_array(values, mask), maxSize=limit, eightConnected=eight)
    found = pixels(image, (9, 11))
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)] + ([(1, 1), (1, -1), (-1, 1), (-1, -1)] if eight else [])
    for at in map(tuple, np.argwhere(mask > 0)):
        assert found.values[at] == min(limit, flooded(values, mask, at, steps))
    np.testing.assert_array_equal(found.mask, mask)


def test_limits_are_refused_by_name():
    for arguments, word in (
        ({"name": "Image.connectedPixelCount", "input": from_array(VALUES), "maxSize": 2000}, "maxSize"),
        ({"name": "Image.distance", "image": from_array(VALUES)}, "kernel"),
        ({"name": "Image.focal_max", "image": from_array(VALUES), "kernelType": "blob"}, "blob"),
    ):
        with pytest.raises(EmulatorError, match=word):
            run(**arguments)


DEM = (RANDOM.random((12, 13)) * 300 + np.arange(13) * 7).astype(np.float32)


def plane_gradient():
    inner = DEM.astype(np.float64)
    return (inner[1:-1, 2:] - inner[1:-1, :-2]) / 20, (inner[:-2, 1:-1] - inner[2:, 1:-1]) / 20


def test_slope_aspect_and_hillshade_follow_the_closed_formulas():
    x, y = plane_gradient()
    image = from_array(DEM, name="elevation")
    products = run("Terrain.products", input=image)
    assert products.names == ["elevation", "slope", "aspect", "hillshade"]
    slope, aspect, shade = (raster for raster in render([b.node for b in products.bands[1:]], whole(12, 13)))
    inner = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(slope.values[inner], np.degrees(np.arctan(np.hypot(x, y))), rtol=1e-6)
    facing = np.mod(np.degrees(np.arctan2(-x, -y)), 360)
    np.testing.assert_allclose(aspect.values[inner], facing, rtol=1e-6)
    # The sun in the west at 45 degrees: its direction times the normal of the ground.
    lit = (np.sqrt(0.5) + np.sqrt(0.5) * x) / np.sqrt(1 + x**2 + y**2)
    np.testing.assert_allclose(shade.values[inner], np.clip(lit, 0, 1) * 255, atol=0.5001)
    border = np.ones((12, 13), bool)
    border[inner] = False
    for raster in (slope, aspect, shade):
        assert (raster.mask[border] == 0).all()
        assert (raster.mask[inner] == 1).all()


@pytest.mark.parametrize(
    ("east", "north", "facing"), [(1, 0, 270), (-1, 0, 90), (0, 1, 180), (0, -1, 0), (1, 1, 225), (0, 0, 0)]
)
def test_aspect_is_the_direction_downhill(east, north, facing):
    rows, cols = np.mgrid[:5, :5].astype(np.float64)
    ground = from_array(10 * (east * cols - north * rows))
    assert pixels(run("Terrain.aspect", input=ground), (5, 5)).values[2, 2] == pytest.approx(facing)
    assert pixels(run("Terrain.slope", input=ground), (5, 5)).values[2, 2] == pytest.approx(
        np.degrees(np.arctan(np.hypot(east, north))), rel=1e-6
    )


def test_flat_ground_is_lit_by_the_height_of_the_sun():
    flat = from_array(np.full((5, 5), 40.0))
    assert pixels(run("Terrain.hillshade", input=flat), (5, 5)).values[2, 2] == 180
    assert pixels(run("Terrain.hillshade", input=flat, azimuth=10, elevation=30), (5, 5)).values[2, 2] == 128


def test_degrees_are_measured_on_the_ground():
    degrees = Projection(Crs("EPSG:4326"), (1 / 3600, 0.0, 11.0, 0.0, -1 / 3600, 60.0))
    cols = np.mgrid[:5, :5][1].astype(np.float64)
    ground = from_array(cols * 10, projection=degrees)
    x, _ = render([b.node for b in run("Image.gradient", input=ground).bands], whole(5, 5, projection=degrees))
    step = 111319.49079327357 / 3600 * np.cos(np.radians(60 - 2.5 / 3600))
    assert x.values[2, 2] == pytest.approx(10 / step, rel=1e-6)


GRAPHS = {
    "focal": lambda image: run("Image.focal_mean", image=image, radius=2),
    "convolve": lambda image: run("Image.convolve", image=image, kernel=run("Kernel.gaussian", radius=2.0)),
    "connected": lambda image: run("Image.connectedPixelCount", input=image, maxSize=12),
    "slope": lambda image: run("Terrain.slope", input=image),
    "count": lambda image: run(
        "Image.reduceNeighborhood", image=image, reducer=run("Reducer.median"), kernel=run("Kernel.plus", radius=3)
    ),
}  # fmt: skip


@given(
    names=st.lists(st.sampled_from(sorted(GRAPHS)), min_size=1, max_size=2),
    row=st.integers(-3, 12), col=st.integers(-3, 14), height=st.integers(1, 9), width=st.integers(1, 9),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_a_window_equals_its_part_of_the_whole(names, row, col, height, width):
    image = from_array(VALUES, MASK)
    for name in names:
        image = GRAPHS[name](image)
    nodes = [band.node for band in image.bands]
    (complete,) = render(nodes, whole(30, 30, -4, -4))
    (part,) = render(nodes, whole(height, width, row, col))
    window = (slice(row + 4, row + 4 + height), slice(col + 4, col + 4 + width))
    np.testing.assert_array_equal(part.mask, complete.mask[window])
    np.testing.assert_array_equal(
        np.where(part.mask > 0, part.values, 0), np.where(complete.mask > 0, complete.values, 0)[window]
    )
