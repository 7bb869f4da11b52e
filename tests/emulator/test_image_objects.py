"""Objects in images against scipy's labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.image import Image

from .test_neighbourhoods import VALUES, from_array, pixels, run, whole
from .test_vectors import split

SQUARE, PLUS = run("Kernel.square", radius=1), run("Kernel.plus", radius=1)


def scattered(seed, kinds, shape=(10, 12)):
    random = np.random.default_rng(seed)
    return random.integers(0, kinds, shape).astype(np.int16), (random.random(shape) > 0.15).astype(np.float32)


def rasters(image, shape):
    return dict(zip(image.names, render([band.node for band in image.bands], whole(*shape)), strict=True))


@given(seed=st.integers(0, 10_000), eight=st.booleans(), limit=st.integers(1, 30), kinds=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_objects_have_one_label_each_and_large_ones_none(seed, eight, limit, kinds):
    values, mask = scattered(seed, kinds)
    image = run(
        "Image.connectedComponents", image=from_array(values, mask), connectedness=SQUARE if eight else PLUS, maxSize=limit
    )  # fmt: skip
    assert image.names == ["b", "labels"]
    shown = rasters(image, values.shape)
    seen = {}
    for _, members in split(values, mask, eight=eight):
        labels = {shown["labels"].values[at] for at in members}
        small = len(members) <= limit
        assert {shown["labels"].mask[at] > 0 for at in members} == {small}
        assert {shown["b"].mask[at] > 0 for at in members} == {small}
        if small:
            (label,) = labels
            assert label not in seen
            seen[label] = members
    assert (shown["labels"].mask[mask == 0] == 0).all()


@pytest.mark.parametrize("name", ["mean", "sum", "count", "max", "stdDev"])
def test_objects_are_reduced_each_by_itself(name):
    values, mask = scattered(4, 3)
    heights = np.random.default_rng(9).random(values.shape)
    weights = np.random.default_rng(8).choice([0, 0.5, 1], values.shape).astype(np.float32)
    labels, other = from_array(values, mask, "zone"), from_array(heights, weights, "height")
    image = run(
        "Image.reduceConnectedComponents", image=Image((*other.bands, *labels.bands)), reducer=run(f"Reducer.{name}"),
        labelBand="zone", maxSize=20,
    )  # fmt: skip
    assert image.names == ["height"]
    shown = rasters(image, values.shape)["height"]
    for _, members in split(values, mask, eight=True):
        at = tuple(np.array(members).T)
        known = weights[at] > 0
        here, heavy = heights[at][known], weights[at][known].astype(np.float64)
        if name == "count":
            assert (shown.values[at] == known.sum()).all()
        elif known.any():
            mean = np.average(here, weights=heavy)
            spread = np.sqrt(np.average((here - mean) ** 2, weights=heavy))
            expected = {"mean": mean, "sum": here @ heavy, "max": here.max(), "stdDev": spread}[name]
            np.testing.assert_allclose(shown.values[at], expected, atol=1e-12)
            assert (shown.mask[at] == 1).all()
        elif name != "sum":
            assert (shown.mask[at] == 0).all()


def test_wide_objects_are_masked_however_few_pixels_they_have():
    values = np.zeros((5, 9), np.int16)
    values[2, :6], values[4, 3:] = 1, 2
    mask = (values > 0).astype(np.float32)
    labels, other = from_array(values, mask, "zone"), from_array(values, mask, "height")
    image = Image((*labels.bands, *other.bands))
    for limit, shown in ((5, [False, False]), (6, [True, True])):
        reduced = run("Image.reduceConnectedComponents", image=image, reducer=run("Reducer.max"), maxSize=limit)
        found = pixels(reduced, (5, 9)).mask > 0
        assert [found[2, 0], found[4, 8]] == shown


def test_several_results_have_the_band_in_their_names():
    values, mask = scattered(4, 3)
    zones, one, two = (from_array(values, mask, name) for name in ("zone", "one", "two"))
    image = Image((*zones.bands, *one.bands, *two.bands))
    extremes = run("Image.reduceConnectedComponents", image=image, reducer=run("Reducer.minMax"))
    assert extremes.names == ["one_min", "one_max", "two_min", "two_max"]
    line = run("Image.reduceConnectedComponents", image=image, reducer=run("Reducer.linearFit"))
    assert line.names == ["scale", "offset"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Image.connectedComponents", {"connectedness": SQUARE, "maxSize": 5000}, "maxSize"),
        ("Image.connectedComponents", {"connectedness": run("Kernel.square", radius=2), "maxSize": 5}, "not emulated"),
        ("Image.reduceConnectedComponents", {"reducer": run("Reducer.mean")}, "at least one band more"),
    ],
)
def test_limits_are_refused_by_name(name, arguments, words):
    with pytest.raises(EmulatorError, match=words):
        run(name, image=from_array(VALUES), **arguments)


def test_results_that_no_pixel_holds_are_refused():
    zones, one = from_array(VALUES, name="zone"), from_array(VALUES, name="one")
    image = Image((*zones.bands, *one.bands))
    with pytest.raises(EmulatorError, match="must be numbers here"):
        run("Image.reduceConnectedComponents", image=image, reducer=run("Reducer.toList"))


@given(
    row=st.integers(-3, 9), col=st.integers(-3, 11), height=st.integers(1, 9), width=st.integers(1, 9),
    limit=st.integers(1, 12),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_a_window_equals_its_part_of_the_whole(row, col, height, width, limit):
    values, mask = scattered(4, 2)
    zones, one = from_array(values, mask, "zone"), from_array(values, mask, "one")
    labels = run("Image.connectedComponents", image=zones, connectedness=PLUS, maxSize=limit)
    sums = run(
        "Image.reduceConnectedComponents", image=Image((*zones.bands, *one.bands)), reducer=run("Reducer.mean"), maxSize=limit
    )  # fmt: skip
    nodes = [labels.bands[1].node, sums.bands[0].node]
    for complete, part in zip(
        render(nodes, whole(24, 26, -4, -4)), render(nodes, whole(height, width, row, col)), strict=True
    ):
        window = (slice(row + 4, row + 4 + height), slice(col + 4, col + 4 + width))
        np.testing.assert_array_equal(part.mask, complete.mask[window])
        shown = np.where(complete.mask > 0, complete.values, 0)[window]
        np.testing.assert_array_equal(np.where(part.mask > 0, part.values, 0), shown)
