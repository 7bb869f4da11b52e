"""Statistics of weighted pixels; numpy agrees."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.statistics import band_statistics, extra_columns, weighted_median, weighted_quantile


@given(st.data())
def test_statistics_equal_numpys(data):
    values = np.array(data.draw(st.lists(st.integers(-3000, 10000), min_size=1, max_size=40)), np.int16)[None]
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=values.size, max_size=values.size)))[None]
    weights = np.array(data.draw(st.lists(st.floats(0, 1), min_size=values.size, max_size=values.size)))[None]
    found = band_statistics(values, valid, weights, scale=0.0001)
    used = valid & (weights > 0)
    assert found.valid_count == used.sum()
    assert found.pixel_count == (weights > 0).sum()
    if not used.any():
        assert math.isnan(found.mean)
        assert found.valid_fraction == 0
        return
    physical, weight = values[used] * 0.0001, weights[used]
    mean = np.average(physical, weights=weight)
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.std == pytest.approx(np.sqrt(np.average((physical - mean) ** 2, weights=weight)), abs=1e-9)
    assert (found.min, found.max) == (physical.min(), physical.max())
    assert found.weight_sum == pytest.approx(weight.sum())
    assert 0 < found.valid_fraction <= 1 + 1e-12


def test_masked_zeros_enter_no_statistic():
    values, valid = np.array([[0, 0, 8000]], np.int16), np.array([[False, True, True]])
    found = band_statistics(values, valid, np.ones((1, 3)), scale=0.0001)
    assert found.mean == pytest.approx(0.4)
    assert (found.min, found.valid_count) == (0, 2)


def test_an_offset_is_applied_after_the_scale():
    found = band_statistics(np.array([[10000]]), np.array([[True]]), np.ones((1, 1)), scale=0.0000275, offset=-0.2)
    assert found.mean == pytest.approx(0.075)


def test_the_median_follows_the_weights():
    assert weighted_median(np.array([1, 2, 3]), np.array([1.0, 1.0, 5.0])) == 3


@given(st.data())
def test_percentiles_are_numpys_inverted_cdf(data):
    values = np.array(data.draw(st.lists(st.integers(-50, 50), min_size=1, max_size=30)), float)
    # Whole weights: rounding of sums could move a tie by one place otherwise.
    weights = np.array(data.draw(st.lists(st.integers(1, 8), min_size=values.size, max_size=values.size)), float)
    fractions = data.draw(st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]), min_size=1))
    expected = np.quantile(values, fractions, method="inverted_cdf", weights=weights)
    assert weighted_quantile(values, weights, fractions) == expected.tolist()


def test_columns_besides_the_usual_ones_are_only_those_asked_for():
    values, valid = np.arange(1, 11), np.ones(10, bool)
    found = band_statistics(values, valid, np.full(10, 0.5), scale=2, extra=("median", "sum", "count", "p10", "p90"))
    assert found.extra == {"median": 10, "sum": 55, "count": 10, "p10": 2, "p90": 18}
    assert band_statistics(values, valid, np.ones(10)).extra == {}
    empty = band_statistics(values, ~valid, np.ones(10), extra=("sum", "p10"))
    assert all(map(math.isnan, empty.extra.values()))
    with pytest.raises(ValueError, match="statistics must be of mean, std, .* got mode"):
        extra_columns(["mode"], [])
    with pytest.raises(ValueError, match=r"percentiles must be in 0\.\.100, got 101"):
        extra_columns([], [101])
