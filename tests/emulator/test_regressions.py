"""Regressions, correlations and medians of points against numpy and scipy, and as their reference pages describe them."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.values.distributions import incomplete_beta, two_sided_t, upper_f
from airflow_ee.emulator.values.reducers import Column

RANDOM = np.random.default_rng(5)
T = np.arange(20.0)
NOISE = RANDOM.normal(size=20)
LINE = 3 + 0.5 * T + 0.1 * NOISE


def reduced(name, *columns, **arguments):
    reducer = registry.call(f"Reducer.{name}", arguments)
    rows = [Column.of([None if each is None else float(each) for each in column]) for column in columns]
    return reducer.of_columns(rows, function="test")


def numbers(array):
    return np.asarray(array.as_value())


def test_least_squares():
    found = reduced("linearRegression", np.ones(20), T, LINE, numX=2)
    expected, (squares,), _, _ = np.linalg.lstsq(np.column_stack([np.ones(20), T]), LINE[:, None], rcond=None)
    np.testing.assert_allclose(numbers(found["coefficients"]), expected, rtol=1e-12)
    np.testing.assert_allclose(numbers(found["residuals"]), [np.sqrt(squares / 20)], rtol=1e-9)


@pytest.mark.parametrize("columns", [([1, 2], [3, 4], [5, 6]), ([1, 1, 1], [2, 2, 2], [1, 2, 3]), ([None], [1], [2])])
def test_what_determines_no_line_is_null(columns):
    assert set(reduced("linearRegression", *columns, numX=2).values()) == {None}


def test_robust_lines_pass_by_outliers():
    spoilt = LINE.copy()
    spoilt[[4, 11]] += 40
    found = reduced("robustLinearRegression", np.ones(20), T, spoilt, numX=2)
    kept = np.delete(np.arange(20), [4, 11])
    clean = np.linalg.lstsq(np.column_stack([np.ones(18), T[kept]]), LINE[kept], rcond=None)[0]
    np.testing.assert_allclose(numbers(found["coefficients"])[:, 0], clean, atol=0.02)
    assert numbers(found["residuals"])[0] < 0.2
    plain = reduced("linearRegression", np.ones(20), T, spoilt, numX=2)
    wide = reduced("robustLinearRegression", np.ones(20), T, spoilt, numX=2, beta=1e6)
    np.testing.assert_allclose(numbers(wide["coefficients"]), numbers(plain["coefficients"]))


@given(arrays(np.float64, (12, 3), elements=st.floats(-5, 5)), st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_ridges_are_those_of_the_normal_equations(table, penalty):
    x, y = table[:, :2], table[:, 2]
    found = reduced("ridgeRegression", *table.T, numX=2, **{"lambda": penalty})
    centred, off = x - x.mean(axis=0), y - y.mean()
    slopes = np.linalg.solve(centred.T @ centred + penalty * np.eye(2), centred.T @ off)
    constant = y.mean() - x.mean(axis=0) @ slopes
    np.testing.assert_allclose(numbers(found["coefficients"])[:, 0], [*slopes, constant], rtol=1e-7, atol=1e-9)
    assert 0 <= numbers(found["pValue"])[0] <= 1


def test_a_ridge_without_penalty_is_a_line_with_its_f_test():
    found = reduced("ridgeRegression", T, LINE, numX=1, **{"lambda": 0})
    expected = scipy.stats.linregress(T, LINE)
    np.testing.assert_allclose(numbers(found["coefficients"])[:, 0], [expected.slope, expected.intercept], rtol=1e-10)
    assert numbers(found["pValue"])[0] == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-14)


pairs = arrays(np.float64, (11, 2), elements=st.integers(-4, 4).map(float))


@given(pairs)
@settings(max_examples=100, deadline=None)
def test_correlations_are_those_of_scipy(table):
    x, y = table.T
    tau = reduced("kendallsCorrelation", x, y, numInputs=2)["tau"]
    trend = reduced("kendallsCorrelation", y)["tau"]
    pearson, spearman = reduced("pearsonsCorrelation", x, y), reduced("spearmansCorrelation", x, y)
    if np.ptp(y) == 0:
        assert trend is None
    else:
        assert trend == pytest.approx(scipy.stats.kendalltau(np.arange(11), y).statistic, abs=1e-12)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert tau is pearson["correlation"] is pearson["p-value"] is spearman["correlation"] is None
        return
    assert tau == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)
    expected = scipy.stats.pearsonr(x, y)
    assert pearson["correlation"] == pytest.approx(expected.statistic, abs=1e-12)
    assert pearson["p-value"] == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-7)
    assert spearman["correlation"] == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_the_slope_of_sen_is_that_of_scipy(table):
    x, y = table.T
    found = reduced("sensSlope", x, y)
    if np.ptp(x) == 0:
        assert found == {"slope": None, "offset": None}
        return
    slopes = [(y[j] - y[i]) / (x[j] - x[i]) for i in range(11) for j in range(i) if x[i] != x[j]]
    assert found["slope"] == pytest.approx(np.median(slopes))
    assert found["offset"] == pytest.approx(np.median(y - found["slope"] * x))


@given(arrays(np.float64, (7, 2), elements=st.integers(-20, 20).map(float)))
@settings(max_examples=60, deadline=None)
def test_no_point_is_nearer_to_all_than_the_geometric_median(points):
    found = reduced("geometricMedian", *points.T, numX=2)
    assert list(found) == ["median_0", "median_1"]

    def distance(place):
        return np.hypot(*(points - place).T).sum()

    best = min(distance(scipy.optimize.minimize(distance, start, method="Nelder-Mead").x) for start in points[:3])
    assert distance(list(found.values())) <= best + 1e-3


@given(st.floats(0.2, 60), st.floats(0.2, 60), st.floats(0, 1))
@settings(max_examples=400, deadline=None)
def test_chances_are_those_of_scipy(a, b, x):
    assert incomplete_beta(a, b, x, 1 - x) == pytest.approx(scipy.special.betainc(a, b, x), abs=1e-10)
    assert two_sided_t(np.asarray(x * 9), a) == pytest.approx(2 * scipy.stats.t.sf(x * 9, a), abs=1e-10)
    assert upper_f(np.asarray(x * 9), a, b) == pytest.approx(scipy.stats.f.sf(x * 9, a, b), abs=1e-10)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("linearRegression", {"numX": 0}, "at least 1"), ("robustLinearRegression", {"numX": 1, "beta": 0}, "beta"),
        ("ridgeRegression", {"numX": 1, "lambda": -1}, "lambda"), ("ridgeRegression", {"numX": 9999, "numY": 9}, "too many"),
        ("kendallsCorrelation", {"numInputs": 3}, "1 or 2"), ("geometricMedian", {"numX": 0}, "at least 1"),
        ("geometricMedian", {"numX": 1, "eta": 0}, "eta"), ("fixed2DHistogram", {}, "required"),
        ("fixed2DHistogram", {"xMin": 1, "xMax": 1, "xSteps": 1, "yMin": 0, "yMax": 1, "ySteps": 1}, "less than"),
        ("fixed2DHistogram", {"xMin": 0, "xMax": 1, "xSteps": 1, "yMin": 0, "yMax": 1, "ySteps": 0}, "ySteps"),
        ("fixed2DHistogram", {"xMin": 0, "xMax": 1, "xSteps": 5000, "yMin": 0, "yMax": 1, "ySteps": 5000}, "too many"),
    ],
)  # fmt: skip
def test_what_no_reducer_can_be_is_refused(name, arguments, words):
    with pytest.raises(EmulatorError, match=words):
        registry.call(f"Reducer.{name}", arguments)


def test_pairs_of_too_many_rows_are_not_compared():
    many = np.zeros(20_001)
    for name in ("kendallsCorrelation", "spearmansCorrelation", "sensSlope"):
        arguments = {"numInputs": 2} if name == "kendallsCorrelation" else {}
        with pytest.raises(EmulatorError, match="too many"):
            reduced(name, many, many, **arguments)
