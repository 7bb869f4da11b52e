"""Tables: reductions of columns, and statistics of one property."""

import math

import pytest


def features(ee, *rows):
    return ee.FeatureCollection([ee.Feature(None, row) for row in rows])


ROWS = ({"a": 1, "w": 1, "s": "x"}, {"a": 2, "w": 2, "s": "y"}, {"a": 3, "w": 3, "s": "x"})

COLUMNS = [
    (lambda r: r.mean(), ["a"], ["w"], {"mean": 14 / 6}),
    (lambda r: r.mean(), ["a"], None, {"mean": 2}),
    (lambda r: r.sum().repeat(2), ["a", "w"], None, {"sum": [6, 6]}),
    (lambda r: r.toList().repeat(2), ["a", "s"], None, {"list": [[1, 2, 3], ["x", "y", "x"]]}),
    (lambda r: r.toList(2), ["a", "s"], None, {"list": [[1, "x"], [2, "y"], [3, "x"]]}),
    (lambda r: r.minMax(), ["a"], None, {"min": 1, "max": 3}),
    (lambda r: r.first(), ["s"], None, {"first": "x"}),
    (lambda r: r.frequencyHistogram(), ["s"], None, {"histogram": {"x": 2, "y": 1}}),
    (lambda r: r.countDistinct(), ["s"], None, {"count": 2}),
    (lambda r: r.mean().group(1, "s"), ["a", "s"], None, {"groups": [{"s": "x", "mean": 2}, {"s": "y", "mean": 2}]}),
    (lambda r: r.mean().combine(r.count(), "", True), ["a"], None, {"mean": 2, "count": 3}),
    (lambda r: r.mean().combine(r.max(), "", False), ["a", "w"], None, {"mean": 2, "max": 3}),
    (lambda r: r.mean().splitWeights(), ["a", "w"], None, {"mean": 14 / 6}),
    (lambda r: r.linearFit(), ["a", "w"], None, {"scale": 1, "offset": 0}),
    (lambda r: r.mean(), ["nosuch"], None, {"mean": None}),
    (lambda r: r.toList(), ["nosuch"], None, {"list": []}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "selectors", "weights", "expected"), COLUMNS)
def test_columns(evaluate, make, selectors, weights, expected):
    found = evaluate(lambda ee: features(ee, *ROWS).reduceColumns(make(ee.Reducer), selectors, weights))
    assert found == (
        pytest.approx(expected) if all(isinstance(each, float) for each in expected.values()) else expected
    )


def test_rows_with_a_null_count_only_where_they_are_known(evaluate):
    rows = ({"a": 1, "b": 10}, {"b": 20}, {"a": 3})
    means = evaluate(lambda ee: features(ee, *rows).reduceColumns(ee.Reducer.mean().repeat(2), ["a", "b"]))
    assert means == {"mean": [2, 15]}
    pairs = evaluate(lambda ee: features(ee, *rows).reduceColumns(ee.Reducer.toList(2), ["a", "b"]))
    assert pairs == {"list": [[1, 10]]}
    loose = evaluate(lambda ee: features(ee, *rows).reduceColumns(ee.Reducer.toList(2, 1), ["a", "b"]))
    assert loose == {"list": [[1, 10], [3, None]]}


def test_what_a_client_asks_of_a_collection_before_it_opens_it(evaluate):
    found = evaluate(
        lambda ee: ee.ImageCollection([ee.Image(n).set("system:time_start", n * 1000) for n in range(3)]).reduceColumns(
            ee.Reducer.toList().repeat(2), ["system:index", "system:time_start"]
        )
    )
    assert found == {"list": [["0", "1", "2"], [0, 1000, 2000]]}


def test_an_empty_table(evaluate):
    empty = evaluate(lambda ee: ee.FeatureCollection([]).reduceColumns(ee.Reducer.toList().repeat(2), ["a", "b"]))
    assert empty == {"list": [[], []]}
    assert evaluate(lambda ee: ee.FeatureCollection([]).reduceColumns(ee.Reducer.count(), ["a"])) == {"count": 0}


@pytest.mark.parametrize(
    ("make", "selectors", "weights", "words"),
    [
        (lambda r: r.mean(), ["a", "w"], None, "Collection.reduceColumns: Need 1 inputs for Reducer.mean, got 2."),
        (lambda r: r.mean(), ["a"], ["w", "w"], "Need 1 weights for Reducer.mean, got 2."),
        (lambda r: r.count(), ["a"], ["w"], "Need 0 weights"),
        (lambda r: r.mean(), ["s"], None, "Cannot convert String to Number"),
        (lambda r: r.mean(), ["a"], ["s"], "'s' is a weight"),
    ],
)
def test_what_is_refused(refusal, make, selectors, weights, words):
    assert words in refusal(lambda ee: features(ee, *ROWS).reduceColumns(make(ee.Reducer), selectors, weights))


AGGREGATES = [
    ("array", [2, 4, 4, 6]), ("first", 2), ("count", 4), ("count_distinct", 3), ("histogram", {"2": 1, "4": 2, "6": 1}),
    ("min", 2), ("max", 6), ("mean", 4), ("sum", 16), ("product", 192), ("total_var", 2), ("total_sd", math.sqrt(2)),
    ("sample_var", 8 / 3), ("sample_sd", math.sqrt(8 / 3)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), AGGREGATES)
@pytest.mark.parametrize("kind", ["FeatureCollection", "ImageCollection"])
def test_aggregates_pass_over_elements_without_the_property(evaluate, kind, name, expected):
    def expression(ee):
        rows = [{"v": 2}, {"v": 4}, {}, {"v": 4}, {"v": 6}]
        images = ee.ImageCollection([ee.Image(1).set(row) for row in rows])
        collection = images if kind == "ImageCollection" else features(ee, *rows)
        return getattr(collection, f"aggregate_{name}")("v")

    found = evaluate(expression)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_all_statistics_at_once(evaluate):
    found = evaluate(lambda ee: features(ee, {"v": 2}, {"v": 4}, {}, {"v": 6}).aggregate_stats("v"))
    assert found == {
        "min": 2, "max": 6, "mean": 4, "sum": 12, "sum_sq": 56, "sample_sd": 2, "sample_var": 4,
        "total_sd": pytest.approx(math.sqrt(8 / 3)), "total_var": pytest.approx(8 / 3), "total_count": 4, "valid_count": 3,
        "weight_sum": 3, "weighted_sum": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [("array", []), ("first", None), ("count", 0), ("count_distinct", 0), ("histogram", {}), ("min", None), ("max", None),
     ("mean", None), ("sum", 0), ("total_var", None), ("sample_var", None)],
)  # fmt: skip
def test_aggregates_of_nothing(evaluate, name, expected):
    assert evaluate(lambda ee: getattr(features(ee, {"a": 1}), f"aggregate_{name}")("v")) == expected


def test_texts_have_an_order_but_no_mean(evaluate, refusal):
    def rows(ee):
        return features(ee, {"v": "pear"}, {"v": "apple"}, {"v": "fig"})

    assert evaluate(lambda ee: rows(ee).aggregate_min("v")) == "apple"
    assert evaluate(lambda ee: rows(ee).aggregate_max("v")) == "pear"
    assert evaluate(lambda ee: rows(ee).aggregate_count_distinct("v")) == 3
    assert "not a number" in refusal(lambda ee: rows(ee).aggregate_mean("v"))


def test_a_random_column_belongs_to_the_index_and_the_seed(evaluate):
    def column(ee, **arguments):
        points = ee.FeatureCollection([ee.Feature(None, {"n": n}) for n in range(200)])
        return points.randomColumn(**arguments).aggregate_array(arguments.get("columnName", "random"))

    first = evaluate(lambda ee: column(ee))
    assert first == evaluate(lambda ee: column(ee))
    assert first != evaluate(lambda ee: column(ee, seed=1))
    assert len(set(first)) == 200
    assert 0 <= min(first) < 0.05
    assert 0.95 < max(first) < 1
    normal = evaluate(lambda ee: column(ee, columnName="z", distribution="normal"))
    assert abs(sum(normal) / 200) < 0.3
    assert evaluate(lambda ee: column(ee, rowKeys=["n"])) != first


def test_an_unknown_distribution_is_refused(refusal):
    assert "poisson" in refusal(lambda ee: features(ee, {"a": 1}).randomColumn("r", 0, "poisson"))
