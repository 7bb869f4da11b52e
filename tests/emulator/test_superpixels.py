"""Superpixels: what holds for any clustering, and cases that can be worked out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels import blockwise
from airflow_ee.emulator.pixels.raster import render

from .test_neighbourhoods import MASK, VALUES, from_array, run, whole
from .test_vectors import split


def shown(image, grid):
    return dict(zip(image.names, render([band.node for band in image.bands], grid), strict=True))


def clusters(values, mask=None, **arguments):
    return run("Image.Segmentation.SNIC", image=from_array(values, mask), **arguments)


def test_without_differences_clusters_are_the_squares_around_their_seeds():
    found = shown(clusters(np.ones((16, 16)), size=4, compactness=1), whole(16, 16))
    labels = found["clusters"].values
    for row, col in np.ndindex(4, 4):
        middle = labels[4 * row + 1 : 4 * row + 4, 4 * col + 1 : 4 * col + 4]
        assert len(np.unique(middle)) == 1
    assert len(np.unique(labels)) == 16
    assert (found["b_mean"].values == 1).all()


@given(seed=st.integers(0, 1000), size=st.integers(2, 6), connectivity=st.sampled_from([4, 8]))
@settings(max_examples=8, deadline=None)
def test_clusters_hang_together_and_have_the_means_of_their_pixels(seed, size, connectivity):
    random = np.random.default_rng(seed)
    values, mask = random.random((18, 20)), (random.random((18, 20)) > 0.1).astype(np.float32)
    image = clusters(values, mask, size=size, compactness=0.2, connectivity=connectivity)
    assert image.names == ["clusters", "b_mean", "seeds"]
    found = shown(image, whole(18, 20))
    labels, means, known = found["clusters"].values, found["b_mean"].values, found["clusters"].mask > 0
    assert not known[mask == 0].any()
    pieces = split(labels, known, eight=connectivity == 8)
    assert len(pieces) == len(np.unique(labels[known]))
    for _, members in pieces:
        at = tuple(np.array(members).T)
        np.testing.assert_allclose(means[at], values[at].mean())


def test_an_edge_divides_clusters():
    values = np.zeros((12, 24))
    values[:, 11:] = 100
    labels = shown(clusters(values, size=6, compactness=0.1), whole(12, 24))["clusters"].values
    assert not set(np.unique(labels[:, :11])) & set(np.unique(labels[:, 11:]))


def test_given_seeds_that_touch_are_one():
    seeds = np.zeros((9, 9), np.uint8)
    seeds[1, 1] = seeds[1, 2] = seeds[7, 7] = 1
    image = clusters(np.ones((9, 9)), seeds=from_array(seeds), neighborhoodSize=9)
    assert image.names == ["clusters", "b_mean"]
    found = shown(image, whole(9, 9))
    assert len(np.unique(found["clusters"].values)) == 2
    assert (found["clusters"].mask > 0).all()


def test_seeds_are_as_far_apart_as_their_size():
    square = shown(run("Image.Segmentation.seedGrid", size=4), whole(12, 12))["seeds"]
    assert np.argwhere(square.mask > 0).tolist() == [[r, c] for r in (2, 6, 10) for c in (2, 6, 10)]
    assert len(np.unique(square.values[square.mask > 0])) == 9
    hexagons = shown(run("Image.Segmentation.seedGrid", size=6, gridType="hex"), whole(15, 18))["seeds"]
    rows = {row: [col for r, col in np.argwhere(hexagons.mask > 0).tolist() if r == row] for row in (2, 7, 12)}
    assert rows == {2: [3, 9, 15], 7: [0, 6, 12], 12: [3, 9, 15]}


@pytest.mark.parametrize("at", [(0, 0, 3, 5), (60, 59, 12, 11), (-7, 30, 9, 40)])
def test_a_window_equals_its_part_of_the_whole(at, monkeypatch):
    monkeypatch.setattr(blockwise, "BLOCK_SIDE", 32)
    row, col, height, width = at
    values = np.random.default_rng(2).random((80, 90))
    image = clusters(values, size=8, compactness=0.5)
    complete, part = shown(image, whole(90, 90, -10, 0)), shown(image, whole(height, width, row, col))
    window = (slice(row + 10, row + 10 + height), slice(col, col + width))
    for name in image.names:
        np.testing.assert_array_equal(part[name].mask, complete[name].mask[window])
        np.testing.assert_array_equal(part[name].values, complete[name].values[window])


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("SNIC", {"size": 0}, "'size'"), ("SNIC", {"size": 1000}, "'size'"), ("SNIC", {"connectivity": 6}, "4 or 8"),
        ("SNIC", {"neighborhoodSize": 5000}, "'neighborhoodSize'"), ("seedGrid", {"gridType": "round"}, "Unknown gridType"),
    ],
)  # fmt: skip
def test_limits_are_refused_by_name(name, arguments, words):
    image = {"image": from_array(VALUES, MASK)} if name == "SNIC" else {}
    with pytest.raises(EmulatorError, match=words):
        run(f"Image.Segmentation.{name}", **image, **arguments)
