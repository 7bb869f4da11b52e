"""Derivatives, edges and changes of sign against numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.raster import render

from .test_neighbourhoods import MASK, VALUES, from_array, pixels, run, whole

ndimage = pytest.importorskip("scipy.ndimage")
INNER = (slice(1, -1), slice(1, -1))


def test_derivatives_are_central_differences():
    image = run("Image.derivative", image=from_array(VALUES.astype(np.float32)))
    assert image.names == ["b_x", "b_y"]
    right, down = render([band.node for band in image.bands], whole(*VALUES.shape))
    rows, cols = np.gradient(VALUES.astype(np.float64))
    np.testing.assert_allclose(right.values[INNER], cols[INNER])
    np.testing.assert_allclose(down.values[INNER], rows[INNER])
    assert (right.mask[:, 0] == 0).all()
    assert (down.mask[0] == 0).all()
    assert (down.mask[1:-1, 0] == 1).all()


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_signs_change_to_the_right_and_below(seed):
    signs = np.random.default_rng(seed).integers(-1, 2, (7, 8)).astype(np.int16)
    found = pixels(run("Image.zeroCrossing", image=from_array(signs)), (7, 8)).values
    for row, col in np.ndindex(7, 8):
        near = [signs[row + down, col + right] for down, right in ((0, 1), (1, 0), (1, 1))
                if row + down < 7 and col + right < 8]  # fmt: skip
        assert found[row, col] == any(signs[row, col] * other < 0 for other in near)


def test_an_edge_is_one_pixel_wide_and_as_high_as_the_gradient():
    step = np.zeros((15, 16))
    step[:, 8:] = 10
    found = pixels(run("CannyEdgeDetector", image=from_array(step), threshold=1.0, sigma=0), (15, 16))
    assert found.values[INNER].sum(axis=1).tolist() == [5.0] * 13
    smooth = pixels(run("CannyEdgeDetector", image=from_array(step), threshold=1.0), (15, 16))
    blurred = ndimage.gaussian_filter(step, 1, truncate=3)
    slope = (blurred[7, 2:] - blurred[7, :-2]).max() / 2
    assert smooth.values[7].max() == pytest.approx(slope, rel=1e-9)
    assert (smooth.values[7] > 0).sum() == 1


def test_what_is_under_the_threshold_is_no_edge():
    step = np.zeros((9, 9))
    step[4:] = 3
    assert (pixels(run("CannyEdgeDetector", image=from_array(step), threshold=1.5, sigma=0), (9, 9)).values == 0).all()
    assert (pixels(run("CannyEdgeDetector", image=from_array(step), threshold=1.4, sigma=0), (9, 9)).values > 0).any()


@given(seed=st.integers(0, 1000), sigma=st.sampled_from([0.0, 0.7, 1.5]))
@settings(max_examples=20, deadline=None)
def test_edges_are_some_of_the_gradient(seed, sigma):
    values = np.random.default_rng(seed).random((24, 25))
    found = pixels(run("CannyEdgeDetector", image=from_array(values), threshold=0.05, sigma=sigma), (24, 25))
    smooth = ndimage.gaussian_filter(values, sigma, truncate=np.ceil(3 * sigma) / sigma) if sigma else values
    size = np.hypot(*np.gradient(smooth))
    edges = (found.values > 0) & (found.mask > 0)
    np.testing.assert_allclose(found.values[edges], size[edges], rtol=1e-9)
    known = found.mask > 0
    assert known[8:-8, 8:-8].all()
    assert not known[0].any()


def test_a_blur_needs_a_size():
    for sigma in (-1, 1000):
        with pytest.raises(EmulatorError, match="sigma"):
            run("CannyEdgeDetector", image=from_array(VALUES), threshold=1, sigma=sigma)


GRAPHS = {
    "derivative": lambda image: run("Image.derivative", image=image),
    "crossing": lambda image: run("Image.zeroCrossing", image=image),
    "canny": lambda image: run("CannyEdgeDetector", image=image, threshold=4, sigma=0.8),
    "erosion": lambda image: run("Image.spectralErosion", image=image, metric="sed", useCentroid=True),
    "gradient": lambda image: run("Image.spectralGradient", image=image, metric="emd"),
}  # fmt: skip


@given(
    name=st.sampled_from(sorted(GRAPHS)), row=st.integers(-3, 12), col=st.integers(-3, 14), height=st.integers(1, 9),
    width=st.integers(1, 9),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_window_equals_its_part_of_the_whole(name, row, col, height, width):
    image = GRAPHS[name](from_array(VALUES, MASK))
    nodes = [band.node for band in image.bands]
    for complete, part in zip(
        render(nodes, whole(30, 30, -4, -4)), render(nodes, whole(height, width, row, col)), strict=True
    ):
        window = (slice(row + 4, row + 4 + height), slice(col + 4, col + 4 + width))
        np.testing.assert_array_equal(part.mask, complete.mask[window])
        shown = np.where(complete.mask > 0, complete.values, 0)[window]
        np.testing.assert_array_equal(np.where(part.mask > 0, part.values, 0), shown)
