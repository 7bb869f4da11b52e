"""Reducers over lists: what each result is, what it is called, and what nulls, ties and nothing at all do."""

import math

import numpy as np
import pytest

STATISTICS = [
    ("mean", [1, 2, 6], 3), ("mean", [1, None, 3], 2), ("mean", [], None),
    ("sum", [1, 2, 6.5], 9.5), ("sum", [], 0), ("sum", [None, None], 0),
    ("count", [], 0), ("count", [7], 1), ("count", [5, None, 5], 2), ("count", [5, "", "x"], 3),
    ("countEvery", [5, None, 5], 3), ("countEvery", [], 0),
    ("countDistinct", [5, 5, 6], 2), ("countDistinct", ["a", "b", "a"], 2), ("countDistinct", [None, 4], 2),
    ("countDistinctNonNull", [None, 4, 4], 1), ("countRuns", [1, 1, 2, None, 2, 1], 3), ("countRuns", [], 0),
    ("min", [4, -2, 9], -2), ("max", [4, -2, 9], 9), ("max", [], None), ("max", ["fig", "pear", "apple"], "pear"), ("min", ["fig", None, "apple"], "apple"), ("min", [None, 3], 3),
    ("product", [2, -3, 4], -24),
    ("variance", [2, 4, 4, 6], 2), ("stdDev", [2, 4, 4, 6], math.sqrt(2)), ("stdDev", [5], 0), ("stdDev", [], None),
    ("sampleVariance", [2, 4, 4, 6], 8 / 3), ("sampleStdDev", [1, 3], math.sqrt(2)), ("sampleVariance", [5], None),
    ("skew", [1, 2, 3], 0), ("kurtosis", [1, 2, 3, 4, 5], -1.3),
    ("anyNonZero", [0, 0, 3], 1), ("anyNonZero", [0, 0], 0), ("allNonZero", [1, 2], 1), ("allNonZero", [1, 0], 0),
    ("bitwiseAnd", [14, 7, 22], 6), ("bitwiseOr", [8, 3], 11),
    ("first", [None, 4], None), ("firstNonNull", [None, 4], 4), ("last", [4, None], None), ("lastNonNull", [4, None], 4),
    ("first", ["b", "a"], "b"), ("last", [], None), ("first", [[1, 2], 3], [1, 2]),
    ("median", [3, 1, 2], 2), ("median", [4, 1, 3, 2], 2.5), ("median", [], None), ("median", [8, None], 8),
    ("mode", [3, 1, 3, 2], 3), ("mode", [2, 2, 1, 1], 1), ("mode", [], None),
    ("circularMean", [math.pi / 2, math.pi / 2], math.pi / 2), ("circularVariance", [0.3, 0.3], 0),
    ("circularStddev", [0, math.pi / 2], math.sqrt(-2 * math.log(math.sqrt(0.5)))),
    ("toList", [3, None, "a"], [3, "a"]), ("toList", [], []),
    ("frequencyHistogram", [2, 1, 2, None], {"1": 1, "2": 2}), ("frequencyHistogram", ["a", "b", "a"], {"a": 2, "b": 1}),
    ("frequencyHistogram", [], {}),
    ("minMax", [1, 2, 3, 4], {"min": 1, "max": 4}), ("minMax", [], {"min": None, "max": None}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "expected"), STATISTICS, ids=lambda each: str(each)[:40])
def test_one_input(evaluate, name, values, expected):
    found = evaluate(lambda ee: ee.List(values).reduce(getattr(ee.Reducer, name)()))
    assert found == pytest.approx(expected, abs=1e-12) if isinstance(expected, float) else found == expected


@pytest.mark.parametrize(
    ("make", "values", "expected"),
    [
        (lambda r: r.percentile([0, 50, 100]), [4, 1, 9], {"p0": 1, "p50": 4, "p100": 9}),
        (lambda r: r.percentile([25]), [10, 20, 30, 40, 50], 20),
        (lambda r: r.percentile([10, 90], ["low", "high"]), [0, 10], {"low": 1, "high": 9}),
        (lambda r: r.intervalMean(0, 50), [1, 2, 3, 4, 100], 2),
        (lambda r: r.toList(2), [[1, 2], [None, 3], [4, 5]], [[1, 2], [4, 5]]),
        (lambda r: r.toList(2, 1), [[1, None], [None, 3]], [[1, None]]),
        (lambda r: r.toList(1), [7, 8], [[7], [8]]),
        (lambda r: r.max(2), [[3, 30], [5, 50], [4, 40]], {"max": 5, "max1": 50}),
        (lambda r: r.min(2), [[3, "c"], [1, "a"], [1, "b"]], {"min": 1, "min1": "a"}),
        (lambda r: r.linearFit(), [[0, 1], [1, 3], [2, 5]], {"scale": 2, "offset": 1}),
        (lambda r: r.linearFit(), [[1, 1], [1, 3]], {"scale": None, "offset": None}),
        (lambda r: r.mean().combine(r.count(), "", True), [1, 3], {"mean": 2, "count": 2}),
        (lambda r: r.mean().combine(r.mean(), "b_"), [[1, 10], [3, 30]], {"mean": 2, "b_mean": 20}),
        (lambda r: r.mean().repeat(2), [[1, 10], [3, 30]], [2, 20]),
        (lambda r: r.minMax().repeat(2), [[1, 10], [3, 30]], {"min": [1, 10], "max": [3, 30]}),
        (lambda r: r.toList().repeat(2), [[1, "a"], [2, "b"]], [[1, 2], ["a", "b"]]),
        (lambda r: r.sum().group(), [[1, 5], [2, 7], [1, 6]], [{"group": 1, "sum": 11}, {"group": 2, "sum": 7}]),
        (lambda r: r.count().group(1, "code"), [[5, "b"], [6, "a"], [None, "a"]],
         [{"code": "a", "count": 1}, {"code": "b", "count": 1}]),
        (lambda r: r.sum().repeat(2).group(2, "k"), [[1, 10, "x"], [2, 20, "y"], [3, 30, "x"]],
         [{"k": "x", "sum": [4, 40]}, {"k": "y", "sum": [2, 20]}]),
        (lambda r: r.mean().group(1).group(2, "outer"), [[1, 5, 0], [3, 5, 0], [9, 6, 1]], None),
        (lambda r: r.mean().splitWeights(), [[10, 1], [20, 3], [90, 0]], 17.5),
        (lambda r: r.mean().forEach(["a", "b"]), [[1, 10], [3, 30]], {"a": 2, "b": 20}),
        (lambda r: r.minMax().forEach(["a", "b"]), [[1, 10], [3, 30]], {"a_min": 1, "a_max": 3, "b_min": 10, "b_max": 30}),
        (lambda r: r.minMax().setOutputs(["low", ""]), [4, 2], 2),
        (lambda r: r.mean().setOutputs(["m"]).combine(r.sum(), "", True), [4, 2], {"m": 3, "sum": 6}),
        (lambda r: r.mean().unweighted(), [1, 2], 1.5),
        (lambda r: r.sum().disaggregate(), [1, [2, 3], {"a": 4}], 10),
        (lambda r: r.fixedHistogram(0, 10, 2), [1, 2, 5, 10, -1], [[0, 2], [5, 1]]),
        (lambda r: r.fixedHistogram(0, 10, 2, True), [1, 2, 5], [[0, 2], [5, 3]]),
        (lambda r: r.autoHistogram(4), [1, 2, 2, 4], [[1, 1], [2, 2], [3, 0], [4, 1]]),
        (lambda r: r.linearRegression(2), [[1, 0, 1], [1, 1, 3], [1, 2, 5], [1, 3, 7]], None),
        (lambda r: r.linearRegression(2), [[1, 0, 1], [1, 1, 3]], {"coefficients": None, "residuals": None}),
    ],
)  # fmt: skip
def test_several_inputs_or_results(evaluate, make, values, expected):
    found = evaluate(lambda ee: ee.List(values).reduce(make(ee.Reducer)))
    if isinstance(found, dict) and "residuals" in found and expected is None:
        assert np.allclose(found["coefficients"], [[1], [2]])
        found, expected = [round(each, 12) for each in found["residuals"]], [0]
    elif expected is None:  # groups within groups
        found, expected = found[0]["groups"], [{"group": 5, "mean": 2}]
    assert found == expected


def test_a_histogram_has_steps_of_a_power_of_two(evaluate):
    found = evaluate(lambda ee: ee.List([1, 2, 2, 4.5]).reduce(ee.Reducer.histogram(4)))
    assert found == {"bucketMeans": [1, 2, 3.5, 4.5], "bucketMin": 1, "bucketWidth": 1, "histogram": [1, 2, 0, 1]}
    ends = evaluate(lambda ee: ee.List([-1e308, 1.5, 1e308]).reduce(ee.Reducer.histogram()))
    assert sum(ends["histogram"]) == 3
    one = evaluate(lambda ee: ee.List([7, 7]).reduce(ee.Reducer.histogram()))
    assert one == {"bucketMeans": [7], "bucketMin": 7, "bucketWidth": 1, "histogram": [2]}
    wide = evaluate(lambda ee: ee.List.sequence(0, 999).reduce(ee.Reducer.histogram(100, 2)))
    assert (wide["bucketWidth"], len(wide["histogram"]), sum(wide["histogram"])) == (8, 125, 1000)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda r: r.mean(), ["mean"]),
        (lambda r: r.sampleStdDev(), ["stdDev"]),
        (lambda r: r.percentile([5, 97.5]), ["p5", "p97.5"]),
        (lambda r: r.max(3), ["max", "max1", "max2"]),
        (lambda r: r.toList(), ["list"]),
        (lambda r: r.mean().combine(r.minMax(), "x_", True), ["mean", "x_min", "x_max"]),
        (lambda r: r.mean().group(), ["groups"]),
        (lambda r: r.toCollection(["a", "b"]), ["features"]),
    ],
)
def test_names_of_results(evaluate, make, names):
    assert evaluate(lambda ee: make(ee.Reducer).getOutputs()) == names


@pytest.mark.parametrize(
    ("make", "values", "words"),
    [
        (lambda r: r.mean(), ["a"], "Cannot convert String to Number"),
        (lambda r: r.linearFit(), [1, 2], "Need a list of 2 inputs"),
        (lambda r: r.percentile([101]), [1], "from 0 to 100"),
        (lambda r: r.percentile([5, 6], ["one"]), [1], "outputNames"),
        (lambda r: r.mean().combine(r.linearFit(), "", True), [1], "equally many"),
        (lambda r: r.mean().combine(r.mean(), "", True), [1], "must differ"),
        (lambda r: r.mean().repeat(0), [1], "at least 1"),
        (lambda r: r.mean().group(2), [[1, 2]], "groupField"),
        (lambda r: r.bitwiseAnd(), [1.5], "integer only"),
        (lambda r: r.toList(2, 3), [[1, 2]], "numOptional"),
        (lambda r: r.histogramCombiner(), [[1, 2]], "Reducer.histogramCombiner"),
        (lambda r: r.fixedHistogram(1, 1, 2), [1], "min must be less than max"),
        (lambda r: r.fixedHistogram(0, 1, 0), [1], "steps"),
        (lambda r: r.mean().repeat(100_000), [1], "too many"),
        (lambda r: r.mean().repeat(1000).repeat(1000), [1], "too many"),
        (lambda r: r.max(10**9), [1], "too many"),
        (lambda r: r.toList(10**9), [1], "too many"),
        (lambda r: r.histogram(2**40), [1], "maxBuckets"),
        (lambda r: r.percentile(["a"]), [1], "Cannot convert String to Number"),
        (lambda r: r.linearFit(), [None, [1, 2]], "Need a list of 2 inputs"),
        (lambda r: r.mean().disaggregate(0), [[1]], "'axis' is not emulated"),
    ],
)
def test_what_is_refused(refusal, make, values, words):
    assert words in refusal(lambda ee: ee.List(values).reduce(make(ee.Reducer)))


ARRAYS = [
    (lambda ee: ee.Array([4, 0, 3]).reduce(ee.Reducer.count(), [0]), [3]),
    (lambda ee: ee.Array([[4, 0, 3], [1, 2, 3]]).reduce(ee.Reducer.sum(), [0]), [[5, 2, 6]]),
    (lambda ee: ee.Array([[4, 0, 3], [1, 2, 3]]).reduce(ee.Reducer.max(), [1]), [[4], [3]]),
    (lambda ee: ee.Array([[4, 0, 3], [1, 2, 3]]).reduce(ee.Reducer.mean(), [1, 0]), [[13 / 6]]),
    (lambda ee: ee.Array([[5], [2], [7]]).reduce(ee.Reducer.minMax(), [0], 1), [[2, 7]]),
    (lambda ee: ee.Array([[0, 1], [1, 3], [2, 5]]).reduce(ee.Reducer.linearFit(), [0], 1), [[2, 1]]),
    (lambda ee: ee.Array([5, -2, 4]).accum(0), [5, 3, 7]),
    (lambda ee: ee.Array([[1, 4], [6, 8]]).accum(1), [[1, 5], [6, 14]]),
    (lambda ee: ee.Array([[1, 4], [6, 8]]).accum(0, ee.Reducer.min()), [[1, 4], [1, 4]]),
    (lambda ee: ee.Array([2, 4, 9]).accum(0, ee.Reducer.mean()), [2, 3, 5]),
]


@pytest.mark.parametrize(("expression", "expected"), ARRAYS)
def test_arrays_are_reduced_along_axes(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (lambda ee: ee.Array([1, 2]).reduce(ee.Reducer.minMax(), [0]), "'fieldAxis' is required"),
        (lambda ee: ee.Array([1, 2]).reduce(ee.Reducer.sum(), [1]), "Axis 1"),
        (lambda ee: ee.Array([1, 2]).reduce(ee.Reducer.toList(), [0]), "must be a number"),
        (lambda ee: ee.Array([[1, 2]]).reduce(ee.Reducer.linearFit(), [1], 0), "Need 2 inputs"),
        (lambda ee: ee.Array([1, 2]).accum(0, ee.Reducer.minMax()), "one output"),
    ],
)
def test_arrays_that_cannot_be_reduced(refusal, expression, words):
    assert words in refusal(expression)
