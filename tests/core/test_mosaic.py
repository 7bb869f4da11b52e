"""Mosaics are numpy's: of valid values only, with the day of the image that they come from."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_ee.core import mosaic as module
from airflow_ee.core.mosaic import MOSAICS, UNKNOWN_DAY, Layer, Mosaic

SHAPE = (3, 4)
layers = st.lists(
    st.builds(
        Layer,
        hnp.arrays(np.int16, SHAPE, elements=st.integers(-3000, 10000)),
        hnp.arrays(bool, SHAPE),
        hnp.arrays(np.int32, SHAPE, elements=st.sampled_from([UNKNOWN_DAY, 100, 105, 110])),
    ),
    min_size=1,
    max_size=5,
)


def make(rule, stack):
    mosaic = Mosaic(rule)
    for layer in stack:
        mosaic.add(layer)
    return mosaic.result()


@given(stack=layers, rule=st.sampled_from(MOSAICS))
def test_a_mosaic_is_numpys_reduction_of_the_valid_values(stack, rule):
    values = np.array([np.where(layer.valid, layer.values, np.nan) for layer in stack])
    anywhere = ~np.isnan(values).all(axis=0)
    first = np.argmax(~np.isnan(values), axis=0)
    last = len(stack) - 1 - np.argmax(~np.isnan(values[::-1]), axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that are valid nowhere
        expected = {
            "first": np.take_along_axis(values, first[None], 0)[0],
            "last": np.take_along_axis(values, last[None], 0)[0],
            "mean": np.nanmean(values, axis=0),
            "median": np.nanmedian(values, axis=0),
            "min": np.nanmin(values, axis=0),
            "max": np.nanmax(values, axis=0),
        }[rule]
    made = make(rule, stack)
    assert np.array_equal(made.valid, anywhere)
    assert np.allclose(made.values[anywhere], expected[anywhere])
    assert make(rule, stack).values.tolist() == made.values.tolist(), "the layers that went in are as they were"


@given(stack=layers, rule=st.sampled_from(["first", "last", "min", "max"]))
def test_a_value_that_was_chosen_keeps_its_day(stack, rule):
    made = make(rule, stack)
    for at in zip(*np.nonzero(made.valid), strict=True):
        there = [(layer.values[at], layer.days[at]) for layer in stack if layer.valid[at]]
        assert (made.values[at], made.days[at]) in there
        if rule in {"min", "max"}:
            # Of equals the first.
            assert made.days[at] == next(day for value, day in there if value == made.values[at])


@given(stack=layers, rule=st.sampled_from(["mean", "median"]))
def test_the_day_of_a_mean_is_that_of_the_valid_values_days(stack, rule):
    made = make(rule, stack)
    reduce = {"mean": np.mean, "median": np.median}[rule]
    for at in np.ndindex(SHAPE):
        days = [layer.days[at] for layer in stack if layer.valid[at] and layer.days[at] != UNKNOWN_DAY]
        assert made.days[at] == (np.floor(reduce(days)) if days else UNKNOWN_DAY)


@given(stack=layers, block=st.integers(1, 7))
def test_a_median_by_blocks_is_the_median(stack, block):
    whole = make("median", stack)
    before, module.MEDIAN_BLOCK = module.MEDIAN_BLOCK, block
    try:
        parts = make("median", stack)
    finally:
        module.MEDIAN_BLOCK = before
    assert np.array_equal(parts.values, whole.values)
    assert np.array_equal(parts.days, whole.days)


def test_a_mosaic_of_nothing_and_an_unknown_rule_are_refused():
    for rule in MOSAICS:
        with pytest.raises(ValueError, match="at least one image"):
            Mosaic(rule).result()
    with pytest.raises(ValueError, match="mosaic must be one of first, last"):
        Mosaic("best")
