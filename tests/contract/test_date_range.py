"""Intervals of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.values.dates import Date, DateRange

DAY = 86_400_000
SPRING = ("1970-01-02", "1970-01-05")


def span(start, end):
    return {"type": "DateRange", "dates": [start, end]}


VALUES = [
    (lambda ee: ee.DateRange(*SPRING), span(DAY, 4 * DAY)),
    (lambda ee: ee.DateRange("1970-01-02"), span(DAY, DAY + 1)),
    (lambda ee: ee.DateRange(5, 10), span(5, 10)),
    (lambda ee: ee.DateRange("1970-01-02", "1970-01-03", "Etc/GMT-1"), span(DAY - 3_600_000, 2 * DAY - 3_600_000)),
    (lambda ee: ee.DateRange(*SPRING).start(), {"type": "Date", "value": DAY}),
    (lambda ee: ee.DateRange(*SPRING).end(), {"type": "Date", "value": 4 * DAY}),
    (lambda ee: ee.DateRange(10, 5).isEmpty(), True),
    (lambda ee: ee.DateRange(5, 5).isEmpty(), True),
    (lambda ee: ee.DateRange(5, 6).isEmpty(), False),
    (lambda ee: ee.DateRange.unbounded().isUnbounded(), True),
    (lambda ee: ee.DateRange.unbounded().contains(ee.DateRange(*SPRING)), True),
    (lambda ee: ee.DateRange(5, 6).isUnbounded(), False),
    (lambda ee: ee.DateRange.unbounded().intersection(ee.DateRange(5, 9)), span(5, 9)),
    (lambda ee: ee.DateRange(5, 9).contains(5), True),
    (lambda ee: ee.DateRange(5, 9).contains(9), False),
    (lambda ee: ee.DateRange(5, 9).contains(ee.DateRange(5, 9)), True),
    (lambda ee: ee.DateRange(5, 9).contains(ee.DateRange(5, 10)), False),
    (lambda ee: ee.DateRange(5, 9).intersects(ee.DateRange(9, 12)), False),
    (lambda ee: ee.DateRange(5, 9).intersects(ee.DateRange(8, 12)), True),
    (lambda ee: ee.DateRange(5, 9).intersection(ee.DateRange(8, 12)), span(8, 9)),
    (lambda ee: ee.DateRange(5, 9).union(ee.DateRange(20, 30)), span(5, 30)),
]
ranges = st.tuples(st.integers(0, 20), st.integers(1, 9)).map(
    lambda each: DateRange(Date(float(each[0])), Date(float(sum(each))))
)


def run(name, one, two):
    return registry.call(f"DateRange.{name}", {"dateRange": one, "other": two})


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_ranges_are_computed(evaluate, expression, expected):
    assert evaluate(expression) == expected


def test_all_of_time_has_no_form_to_show(refusal):
    assert "unbounded" in refusal(lambda ee: ee.DateRange.unbounded())


@given(ranges, ranges)
def test_instants_decide_what_ranges_have_in_common(one, two):
    instants = [Date(float(each)) for each in range(31)]
    both = [each for each in instants if each in one and each in two]
    assert run("intersects", one, two) == bool(both)
    assert [each for each in instants if each in run("intersection", one, two)] == both
    assert run("contains", one, two) == all(each in one for each in instants if each in two)
    assert all(each in run("union", one, two) for each in instants if each in one or each in two)
