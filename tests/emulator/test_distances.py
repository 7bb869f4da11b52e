"""Distance transforms against scipy and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.image import Image

from .test_neighbourhoods import MASK, PLANE, VALUES, from_array, run, whole

ndimage = pytest.importorskip("scipy.ndimage")


def shown(image, shape):
    return render([band.node for band in image.bands], whole(*shape))


def sparse(seed, shape=(15, 18), share=0.03):
    return (np.random.default_rng(seed).random(shape) < share).astype(np.uint8)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_wide_window_gives_the_exact_transforms(seed):
    marked = sparse(seed)
    marked[3, 4] = 1
    oracles = {
        "squared_euclidean": ndimage.distance_transform_edt(marked == 0) ** 2,
        "manhattan": ndimage.distance_transform_cdt(marked == 0, "taxicab"),
        "chebyshev": ndimage.distance_transform_cdt(marked == 0, "chessboard"),
    }
    for metric, expected in oracles.items():
        image = run("Image.fastDistanceTransform", image=from_array(marked), neighborhood=32, metric=metric)
        assert image.names == ["distance"]
        (raster,) = shown(image, marked.shape)
        np.testing.assert_allclose(raster.values, expected, rtol=1e-6)
        assert (raster.mask == 1).all()


def test_beyond_the_window_nothing_is_known_and_masked_pixels_count_for_nothing():
    marked = np.zeros((9, 9), np.uint8)
    marked[4, 4] = marked[0, 0] = 1
    mask = np.ones((9, 9), np.float32)
    mask[0, 0] = mask[4, 5] = 0
    (raster,) = shown(run("Image.fastDistanceTransform", image=from_array(marked, mask), neighborhood=2), (9, 9))
    expected = np.zeros((9, 9), bool)
    expected[2:7, 2:7] = True
    np.testing.assert_array_equal(raster.mask > 0, expected)
    assert raster.values[4, 5] == 1


@given(seed=st.integers(0, 10_000), reach=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_parabolas_hang_from_the_pixels(seed, reach):
    values = np.random.default_rng(seed).integers(0, 40, (8, 9)) * sparse(seed, (8, 9), 0.2)
    (raster,) = shown(run("Image.rsedTransform", image=from_array(values.astype(np.int16)), neighborhood=reach), (8, 9))
    for row, col in np.ndindex(8, 9):
        near = [(r, c) for r, c in zip(*np.nonzero(values), strict=True) if max(abs(r - row), abs(c - col)) <= reach]
        best = max((values[r, c] - (r - row) ** 2 - (c - col) ** 2 for r, c in near), default=0)
        assert raster.values[row, col] == max(best, 0)


@pytest.mark.parametrize(
    ("angle", "step"), [(0, (0, 1)), (90, (-1, 0)), (180, (0, -1)), (270, (1, 0)), (45, (-1, 1)), (-90, (1, 0))]
)
def test_rays_go_counter_clockwise_from_the_right(angle, step):
    marked = np.zeros((11, 11), np.uint8)
    marked[5, 5] = 1
    image = run("Image.directionalDistanceTransform", source=from_array(marked), angle=angle, maxDistance=4)
    assert image.names == ["distance"]
    (raster,) = shown(image, (11, 11))
    length = np.hypot(*step)
    expected = {(5 - n * step[0], 5 - n * step[1]): n * length for n in range(5) if n * length <= 4}
    assert {tuple(at): raster.values[tuple(at)] for at in np.argwhere(raster.mask > 0)} == {
        at: pytest.approx(far) for at, far in expected.items()
    }


def test_other_bands_come_along_from_the_pixel_that_was_found():
    marked, heights = np.zeros((3, 6), np.uint8), np.arange(18.0).reshape(3, 6)
    marked[1, 4] = 1
    image = Image((*from_array(heights, name="height").bands, *from_array(marked, name="mark").bands))
    moved = run("Image.directionalDistanceTransform", source=image, angle=0, maxDistance=3, labelBand="mark")
    assert moved.names == ["distance", "height"]
    distance, height = shown(moved, (3, 6))
    assert distance.mask[1].tolist() == [0, 1, 1, 1, 1, 0]
    assert height.values[1, 1:5].tolist() == [10, 10, 10, 10]
    with pytest.raises(EmulatorError, match="one band"):
        run("Image.directionalDistanceTransform", source=image, angle=0, maxDistance=3)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Image.fastDistanceTransform", {"neighborhood": 5000}, "neighborhood"),
        ("Image.fastDistanceTransform", {"units": "meters"}, "only 'pixels'"),
        ("Image.fastDistanceTransform", {"metric": "far"}, "Unknown metric 'far'"),
        ("Image.rsedTransform", {"neighborhood": 0}, "neighborhood"),
    ],
)
def test_windows_have_limits(name, arguments, words):
    with pytest.raises(EmulatorError, match=words):
        run(name, image=from_array(VALUES), **arguments)


def test_rims_on_top_of_rims_have_an_end():
    image = from_array(VALUES)
    for _ in range(5):
        image = run("Image.fastDistanceTransform", image=image, neighborhood=1024)
    with pytest.raises(EmulatorError, match="User memory limit exceeded"):
        shown(image, (2, 2))


def anchored(*arrays):
    """An image that knows where its pixels lie, whatever grid is asked for."""
    return run("Image.reproject", image=from_array(*arrays), crs=PLANE)


def test_moving_by_whole_pixels_moves_the_pixels():
    image = anchored(VALUES, MASK)
    (still,) = shown(image, VALUES.shape)
    for arguments, (down, right) in (
        ({"x": 2, "y": 3, "units": "pixels"}, (3, 2)), ({"x": 20, "y": -30}, (3, 2)), ({"x": -10, "y": 20}, (-2, -1)),
    ):  # fmt: skip
        moved = run("Image.translate", input=image, **arguments)
        (raster,) = render([moved.bands[0].node], whole(*VALUES.shape, down, right))
        np.testing.assert_array_equal(raster.values, still.values)
        np.testing.assert_array_equal(raster.mask, still.mask)
        extent = moved.bands[0].extent
        assert extent.bounds == whole(*VALUES.shape, down, right).bounds
    back = run("Image.translate", input=run("Image.translate", input=image, x=70, y=-10), x=-70, y=10)
    np.testing.assert_array_equal(shown(back, VALUES.shape)[0].values, still.values)
    with pytest.raises(EmulatorError, match="Unknown units 'feet'"):
        run("Image.translate", input=image, x=1, y=1, units="feet")


def test_positions_of_one_projection_become_those_of_another():
    image = anchored(VALUES)
    other = run("Projection", crs="EPSG:32633", transform=[20, 0, 3e5, 0, -20, 4e6])
    moved = run("Image.changeProj", input=image, srcProj=image.bands[0].projection, dstProj=other)
    assert moved.bands[0].projection == other
    (raster,) = render([moved.bands[0].node], whole(*VALUES.shape, projection=other))
    np.testing.assert_array_equal(raster.values, VALUES)
    # Asked for in a third system it is read from there.
    (west,), (north,) = convert(other.crs, WGS84, np.array([3e5]), np.array([4e6]))
    third = run("Projection", crs="EPSG:4326", transform=[1e-4, 0, float(west), 0, -1e-4, float(north)])
    (far,) = render([moved.bands[0].node], whole(30, 40, projection=third))
    assert set(np.unique(far.values[far.mask > 0])) <= set(np.unique(VALUES))
    assert (far.mask > 0).sum() > 500


GRAPHS = {
    "fast": lambda image: run("Image.fastDistanceTransform", image=run("Image.gt", image1=image, image2=170), neighborhood=4),
    "rsed": lambda image: run("Image.rsedTransform", image=image, neighborhood=5),
    "direction": lambda image: run(
        "Image.directionalDistanceTransform", source=run("Image.gt", image1=image, image2=170), angle=33, maxDistance=6),
    "translate": lambda image: run("Image.translate", input=run("Image.reproject", image=image, crs=PLANE), x=13, y=4),
}  # fmt: skip


@given(
    name=st.sampled_from(sorted(GRAPHS)), row=st.integers(-3, 12), col=st.integers(-3, 14), height=st.integers(1, 9),
    width=st.integers(1, 9),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_window_equals_its_part_of_the_whole(name, row, col, height, width):
    nodes = [band.node for band in GRAPHS[name](from_array(VALUES, MASK)).bands]
    for complete, part in zip(
        render(nodes, whole(30, 30, -4, -4)), render(nodes, whole(height, width, row, col)), strict=True
    ):
        window = (slice(row + 4, row + 4 + height), slice(col + 4, col + 4 + width))
        np.testing.assert_array_equal(part.mask, complete.mask[window])
        shown_ = np.where(complete.mask > 0, complete.values, 0)[window]
        np.testing.assert_array_equal(np.where(part.mask > 0, part.values, 0), shown_)
