"""Every reducer of numbers over the real images: per pixel over time and per region over space, parts of pixels weighted, as numpy and scipy find."""

import numpy as np
import pytest
import scipy.stats

from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.geometry import box
from tests.emulator.test_reduced_images import BAND, field, reducer

__all__ = ["field"]

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN|Mean of empty|Degrees of freedom|Precision loss:RuntimeWarning")


def valid(oracle, least=1):
    """An oracle of one row of numbers along the first axis; not a number where fewer than ``least`` are valid."""

    def along(stack):
        found = np.full(stack.shape[1:], np.nan)
        for place in np.ndindex(found.shape):
            series = stack[(slice(None), *place)]
            series = series[~np.isnan(series)]
            if len(series) >= least:
                found[place] = oracle(series)
        return found

    return along


def interval_mean(series):
    bottom, top = np.percentile(series, [10, 80])
    inside = series[(series >= bottom) & (series <= top)]
    return inside.mean() if len(inside) else (bottom + top) / 2


def product(series):
    with np.errstate(over="ignore"):
        return np.prod(series)


def bits(combine):
    return lambda series: combine.reduce(series.astype(np.int64))


def circle(series):
    return np.sin(series).mean(), np.cos(series).mean()


SERIES = {
    "variance": (reducer("variance"), np.var, 1),
    "sampleVariance": (reducer("sampleVariance"), lambda series: np.var(series, ddof=1), 2),
    "sampleStdDev": (reducer("sampleStdDev"), lambda series: np.std(series, ddof=1), 2),
    "skew": (reducer("skew"), scipy.stats.skew, 2),
    "kurtosis": (reducer("kurtosis"), scipy.stats.kurtosis, 2),
    "mode": (reducer("mode"), lambda series: scipy.stats.mode(series).mode, 1),
    "product": (reducer("product"), product, 1),
    "intervalMean": (reducer("intervalMean", minPercentile=10, maxPercentile=80), interval_mean, 1),
    "first": (reducer("first"), lambda series: series[0], 1),
    "last": (reducer("last"), lambda series: series[-1], 1),
    "firstNonNull": (reducer("firstNonNull"), lambda series: series[0], 1),
    "lastNonNull": (reducer("lastNonNull"), lambda series: series[-1], 1),
    "anyNonZero": (reducer("anyNonZero"), np.any, 1),
    "allNonZero": (reducer("allNonZero"), np.all, 1),
    "and": (reducer("and"), np.all, 1),
    "or": (reducer("or"), np.any, 1),
    "countDistinct": (reducer("countDistinct"), lambda series: len(np.unique(series)), 1),
    "countDistinctNonNull": (reducer("countDistinctNonNull"), lambda series: len(np.unique(series)), 1),
    "countRuns": (reducer("countRuns"), lambda series: 1 + np.count_nonzero(np.diff(series)), 1),
    "bitwiseAnd": (reducer("bitwiseAnd"), bits(np.bitwise_and), 1),
    "bitwiseOr": (reducer("bitwiseOr"), bits(np.bitwise_or), 1),
    "circularMean": (reducer("circularMean"), lambda series: np.arctan2(*circle(series)), 1),
    "circularVariance": (reducer("circularVariance"), lambda series: 1 - np.hypot(*circle(series)), 1),
    "circularStddev": (
        reducer("circularStddev"),
        lambda series: np.sqrt(-2 * np.log(min(np.hypot(*circle(series)), 1.0))),
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_over_time(field, name):
    session, images, stack, grid = field
    how, oracle, least = SERIES[name]
    collection = session.call("ImageCollection.fromImages", {"images": images})
    image = session.call("ImageCollection.reduce", {"collection": collection, "reducer": how})
    (raster,) = render([image.bands[0].node], grid)
    expected = valid(oracle, least)(stack)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal((raster.mask > 0)[known], True)
    if least == 1:
        np.testing.assert_array_equal(raster.mask > 0, known)
    np.testing.assert_allclose(raster.values[known], expected[known], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("date", [0, 7])
def test_over_space(field, name, date):
    session, images, stack, grid = field
    how, oracle, _ = SERIES[name]
    part = grid.window(row=3, col=5, height=grid.height // 2, width=grid.width // 3)
    values = stack[date, 3 : 3 + part.height, 5 : 5 + part.width]
    region = box(part.bounds, part.projection.crs)
    found = session.call("Image.reduceRegion", {"image": images[date], "reducer": how, "geometry": region})[BAND]
    assert found == pytest.approx(float(oracle(values[~np.isnan(values)])), rel=1e-9, abs=1e-9)


def weighted_variance(values, weights):
    return np.average((values - np.average(values, weights=weights)) ** 2, weights=weights)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("sum", lambda values, weights: (values * weights).sum()),
        ("mean", lambda values, weights: np.average(values, weights=weights)),
        ("variance", weighted_variance),
        ("stdDev", lambda values, weights: np.sqrt(weighted_variance(values, weights))),
        ("sampleVariance", lambda v, w: weighted_variance(v, w) * w.sum() / (w.sum() - 1)),
        ("circularMean", lambda v, w: np.arctan2((np.sin(v) * w).sum(), (np.cos(v) * w).sum())),
    ],
)
@pytest.mark.parametrize("date", [0, 7])
def test_parts_of_pixels_count_as_parts(field, name, oracle, date):
    """A box whose sides cut pixels at known fractions: the weight is the product of the parts of the row and the column."""
    session, images, stack, grid = field
    a, _, x, _, e, y = grid.transform
    left, top, right, bottom = 5.25, 3.5, 20.75, 22.125
    region = box((x + a * left, y + e * bottom, x + a * right, y + e * top), grid.projection.crs)
    rows, cols = covered(top, bottom, stack.shape[1]), covered(left, right, stack.shape[2])
    weights = np.outer(rows, cols)
    values = stack[date]
    used = ~np.isnan(values) & (weights > 0)
    found = session.call("Image.reduceRegion", {"image": images[date], "reducer": reducer(name), "geometry": region})
    # Coverage is kept as float32.
    assert found[BAND] == pytest.approx(oracle(values[used], weights[used]), rel=1e-5)


def covered(begin, end, count):
    """How much of each of so many pixels lies between two places."""
    places = np.arange(count)
    return np.clip(np.minimum(places + 1, end) - np.maximum(places, begin), 0, 1)


def test_histograms_over_space(field):
    session, images, stack, grid = field
    region = box(grid.bounds, grid.projection.crs)
    values = stack[0][~np.isnan(stack[0])]

    def found(how):
        return session.call("Image.reduceRegion", {"image": images[0], "reducer": how, "geometry": region})[BAND]

    numbers, counts = np.unique(values, return_counts=True)
    frequencies = found(reducer("frequencyHistogram"))
    assert {float(key): count for key, count in frequencies.items()} == dict(
        zip(numbers.tolist(), counts.tolist(), strict=True)
    )
    low, high = float(np.floor(values.min())), float(np.ceil(values.max())) + 1
    fixed = np.asarray(found(reducer("fixedHistogram", min=low, max=high, steps=20)).values)
    expected, edges = np.histogram(values, bins=20, range=(low, high))
    np.testing.assert_allclose(fixed[:, 0], edges[:-1])
    np.testing.assert_array_equal(fixed[:, 1], expected)


@pytest.mark.parametrize("date", [1, 7])
def test_a_line_over_space_is_that_of_numpy(field, date):
    session, images, stack, grid = field
    region = box(grid.bounds, grid.projection.crs)
    both = session.call("Image.addBands", {"dstImg": images[0], "srcImg": images[date], "names": None})
    found = session.call("Image.reduceRegion", {"image": both, "reducer": reducer("linearFit"), "geometry": region})
    used = ~np.isnan(stack[0]) & ~np.isnan(stack[date])
    scale, offset = np.polyfit(stack[0][used], stack[date][used], 1)
    assert found["scale"] == pytest.approx(scale, rel=1e-8)
    assert found["offset"] == pytest.approx(offset, rel=1e-8)
