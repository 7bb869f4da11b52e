"""Stacks of images: every reducer at every pixel, names and types of bands, and properties that hold for any stack."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Positional, Raster, render
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.image import Band, Image
from airflow_ee.emulator.values.reducers import Column
from airflow_ee.emulator.values.reducers import quantiles as ordered

PLANE = Projection(Crs("EPSG:32632"), (10.0, 0.0, 6e5, 0.0, -10.0, 5e6))


def image_of(**bands):
    made = []
    for name, (values, mask) in bands.items():
        raster = Raster(np.asarray(values), np.asarray(mask, dtype=np.float32))
        made.append(Band(name, type_of_dtype(raster.values.dtype), Positional(lambda _, raster=raster: raster), PLANE))
    return Image(tuple(made))


def run(name, **arguments):
    return registry.call(name, arguments)


def collection(*images):
    return run("ImageCollection.fromImages", images=list(images))


def pixels(image, shape):
    return render([band.node for band in image.bands], Grid(PLANE, row=0, col=0, height=shape[0], width=shape[1]))


STACK = [(4, 1), (7, 0), (4, 1), (1, 1)]
"""One pixel's values and masks over four images; in a second pixel all are masked, in a third none is."""


def small():
    layers = [image_of(b=(np.array([[v, 0, n]], np.int16), [[m, 0, 1]])) for n, (v, m) in enumerate(STACK)]
    return collection(*layers)


PIXELS = [
    ("mean", {}, [3, None, 1.5]), ("sum", {}, [9, None, 6]), ("count", {}, [3, None, 4]), ("countEvery", {}, [4, None, 4]),
    ("countDistinct", {}, [2, None, 4]), ("countDistinctNonNull", {}, [2, None, 4]), ("countRuns", {}, [2, None, 4]),
    ("min", {}, [1, None, 0]), ("max", {}, [4, None, 3]), ("median", {}, [4, None, 1.5]), ("mode", {}, [4, None, 0]),
    ("first", {}, [4, None, 0]), ("firstNonNull", {}, [4, None, 0]), ("last", {}, [1, None, 3]),
    ("lastNonNull", {}, [1, None, 3]), ("product", {}, [16, None, 0]), ("variance", {}, [2, None, 1.25]),
    ("stdDev", {}, [2**0.5, None, 1.25**0.5]), ("sampleVariance", {}, [3, None, 5 / 3]),
    ("anyNonZero", {}, [1, None, 1]), ("allNonZero", {}, [1, None, 0]), ("bitwiseOr", {}, [5, None, 3]),
    ("bitwiseAnd", {}, [0, None, 0]), ("percentile", {"percentiles": [50]}, [4, None, 1.5]),
    ("intervalMean", {"minPercentile": 0, "maxPercentile": 50}, [3, None, 0.5]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "expected"), PIXELS)
def test_a_reducer_at_pixels(name, arguments, expected):
    image = run("ImageCollection.reduce", collection=small(), reducer=run(f"Reducer.{name}", **arguments))
    (raster,) = pixels(image, (1, 3))
    found = [float(value) if valid else None for value, valid in zip(raster.values[0], raster.mask[0] > 0, strict=True)]
    assert found == [each if each is None else pytest.approx(each) for each in expected]


def test_first_looks_at_one_image_and_first_non_null_at_all():
    images = collection(image_of(b=([[5]], [[0]])), image_of(b=([[6]], [[1]])))
    first, known = (run("ImageCollection.reduce", collection=images, reducer=run(f"Reducer.{name}"))
                    for name in ("first", "firstNonNull"))  # fmt: skip
    assert pixels(first, (1, 1))[0].mask.item() == 0
    assert pixels(known, (1, 1))[0].values.item() == 6


@pytest.mark.parametrize(
    ("name", "arguments", "names", "precisions"),
    [
        ("mean", {}, ["i_mean", "f_mean"], ["double", "float"]),
        ("median", {}, ["i_median", "f_median"], ["double", "float"]),
        ("max", {}, ["i_max", "f_max"], ["int", "float"]),
        ("count", {}, ["i_count", "f_count"], ["int", "int"]),
        ("sum", {}, ["i_sum", "f_sum"], ["int", "float"]),
        ("minMax", {}, ["i_min", "i_max", "f_min", "f_max"], ["int", "int", "float", "float"]),
        (
            "percentile",
            {"percentiles": [5, 95]},
            ["i_p5", "i_p95", "f_p5", "f_p95"],
            ["double", "double", "float", "float"],
        ),
        ("linearFit", {}, ["scale", "offset"], ["double", "double"]),
        ("max", {"numInputs": 2}, ["max", "max1"], ["int", "float"]),
    ],
)
def test_bands_of_a_reduced_collection(name, arguments, names, precisions):
    one = image_of(i=(np.array([[3]], np.int16), [[1]]), f=(np.array([[0.5]], np.float32), [[1]]))
    image = run("ImageCollection.reduce", collection=collection(one, one), reducer=run(f"Reducer.{name}", **arguments))
    assert image.names == names
    assert [band.type.precision for band in image.bands] == precisions


def test_the_shortcuts_keep_band_names():
    for name in ("mean", "median", "min", "max", "sum", "count", "mode", "product", "and", "or"):
        assert run(f"reduce.{name}", collection=small()).names == ["b"]


def test_inputs_are_carried_along_with_the_extreme():
    images = [
        image_of(x=([[x]], [[1]]), y=([[y]], [[m]])) for x, y, m in [(3, 30, 1), (9, 90, 1), (9, 91, 1), (4, 40, 0)]
    ]
    image = run("ImageCollection.reduce", collection=collection(*images), reducer=run("Reducer.max", numInputs=2))
    assert [raster.values.item() for raster in pixels(image, (1, 1))] == [9, 90]


def test_lines_at_pixels():
    images = [
        image_of(x=([[float(x)]], [[1]]), y=([[2.0 * x + 1]], [[m]])) for x, m in [(0, 1), (1, 1), (5, 0), (2, 1)]
    ]
    image = run("ImageCollection.reduce", collection=collection(*images), reducer=run("Reducer.linearFit"))
    assert [raster.values.item() for raster in pixels(image, (1, 1))] == pytest.approx([2, 1])


def test_bands_of_one_image_are_reduced_to_results():
    image = image_of(a=([[1, 5]], [[1, 1]]), b=([[3, 9]], [[1, 0]]))
    reduced = run("Image.reduce", image=image, reducer=run("Reducer.minMax"))
    assert reduced.names == ["min", "max"]
    assert [raster.values.tolist() for raster in pixels(reduced, (1, 2))] == [[[1, 5]], [[3, 5]]]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("toCollection", {"propertyNames": ["a"]}, "no pixel can hold it"),
        ("histogram", {}, "no pixel can hold it"),
        ("frequencyHistogram", {}, "no pixel can hold it"),
        ("linearFit", {}, "ImageCollection.reduce: Need 2 inputs for Reducer.linearFit, got 1."),
    ],
)
def test_what_no_pixel_can_hold_is_refused_by_name(name, arguments, words):
    with pytest.raises(Exception, match=words):
        run("ImageCollection.reduce", collection=small(), reducer=run(f"Reducer.{name}", **arguments))


def test_repeated_and_grouped_results_are_no_pixels():
    for how in (
        run("Reducer.repeat", reducer=run("Reducer.mean"), count=1),
        run("Reducer.group", reducer=run("Reducer.mean")),
    ):
        with pytest.raises(Exception, match="no pixel can hold it|Need 2 inputs"):
            run("ImageCollection.reduce", collection=small(), reducer=how)


def test_mosaics_show_the_last_image_and_keep_its_mask():
    layers = [image_of(b=([[n, n]], [[1, m]])) for n, m in [(1, 0.5), (2, 0), (3, 0)]]
    (raster,) = pixels(run("ImageCollection.mosaic", collection=collection(*layers)), (1, 2))
    assert raster.values.tolist() == [[3, 1]]
    assert raster.mask.tolist() == [[1, 0.5]]


def test_a_quality_mosaic_shows_the_first_of_equals():
    layers = [
        image_of(q=([[q]], [[m]]), b=([[b]], [[1]])) for q, m, b in [(5, 1, 10), (9, 0, 20), (7, 1, 30), (7, 1, 40)]
    ]
    image = run("ImageCollection.qualityMosaic", collection=collection(*layers), qualityBand="q")
    assert [raster.values.item() for raster in pixels(image, (1, 1))] == [7, 30]


KINDS = st.sampled_from([np.uint8, np.int16, np.int32, np.float32, np.float64])


@st.composite
def stacks(draw, masks=(0.0, 1.0)):
    """Up to nine layers of one type over six pixels, few different values so that ties come up."""
    dtype, depth = draw(KINDS), draw(st.integers(1, 9))
    values = draw(st.lists(st.integers(0, 5), min_size=6 * depth, max_size=6 * depth))
    weights = draw(st.lists(st.sampled_from(masks), min_size=6 * depth, max_size=6 * depth))
    scale = 1 if np.dtype(dtype).kind in "iu" else 0.37
    whole = (np.array(values).reshape(depth, 2, 3) * scale).astype(dtype)
    return [Raster(value, mask) for value, mask in zip(whole, np.float32(weights).reshape(depth, 2, 3), strict=True)]


SINGLE = ["mean", "sum", "count", "min", "max", "median", "mode", "stdDev", "variance", "product", "anyNonZero",
          "allNonZero", "sampleVariance", "countDistinctNonNull", "countRuns", "firstNonNull", "lastNonNull", "skew", "kurtosis"]  # fmt: skip


@given(layers=stacks(masks=(0.0, 0.25, 0.7, 1.0)), name=st.sampled_from(SINGLE))
@settings(max_examples=150, deadline=None)
def test_pixels_are_reduced_as_lists_are(layers, name):
    """The way through whole layers, with all its short cuts, against the way through one column at a time."""
    reducer = run(f"Reducer.{name}")
    (result,) = reducer.of_layers([layers])
    for row, col in itertools.product(range(2), range(3)):
        values, weights = (
            [float(each[row, col]) for each in part] for part in zip(*(layer[:2] for layer in layers), strict=True)
        )
        column = Column(np.array(values), np.array(weights), np.array(weights) > 0)
        (expected,) = reducer.of_columns([column], function="test").values()
        shown = any(weights) and expected is not None
        assert result.known[row, col] == shown
        if shown:
            assert result.values[row, col] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(layers=stacks(), shares=st.lists(st.floats(0, 1), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_the_short_way_to_quantiles_is_the_long_one(layers, shares):
    valid = [layer.mask > 0 for layer in layers]
    known = np.logical_or.reduce(valid)
    for short, long in zip(ordered.ranked(layers, valid, shares), ordered.weighed(layers, shares), strict=True):
        np.testing.assert_allclose(short[known], long[known], rtol=1e-9, atol=1e-12)


@given(layers=stacks(), share=st.floats(0, 100))
@settings(max_examples=100, deadline=None)
def test_percentiles_are_numpys(layers, share):
    (result,) = run("Reducer.percentile", percentiles=[share]).of_layers([layers])
    stack = np.stack([np.where(layer.mask > 0, layer.values.astype(np.float64), np.nan) for layer in layers])
    for row, col in zip(*np.nonzero(result.known), strict=True):
        expected = np.nanpercentile(stack[:, row, col], share)
        assert result.values[row, col] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(layers=stacks(masks=(0.0, 0.5, 1.0)), name=st.sampled_from(SINGLE[:14]), seed=st.integers(0, 2**16))
@settings(max_examples=100, deadline=None)
def test_the_order_of_images_does_not_matter(layers, name, seed):
    reducer = run(f"Reducer.{name}")
    shuffled = [layers[place] for place in np.random.default_rng(seed).permutation(len(layers))]
    (one,), (two,) = reducer.of_layers([layers]), reducer.of_layers([shuffled])
    np.testing.assert_array_equal(one.known, two.known)
    np.testing.assert_allclose(one.values[one.known], two.values[two.known], rtol=1e-12, atol=1e-14)


def test_deep_stacks_are_sorted_the_other_way():
    chances = np.random.default_rng(1)
    layers = [Raster(chances.random((2, 2)), np.ones((2, 2), np.float32)) for _ in range(ordered.MAX_NETWORK + 3)]
    (result,) = run("Reducer.median").of_layers([layers])
    np.testing.assert_allclose(result.values, np.median([layer.values for layer in layers], axis=0), rtol=1e-12)
