"""Kinds of columns: the same in whatever order values come, and nothing is rounded or lost."""

import json
import math
from datetime import UTC, datetime
from functools import reduce

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.core.columns import arrow_type, arrow_value, json_value, kind_of, text_of, widen

DATE = {"type": "Date", "value": 1_577_836_800_000}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3),
    st.sampled_from(["NaN", "Infinity", "-Infinity", 2**53, 2**53 + 1, -(2**63), DATE]),
)  # fmt: skip
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner))


def kind_of_all(column):
    return reduce(widen, map(kind_of, column), kind_of(None))


def arrow(column):
    kind = kind_of_all(column)
    return pa.array([arrow_value(kind, value) for value in column], arrow_type(kind))


@settings(deadline=None)
@given(st.lists(values, max_size=6), st.randoms())
def test_the_kind_of_a_column_does_not_depend_on_the_order_of_its_values(column, chance):
    shuffled = chance.sample(column, len(column))
    assert kind_of_all(column) == kind_of_all(shuffled)


@settings(deadline=None)
@given(st.lists(values, max_size=6), st.integers(0, 6))
def test_the_kind_of_a_column_does_not_depend_on_how_it_is_cut(column, cut):
    assert widen(kind_of_all(column[:cut]), kind_of_all(column[cut:])) == kind_of_all(column)


@settings(deadline=None)
@given(st.lists(values, max_size=6))
def test_every_column_has_a_place_in_arrow_and_nulls_stay_nulls(column):
    made = arrow(column)
    assert [value.is_valid for value in made] == [value is not None for value in column]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63) + 1, 2**63 - 1), st.floats()), max_size=6))
def test_numbers_come_back_as_the_same_numbers_or_as_their_text(column):
    for before, after in zip(column, arrow(column).to_pylist(), strict=True):
        if isinstance(after, str):
            assert after == text_of(before)
        else:
            assert after == before or (math.isnan(after) and math.isnan(before))


@pytest.mark.parametrize(
    ("column", "kind", "found"),
    [
        ([1, 2], pa.int64(), [1, 2]),
        ([1, None, 2.5], pa.float64(), [1.0, None, 2.5]),
        ([2**53, 0.5], pa.float64(), [2.0**53, 0.5]),
        ([2**53 + 1, 5], pa.int64(), [2**53 + 1, 5]),
        ([2**53 + 1, 0.5], pa.string(), ["9007199254740993", "0.5"]),
        ([10**20], pa.float64(), [1e20]),
        ([True, None], pa.bool_(), [True, None]),
        ([True, 1], pa.string(), ["true", "1"]),
        ([1, "a"], pa.string(), ["1", "a"]),
        ([1, "Infinity", "-Infinity"], pa.float64(), [1.0, math.inf, -math.inf]),
        (["NaN", "a"], pa.string(), ["NaN", "a"]),
        ([None, None], pa.string(), [None, None]),
        ([""], pa.string(), [""]),
        ([[1], [], [2.5, None]], pa.list_(pa.float64()), [[1.0], [], [2.5, None]]),
        ([[[1, 2], [3]], []], pa.list_(pa.list_(pa.int64())), [[[1, 2], [3]], []]),
        ([[1, "a"]], pa.string(), ['[1, "a"]']),
        ([[1], 1], pa.string(), ["[1]", "1"]),
        ([{"b": 1, "a": [None]}], pa.string(), ['{"a": [null], "b": 1}']),
        ([DATE], pa.timestamp("ms", "UTC"), [datetime(2020, 1, 1, tzinfo=UTC)]),
        ([DATE, "soon"], pa.string(), ["2020-01-01T00:00:00Z", "soon"]),
    ],
)
def test_columns_have_the_narrowest_type_that_holds_them(column, kind, found):
    made = arrow(column)
    assert made.type.equals(kind)
    assert made.to_pylist() == found


@settings(deadline=None)
@given(st.lists(values, max_size=6))
def test_geojson_has_no_word_that_json_does_not_know(column):
    kind = kind_of_all(column)
    json.dumps([json_value(kind, value) for value in column], allow_nan=False)
