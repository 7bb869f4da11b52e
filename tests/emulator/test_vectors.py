"""Segments as features, against unions of single pixels."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.values.geometry import box

from .test_neighbourhoods import PLANE, from_array, run, whole

ndimage = pytest.importorskip("scipy.ndimage")
FULL, CROSS = np.ones((3, 3)), ndimage.generate_binary_structure(2, 1)


def vectors(image, **arguments):
    return run("Image.reduceToVectors", image=image, **arguments).elements


def pixel(row, col):
    return shapely.box(*whole(1, 1, row, col).bounds)


def split(values, mask, *, eight):
    """Every segment's value and pixels, by scipy."""
    found = []
    for value in np.unique(values):
        labels, count = ndimage.label((values == value) & (mask > 0), FULL if eight else CROSS)
        found += [(int(value), list(zip(*np.nonzero(labels == number), strict=True))) for number in range(1, count + 1)]
    return sorted(found, key=lambda each: min(each[1]))


@given(seed=st.integers(0, 10_000), eight=st.booleans(), kinds=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_polygons_are_the_unions_of_their_pixels(seed, eight, kinds):
    random = np.random.default_rng(seed)
    values = random.integers(0, kinds, (7, 9)).astype(np.int16)
    mask = (random.random((7, 9)) > 0.2).astype(np.float32)
    found = vectors(from_array(values, mask), eightConnected=eight, geometryInNativeProjection=True)
    expected = split(values, mask, eight=eight)
    assert [(each.properties["label"], each.properties["count"]) for each in found] == [
        (value, len(pixels)) for value, pixels in expected
    ]
    for feature, (_, pixels) in zip(found, expected, strict=True):
        assert feature.geometry.shape.is_valid
        union = shapely.union_all([pixel(row, col) for row, col in pixels])
        assert feature.geometry.shape.symmetric_difference(union).area == 0
        assert feature.geometry.crs == PLANE.crs
    assert [each.id for each in found] == [str(number) for number in range(len(found))]


SMALL = np.array([[1, 1, 2], [1, 2, 2], [3, 3, 3]], np.uint8)
OTHER = np.array([[10, 20, 5], [30, 6, 7], [1, 2, 6]], np.float64)


def two_bands():
    labels, values = from_array(SMALL, name="zone"), from_array(OTHER, name="height")
    return labels.with_bands([*labels.bands, *values.bands])


def test_a_reducer_sees_the_other_bands():
    image = two_bands()
    means = vectors(image, reducer=run("Reducer.mean"), labelProperty="zone")
    assert [each.properties for each in means] == [
        {"mean": 20.0, "zone": 1, "system:index": "0"}, {"mean": 6.0, "zone": 2, "system:index": "1"},
        {"mean": 3.0, "zone": 3, "system:index": "2"},
    ]  # fmt: skip
    unnamed = vectors(image, reducer=run("Reducer.mean"), labelProperty=None)
    assert set(unnamed[0].properties) == {"mean", "system:index"}
    three = image.with_bands([*image.bands, *from_array(OTHER * 2, name="twice").bands])
    assert vectors(three, reducer=run("Reducer.max"))[0].properties == {
        "height": 30.0, "twice": 60.0, "label": 1, "system:index": "0"
    }  # fmt: skip
    fit = vectors(three, reducer=run("Reducer.linearFit"))[0].properties
    assert fit["scale"] == pytest.approx(2)


def test_boxes_and_centroids():
    (square, corner, row) = vectors(from_array(SMALL), geometryType="bb", geometryInNativeProjection=True)
    assert square.geometry.shape.bounds == (600000, 4999980, 600020, 5000000)
    assert corner.geometry.shape.bounds == (600010, 4999980, 600030, 5000000)
    assert row.geometry.shape.bounds == (600000, 4999970, 600030, 4999980)
    middles = vectors(from_array(SMALL), geometryType="centroid", geometryInNativeProjection=True)
    assert shapely.get_coordinates(middles[2].geometry.shape).tolist() == [[600015, 4999975]]
    assert shapely.get_coordinates(middles[0].geometry.shape)[0] == pytest.approx([600005 + 10 / 3, 4999995 - 10 / 3])


def test_shapes_are_in_degrees_with_straight_edges():
    (feature,) = vectors(from_array(np.ones((2, 2), np.uint8)))
    assert feature.geometry.crs == WGS84
    assert feature.geometry.as_value()["geodesic"] is False
    x, y = convert(PLANE.crs, WGS84, np.array([600000.0]), np.array([5000000.0]))
    corners = shapely.get_coordinates(feature.geometry.shape)
    assert np.abs(corners - [x[0], y[0]]).max(axis=1).min() < 1e-12


def test_a_region_takes_the_pixels_whose_centre_is_inside():
    region = box((600004, 4999976, 600026, 4999996), PLANE.crs)
    found = vectors(from_array(SMALL), geometry=region, geometryInNativeProjection=True)
    assert sum(each.properties["count"] for each in found) == 6
    assert found[0].geometry.shape.bounds == (600010, 4999990, 600020, 5000000) or found[0].properties["count"] <= 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"geometryType": "circle"}, "Unknown geometryType 'circle'"),
        ({"reducer": "Reducer.mean"}, r"Need 1\+1 bands for Reducer.mean, image has 1"),
        ({"maxPixels": 4}, "Too many pixels in the region. Found 9, but maxPixels allows only 4"),
        ({"scale": -1}, "scale must be positive"),
        ({"tileScale": 99}, "tileScale"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    given_ = {key: run(value) if key == "reducer" else value for key, value in arguments.items()}
    with pytest.raises(EmulatorError, match=words):
        vectors(from_array(SMALL), **given_)


def test_labels_are_whole_numbers():
    with pytest.raises(EmulatorError, match="integer type"):
        vectors(from_array(OTHER))


def test_what_does_not_fit_in_memory_is_refused():
    with pytest.raises(EmulatorError, match="User memory limit exceeded"):
        vectors(from_array(SMALL), scale=0.001, maxPixels=1e13)


def test_more_segments_than_fit_in_memory_are_refused(monkeypatch):
    monkeypatch.setattr("airflow_ee.emulator.functions.vectors.MAX_SEGMENTS", 2)
    with pytest.raises(EmulatorError, match="User memory limit exceeded"):
        vectors(from_array(SMALL))


def test_the_streaming_form_is_the_same():
    streamed = run("Image.reduceToVectorsStreaming", image=from_array(SMALL)).elements
    assert [each.properties for each in streamed] == [each.properties for each in vectors(from_array(SMALL))]
