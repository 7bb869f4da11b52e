"""Filters: what passes, by type, by null, by place and by time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.values.element import Feature


def passing(ee, filter):
    """The names of those of a few features that pass."""
    day = 86400000
    rows = {
        "low": {"n": 1, "m": 2, "start": 0, "tags": ["a", "b"]},
        "high": {"n": 7.5, "m": 2, "start": 200 * day, "tags": ["c"]},
        "text": {"n": "7", "m": "six", "start": 364 * day},
        "none": {},
    }
    features = []
    for number, (name, row) in enumerate(rows.items()):
        properties = {key: value for key, value in row.items() if key != "start"}
        if "start" in row:
            properties["system:time_start"] = row["start"]
        place = None if name == "none" else ee.Geometry.Point(number, 10)
        features.append(ee.Feature(place, {"name": name, **properties}))
    return ee.FeatureCollection(features).filter(filter).aggregate_array("name")


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda f, _ee: f.eq("n", 1), ["low"]),
        (lambda f, _ee: f.eq("n", "7"), ["text"]),
        (lambda f, _ee: f.eq("n", 7), []),
        (lambda f, _ee: f.neq("m", 2), ["text", "none"]),
        (lambda f, _ee: f.lt("n", 7.5), ["low"]),
        (lambda f, _ee: f.lte("n", 6), ["low", "text", "none"]),
        (lambda f, _ee: f.gt("n", 1), ["high"]),
        (lambda f, _ee: f.gte("n", 2), ["high", "text", "none"]),
        (lambda f, _ee: f.gt("n", "6"), ["text"]),
        (lambda f, _ee: f.greaterThan(leftValue=5, rightField="n"), ["low"]),
        (lambda f, _ee: f.lessThan(leftField="n", rightField="m"), ["low", "text"]),
        (lambda f, _ee: f.eq("n", 1).Not(), ["high", "text", "none"]),
        (lambda f, _ee: f.And(f.gt("n", 0), f.lt("n", 5)), ["low"]),
        (lambda f, _ee: f.Or(f.eq("n", 1), f.eq("m", "six")), ["low", "text"]),
        (lambda f, _ee: f.inList("n", [1, "7", 8]), ["low", "text"]),
        (lambda f, _ee: f.inList("n", []), []),
        (lambda f, _ee: f.listContains("tags", "b"), ["low"]),
        (lambda f, _ee: f.rangeContains("n", 1, 7.5), ["low", "high"]),
        (lambda f, _ee: f.rangeContains("n", "6", "8"), ["text"]),
        (lambda f, _ee: f.stringContains("m", "i"), ["text"]),
        (lambda f, _ee: f.stringStartsWith("name", "l"), ["low"]),
        (lambda f, _ee: f.stringEndsWith("name", "e"), ["none"]),
        (lambda f, _ee: f.stringContains("n", "1"), []),
        (lambda f, _ee: f.notNull(["n", "tags"]), ["low", "high"]),
        (lambda f, _ee: f.maxDifference(2, "n", 6), ["high"]),
        (lambda f, _ee: f.maxDifference(1, leftField="n", rightField="m"), ["low"]),
        (lambda f, _ee: f.hasType("n", "Number"), ["low", "high"]),
        (lambda f, _ee: f.hasType("n", "String"), ["text"]),
        (lambda f, _ee: f.hasType(".geo", "Point"), ["low", "high", "text"]),
        (lambda f, _ee: f.hasType(".geo", "Polygon"), []),
        (lambda _f, ee: ee.ApiFunction.call_("Filter.hasGeometry"), ["low", "high", "text"]),
        (lambda f, ee: f.bounds(ee.Geometry.BBox(-1, 9, 1, 11)), ["low", "high"]),
        (lambda f, ee: f.disjoint(".geo", ee.Geometry.BBox(-1, 9, 1, 11)), ["text", "none"]),
        (lambda f, ee: f.isContained(".geo", ee.Geometry.BBox(-1, 9, 0.5, 11)), ["low"]),
        (lambda f, ee: f.contains(leftValue=ee.Geometry.BBox(-1, 9, 0.5, 11), rightField=".geo"), ["low"]),
        (lambda f, ee: f.withinDistance(120000, ".geo", ee.Geometry.Point(0, 10)), ["low", "high"]),
        (lambda _f, ee: ee.ApiFunction.call_("Filter.area", 0, 10), ["low", "high", "text"]),
        (lambda f, _ee: f.date("1970-01-01", "1970-07-20"), ["low"]),
        (lambda f, _ee: f.date("1970-01-02", "1971-01-01"), ["high", "text"]),
        (lambda f, _ee: f.dayOfYear(1, 201), ["low", "high"]),
        (lambda f, _ee: f.dayOfYear(300, 10), ["low", "text"]),
        (lambda f, _ee: f.calendarRange(12, 1, "month"), ["low", "text"]),
        (lambda f, _ee: f.calendarRange(7, None, "month"), ["high"]),
        (lambda f, _ee: f.calendarRange(1970, 1970, "year"), ["low", "high", "text"]),
        (lambda f, _ee: f.calendarRange(4, 4, "day_of_week"), ["low", "text"]),
        (lambda f, _ee: f.expression("n > 0.5 and n < 5"), ["low"]),
        (lambda f, _ee: f.expression("n == 1 || m == 'six'"), ["low", "text"]),
        (lambda f, _ee: f.expression('!(name == "low") && not name == "none"'), ["high", "text"]),
        (lambda f, _ee: f.expression("n < m"), ["low", "text"]),
        (lambda f, _ee: f.expression("3 > n"), ["low"]),
        (lambda f, _ee: f.expression("name in ('low', 'none')"), ["low", "none"]),
        (lambda _f, _ee: "n != 1 and system:time_start > 1e9", ["high", "text"]),
        (lambda _f, ee: ee.ApiFunction.call_("Filter.always"), ["low", "high", "text", "none"]),
        (lambda _f, ee: ee.ApiFunction.call_("Filter.never"), []),
    ],
)
def test_what_passes(evaluate, make, names):
    assert evaluate(lambda ee: passing(ee, make(ee.Filter, ee))) == names


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda ee: ee.Filter.eq("kind", "oak"), {"type": "Filter.eq", "leftField": "kind", "rightValue": "oak"}),
        (
            lambda ee: ee.Filter.maxDifference(2, "a", 3),
            {"type": "Filter.maxDifference", "difference": 2, "leftField": "a", "rightValue": 3},
        ),
    ],
)
def test_how_filters_are_shown(evaluate, make, shown):
    assert evaluate(make) == shown


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda ee: ee.Filter.expression("n >"), "Invalid filter string"),
        (lambda ee: ee.Filter.expression("n > 3 )"), "Invalid filter string"),
        (lambda ee: ee.Filter.expression("1 > 3"), "Invalid filter string"),
        (lambda ee: ee.Filter.expression("(" * 99 + "n > 3" + ")" * 99), "Invalid filter string"),
        (lambda ee: ee.Filter.calendarRange(1, 2, "fortnight"), "Unknown field"),
        (lambda ee: ee.Filter.hasType("n", "Byte"), "type 'Byte' is not emulated"),
        (lambda ee: ee.ApiFunction.call_("Filter.lessThan", "a"), "give one of"),
        (lambda ee: ee.ApiFunction.call_("Filter.equals", None, 1, None, 2), "must be a field"),
    ],
)
def test_what_is_not_understood_is_refused(refusal, make, words):
    assert words in refusal(make)


comparisons = st.sampled_from(["eq", "neq", "lt", "lte", "gt", "gte"])
values = st.one_of(st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["a", "b"]), st.none())
elements = st.builds(lambda a, b: Feature(None, {"a": a, "b": b}), values, values)
filters = st.builds(
    lambda name, field, value: registry.call(f"Filter.{name}", {"leftField": field, "rightValue": value}),
    comparisons,
    st.sampled_from(["a", "b"]),
    values.filter(lambda value: value is not None),
)


@given(filters, filters, elements)
def test_the_laws_of_de_morgan(one, other, element):
    def make(name, *parts):
        if name == "not":
            return registry.call("Filter.not", {"filter": parts[0]})
        return registry.call(f"Filter.{name}", {"filters": list(parts)})

    neither = make("not", make("or", one, other))
    assert neither.matches(element) == make("and", make("not", one), make("not", other)).matches(element)
    not_both = make("not", make("and", one, other))
    assert not_both.matches(element) == make("or", make("not", one), make("not", other)).matches(element)


def test_a_null_to_compare_with_asks_for_what_is_there(evaluate):
    rows = [{"n": 1}, {"n": 0}, {}]

    def kept(ee, condition):
        return ee.FeatureCollection([ee.Feature(None, row) for row in rows]).filter(condition).size()

    assert evaluate(lambda ee: kept(ee, ee.Filter.neq("n", None))) == 2
    assert evaluate(lambda ee: kept(ee, ee.Filter.eq("n", None))) == 1
