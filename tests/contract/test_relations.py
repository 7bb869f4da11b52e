"""Relations between numbers, and matrices taken apart: the cases of their pages, with numpy and scipy as witnesses."""

import numpy as np
import pytest
import scipy.stats

X = [1.0, 2.0, 4.0, 5.0, 7.0, 8.0, 10.0, 11.0]
Y = [2.5, 1.0, 6.0, 5.5, 9.0, 7.0, 12.0, 30.0]


@pytest.fixture
def rows(ee):
    return ee.FeatureCollection([ee.Feature(None, {"one": 1, "x": x, "y": y}) for x, y in zip(X, Y, strict=True)])


def reduced(rows, reducer, *names):
    return rows.reduceColumns(reducer, list(names)).getInfo()


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("pearsonsCorrelation", scipy.stats.pearsonr),
        ("spearmansCorrelation", scipy.stats.spearmanr),
        ("kendallsCorrelation", scipy.stats.kendalltau),
    ],
)
def test_a_correlation_is_that_of_statistics(ee, rows, name, oracle):
    arguments = (2,) if name == "kendallsCorrelation" else ()
    found = reduced(rows, getattr(ee.Reducer, name)(*arguments), "x", "y")
    correlation = next(value for key, value in found.items() if key in {"correlation", "tau"})
    assert correlation == pytest.approx(oracle(X, Y).statistic)
    if name == "pearsonsCorrelation":
        assert found["p-value"] == pytest.approx(oracle(X, Y).pvalue)


def test_the_slope_of_most_pairs(ee, rows):
    found = reduced(rows, ee.Reducer.sensSlope(), "x", "y")
    slope, *_ = scipy.stats.theilslopes(Y, X)
    assert found["slope"] == pytest.approx(slope)


def test_a_robust_line_leaves_the_outlier_out(ee, rows):
    found = reduced(rows, ee.Reducer.robustLinearRegression(2, 1, 5), "one", "x", "y")
    plain = np.linalg.lstsq(np.column_stack([np.ones(8), X]), np.array(Y), rcond=None)[0]
    without = np.linalg.lstsq(np.column_stack([np.ones(7), X[:7]]), np.array(Y[:7]), rcond=None)[0]
    slope = found["coefficients"][1][0]
    assert abs(slope - without[1]) < abs(slope - plain[1])


def test_a_ridge_shrinks_the_slope(ee, rows):
    slopes = [
        reduced(rows, ee.Reducer.ridgeRegression(1, 1, strength), "x", "y")["coefficients"][0][0]
        for strength in (0.0001, 100)
    ]
    assert slopes[0] == pytest.approx(np.polyfit(X, Y, 1)[0], rel=1e-3)
    assert 0 < slopes[1] < slopes[0]


def test_the_geometric_median_is_where_the_distances_are_least(ee, rows):
    found = list(reduced(rows, ee.Reducer.geometricMedian(2, 1e-6), "x", "y").values())
    points = np.column_stack([X, Y])

    def total(place):
        return np.hypot(*(points - place).T).sum()

    nearby = [total(np.array(found) + step) for step in ([0.1, 0], [-0.1, 0], [0, 0.1], [0, -0.1])]
    assert total(np.array(found)) < min(nearby)


def test_a_matrix_is_put_together_again_from_its_parts(ee):
    matrix = [[4.0, 1.0], [2.0, 3.0], [0.0, 5.0]]
    parts = ee.Dictionary(ee.apply("Array.matrixQRDecomposition", {"array": ee.Array(matrix)})).getInfo()
    q, r = np.array(parts["Q"]), np.array(parts["R"])
    np.testing.assert_allclose(q @ r, matrix, atol=1e-12)
    np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-12)
    parts = ee.Dictionary(ee.apply("Array.matrixSingularValueDecomposition", {"array": ee.Array(matrix)})).getInfo()
    u, s, v = (np.array(parts[name]) for name in "USV")
    np.testing.assert_allclose(u @ s @ v.T, matrix, atol=1e-12)
    np.testing.assert_allclose(np.sort(np.diag(s)), np.sort(np.linalg.svd(np.array(matrix), compute_uv=False)))
