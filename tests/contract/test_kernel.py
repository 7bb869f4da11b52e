"""Kernels: their weights as the reference pages and the official samples show them."""

import ast

import numpy as np
import pytest


def weights(value):
    return np.array(ast.literal_eval("[" + value["weights"].strip().replace("]\n", "],\n") + "]"))


SMALL = {
    "square": [[1] * 5] * 5,
    "circle": [[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]],
    "diamond": [[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]],
    "cross": [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1]],
    "plus": [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]],
}


@pytest.mark.parametrize(("name", "ones"), SMALL.items())
def test_kernels_of_ones_sum_to_one_unless_told_otherwise(evaluate, name, ones):
    plain = evaluate(lambda ee: getattr(ee.Kernel, name)(2, "pixels", False))
    assert plain["type"] == "Kernel"
    assert plain["center"] == [2, 2]
    np.testing.assert_array_equal(weights(plain), ones)
    usual = weights(evaluate(lambda ee: getattr(ee.Kernel, name)(2, magnitude=3)))
    np.testing.assert_allclose(usual, 3 * np.array(ones) / np.sum(ones))


# Ones a row, top to bottom, of radius 3: counted from the samples' matrices.
ROWS = {
    "circle": [1, 5, 5, 7, 5, 5, 1], "octagon": [3, 5, 7, 7, 7, 5, 3], "diamond": [1, 3, 5, 7, 5, 3, 1],
    "cross": [2, 2, 2, 1, 2, 2, 2], "plus": [1, 1, 1, 7, 1, 1, 1], "square": [7] * 7,
}  # fmt: skip


@pytest.mark.parametrize(("name", "rows"), ROWS.items())
def test_shapes_of_radius_three_have_the_documented_outline(evaluate, name, rows):
    matrix = weights(evaluate(lambda ee: getattr(ee.Kernel, name)(3)))
    assert (matrix > 0).sum(axis=1).tolist() == rows
    np.testing.assert_array_equal(matrix, matrix.T)
    assert matrix.max() == pytest.approx(1 / sum(rows))


def test_distances_count_from_the_centre_and_are_not_normalized(evaluate):
    x, y = np.abs(np.mgrid[-3:4, -3:4])
    for name, expected in (("euclidean", np.hypot(x, y)), ("manhattan", x + y), ("chebyshev", np.maximum(x, y))):
        np.testing.assert_array_equal(weights(evaluate(lambda ee, name=name: getattr(ee.Kernel, name)(3))), expected)


EDGES = {
    "sobel": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "prewitt": [[1, 0, -1]] * 3,
    "compass": [[1, 1, -1], [1, -2, -1], [1, 1, -1]],
    "kirsch": [[5, -3, -3], [5, 0, -3], [5, -3, -3]],
    "laplacian4": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "laplacian8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "roberts": [[1, 0], [0, -1]],
}


@pytest.mark.parametrize(("name", "expected"), EDGES.items())
def test_edge_kernels_have_their_published_weights(evaluate, refusal, name, expected):
    np.testing.assert_array_equal(weights(evaluate(lambda ee: getattr(ee.Kernel, name)(2))), 2 * np.array(expected))
    if np.sum(expected) == 0:
        assert "normalized" in refusal(lambda ee: getattr(ee.Kernel, name)(1, True))


def test_a_gaussian_is_read_at_the_pixel_centres(evaluate):
    matrix = weights(evaluate(lambda ee: ee.Kernel.gaussian(2, 1)))
    bell = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    np.testing.assert_allclose(matrix, np.outer(bell, bell) / bell.sum() ** 2)
    assert matrix[2, 2] == pytest.approx(0.162, abs=5e-4)


def test_quarter_turns_go_clockwise(evaluate):
    turned = weights(evaluate(lambda ee: ee.Kernel.sobel().rotate(1)))
    np.testing.assert_array_equal(turned, [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    np.testing.assert_array_equal(
        weights(evaluate(lambda ee: ee.Kernel.sobel().rotate(-2))), [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
    )
    assert evaluate(lambda ee: ee.Kernel.roberts().rotate(1))["center"] == [0, 1]


def test_inverses_leave_zeros(evaluate):
    np.testing.assert_array_equal(
        weights(evaluate(lambda ee: ee.Kernel.sobel().inverse())), [[-1, 0, 1], [-0.5, 0, 0.5], [-1, 0, 1]]
    )


def test_kernels_are_added_focus_on_focus(evaluate):
    total = weights(evaluate(lambda ee: ee.Kernel.chebyshev(2).add(ee.Kernel.fixed(2, 1, [[10, 20]], 0, 0))))
    expected = np.maximum(*np.abs(np.mgrid[-2:3, -2:3])).astype(float)
    expected[2, 2:4] += [10, 20]
    np.testing.assert_array_equal(total, expected)


def test_a_fixed_kernel_takes_its_size_from_the_weights(evaluate, refusal):
    value = evaluate(lambda ee: ee.Kernel.fixed(weights=[[4, 3, 2], [1, 0, 5]]))
    assert value["center"] == [1, 1]
    assert evaluate(lambda ee: ee.Kernel.fixed(3, 3, [[1, 1, 1]] * 3, -1, -1, True))["center"] == [1, 1]
    assert "same length" in refusal(lambda ee: ee.Kernel.fixed(weights=[[1, 2], [3]]))
    assert "'width'" in refusal(lambda ee: ee.Kernel.fixed(4, 1, [[1, 2]]))
    assert "focus" in refusal(lambda ee: ee.Kernel.fixed(weights=[[1, 2]], x=2, y=0))


def test_unknown_units_and_negative_radii_are_refused(refusal):
    assert "furlongs" in refusal(lambda ee: ee.Kernel.square(1, "furlongs"))
    assert "negative" in refusal(lambda ee: ee.Kernel.circle(-1))
    assert "meters" in refusal(lambda ee: ee.Kernel.circle(30, "meters"))
