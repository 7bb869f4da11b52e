"""Arrays: making, types, parts, order, arithmetic, reductions; numpy is the oracle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.values.array import Array

FLOAT_TENTH = 0.10000000149011612
M = [[1, 2, 3], [4, 5, 6]]
VALUES = [
    (lambda ee: ee.Array(4), 4),
    (lambda ee: ee.Array([[1, 2.5]]), [[1, 2.5]]),
    (lambda ee: ee.Array([], ee.PixelType.float()), []),
    (lambda ee: ee.Array([[], []], ee.PixelType.int8()).length(), [2, 0]),
    (lambda ee: ee.Array([0.1], ee.PixelType.float()), [FLOAT_TENTH]),
    (lambda ee: ee.Array([300, -1, 7.5], ee.PixelType.uint8()), [255, 0, 8]),
    (lambda ee: ee.Array(ee.Array([1.4, -1.5]), ee.PixelType.int16()), [1, -1]),
    (lambda ee: ee.Array([ee.Number(1).divide(4), 2]), [0.25, 2]),
    (lambda ee: ee.Array(M).length(), [2, 3]),
    (lambda ee: ee.Array(M).toList(), M),
    (lambda ee: ee.Array(M).get([1, 2]), 6),
    (lambda ee: ee.Array([[3, 9], [9, 1]]).argmax(), [0, 1]),
    (lambda ee: ee.Array([], ee.PixelType.int8()).argmax(), None),
    (lambda ee: ee.Array(M).cut([-1, 1]), [[2], [5]]),
    (lambda ee: ee.Array(M).slice(1, -2), [[2, 3], [5, 6]]),
    (lambda ee: ee.Array(M).slice(1, 0, 3, 2), [[1, 3], [4, 6]]),
    (lambda ee: ee.Array(M).slice(0, 5), []),
    (lambda ee: ee.Array.cat([ee.Array([1]), ee.Array([2.5])]), [1, 2.5]),
    (lambda ee: ee.Array.cat([[1, 2], [3, 4]], 1), [[1, 3], [2, 4]]),
    (lambda ee: ee.Array([[1], [2]]).repeat(1, 3), [[1, 1, 1], [2, 2, 2]]),
    (lambda ee: ee.Array([1, 2]).repeat(), [1, 2, 1, 2]),
    (lambda ee: ee.Array([[1, 2]]).pad([2, 3], 9), [[1, 2, 9], [9, 9, 9]]),
    (lambda ee: ee.Array([1, 2]).pad([1]), [1, 2]),
    (lambda ee: ee.Array([1]).pad([2], 0.5), [1, 0.5]),
    (lambda ee: ee.Array(M).reshape([3, 2]), [[1, 2], [3, 4], [5, 6]]),
    (lambda ee: ee.Array(M).reshape([-1]), [1, 2, 3, 4, 5, 6]),
    (lambda ee: ee.Array([[1, 2, 3]]).project([1]), [1, 2, 3]),
    (lambda ee: ee.Array([[7]]).project([]), 7),
    (lambda ee: ee.Array(M).transpose(), [[1, 4], [2, 5], [3, 6]]),
    (lambda ee: ee.Array(M).mask([[1, 0, 1]]), [[1, 3], [4, 6]]),
    (lambda ee: ee.Array(M).mask([[0], [2]]), [[4, 5, 6]]),
    (lambda ee: ee.Array([3, 1, 2]).sort(), [1, 2, 3]),
    (lambda ee: ee.Array([[5, 6, 7], [1, 2, 3]]).sort([[2, 0, 1]]), [[6, 7, 5], [2, 3, 1]]),
    (lambda ee: ee.Array([10, 20, 30]).sort([1, 0, 0]), [20, 30, 10]),
    (lambda ee: ee.Array.identity(2), [[1, 0], [0, 1]]),
    (lambda ee: ee.Array.bitsToArray(12), [0, 0, 1, 1]),
    (lambda ee: ee.Array([1, 2]).add(0.5), [1.5, 2.5]),
    (lambda ee: ee.Array([200], ee.PixelType.uint8()).add(100), [300]),
    (lambda ee: ee.Array([1, 1]).divide([10, 0]), [FLOAT_TENTH, 0]),  # whole numbers divide to float
    (lambda ee: ee.Array([1.0, 2.5]).divide(10), [0.1, 0.25]),
    (lambda ee: ee.Array([7, -7]).mod([4, 4]), [3, -3]),
    (lambda ee: ee.Array([0, 2]).pow([-1, 3]), ["Infinity", 8]),
    (lambda ee: ee.Array([0, 1]).atan2([1, 0]), [math.pi / 2, 0]),
    (lambda ee: ee.Array([0.1]).float().eq(0.1), [0]),
    (lambda ee: ee.Array([0, 3]).firstNonZero([5, 5]), [5, 3]),
    (lambda ee: ee.Array([1, 0]).And([2, 2]), [1, 0]),
    (lambda ee: ee.Array([6, -1]).bitwiseAnd([3, 255]), [2, 255]),
    (lambda ee: ee.Array([0.5, 1.5, -0.5, 2.4]).toInt(), [1, 2, 0, 2]),  # arrays are rounded
    (lambda ee: ee.Array([1e20, -1e20]).toInt64(), [2**63 - 1, -(2**63)]),
    (lambda ee: ee.Array([2.5, -2.5]).round(), [3, -2]),
    (lambda ee: ee.Array([4, -1]).sqrt(), [2, "NaN"]),
    (lambda ee: ee.Array([1, 2, 3]).dotProduct([4, 5, 6]), 32),
    (lambda ee: ee.Array([[1, 2], [3, 4]]).matrixMultiply([[0, 1], [1, 0]]), [[2, 1], [4, 3]]),
    (lambda ee: ee.Array([[1, 2], [3, 4]]).matrixTrace(), 5),
    (lambda ee: ee.Array([[3, 0], [0, 4]]).matrixFnorm(), 5),
    (lambda ee: ee.Array(M).matrixDiagonal(), [[1], [5]]),
    (lambda ee: ee.Array([[1], [2]]).matrixToDiag(), [[1, 0], [0, 2]]),
    (lambda ee: ee.Array([[4, 0], [0, 2]]).matrixInverse(), [[0.25, 0], [0, 0.5]]),
    (lambda ee: ee.Array([[5, 0], [0, 9]]).eigen(), [[9, 0, 1], [5, 1, 0]]),
    (lambda ee: ee.Array([[0, -3], [-3, 8]]).eigen().round(), [[9, 0, -1], [-1, -1, 0]]),
    (lambda ee: ee.Array([[0, 0, 0], [0, 0, 0], [0, 0, 0]]).eigen(), [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]]),
    (lambda ee: ee.Array([1, 2, 3]).accum(0), [1, 3, 6]),
    (lambda ee: ee.Array(M).accum(1, ee.Reducer.max()), M),
    (lambda ee: ee.Array([3, 1, 2]).accum(0, ee.Reducer.min()), [3, 1, 1]),
    (lambda ee: ee.Array(M).reduce(ee.Reducer.sum(), [0]), [[5, 7, 9]]),
    (lambda ee: ee.Array(M).reduce(ee.Reducer.mean(), [1]), [[2], [5]]),
    (lambda ee: ee.Array(M).reduce("max", [0, 1]), [[6]]),
    (lambda ee: ee.Array([[1], [5], [3]]).reduce(ee.Reducer.minMax(), [0], 1), [[1, 5]]),
]
REFUSED = [
    (lambda ee: ee.Array([]), "Pixel type"),
    (lambda ee: ee.Array([[1], [2, 3]]), "same length"),
    (lambda ee: ee.Array([1, [2]]), "deepest level"),
    (lambda ee: ee.Array(["1"]), "deepest level"),
    (lambda ee: ee.Array([1, 2]).add([1, 2, 3]), "sizes must match"),
    (lambda ee: ee.Array([1.5]).bitwiseAnd(1), "integer"),
    (lambda ee: ee.Array([2**40]).multiply(2**40), "64 bits"),
    (lambda ee: ee.Array([1]).mod(0), "division by zero"),
    (lambda ee: ee.Array(M).get([0]), "1 indices"),
    (lambda ee: ee.Array(M).get([2, 0]), "out of bounds"),
    (lambda ee: ee.Array(M).get([-1, 0]), "out of bounds"),
    (lambda ee: ee.Array(M).slice(2), "Axis 2"),
    (lambda ee: ee.Array(M).slice(0, 0, 1, 0), "Step"),
    (lambda ee: ee.Array.cat([[1], [[2]]]), "same dimensions"),
    (lambda ee: ee.Array.cat([[[1]], [[2, 3]]]), "same lengths"),
    (lambda ee: ee.Array(M).project([0]), "length 1"),
    (lambda ee: ee.Array(M).reshape([4, -1]), "do not fit"),
    (lambda ee: ee.Array(M).reshape([-1, -1]), "not a shape"),
    (lambda ee: ee.Array(M).mask([[1, 0]]), "do not fit"),
    (lambda ee: ee.Array(M).sort(), "do not fit"),
    (lambda ee: ee.Array([[1, 2], [2, 4]]).matrixInverse(), "singular"),
    (lambda ee: ee.Array(M).matrixDeterminant(), "square"),
    (lambda ee: ee.Array([[1, 2], [0, 1]]).matrixCholeskyDecomposition(), "symmetric"),
    (lambda ee: ee.Array([[0, -1], [1, 0]]).eigen(), "complex"),
    (lambda ee: ee.Array([[1, 2, 3], [0, 4, 5], [0, 0, 6]]).eigen(), "not symmetric"),
    (lambda ee: ee.Array(M).reduce(ee.Reducer.minMax(), [0]), "fieldAxis"),
    (lambda ee: ee.Array(M).reduce(ee.Reducer.toList(), [0]), "must be a number"),
    (lambda ee: ee.Array.identity(10**6), "size"),
]
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
doubles = arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=numbers)
wholes = arrays(np.int64, array_shapes(max_dims=3, max_side=4), elements=st.integers(-1000, 1000))
squares = st.integers(1, 5).flatmap(lambda size: arrays(np.float64, (size, size), elements=st.integers(-9, 9)))


def run(name, **arguments):
    return registry.call(f"Array.{name}", arguments)


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_arrays_are_computed(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(refusal, expression, words):
    assert words in refusal(expression)


@given(wholes, st.data())
def test_binary_operations_are_those_of_numpy(left, data):
    right = data.draw(arrays(np.int64, left.shape, elements=st.integers(-50, 50)))
    for name, oracle in {
        "add": np.add,
        "subtract": np.subtract,
        "multiply": np.multiply,
        "min": np.minimum,
        "lt": np.less,
    }.items():
        np.testing.assert_array_equal(run(name, left=Array(left), right=Array(right)).values, oracle(left, right))
    quotient = run("divide", left=Array(left), right=Array(right)).values
    known = right != 0
    np.testing.assert_array_equal(quotient[known], (left[known] / right[known]).astype(np.float32))
    assert not quotient[~known].any()


@given(doubles)
def test_unary_operations_are_those_of_numpy(values):
    for name, oracle in {
        "abs": np.abs,
        "floor": np.floor,
        "ceil": np.ceil,
        "sin": np.sin,
        "cbrt": np.cbrt,
        "atan": np.arctan,
    }.items():
        np.testing.assert_array_equal(run(name, input=Array(values)).values, oracle(values))


@given(doubles, st.integers(-5, 5), st.none() | st.integers(-5, 5), st.integers(1, 3))
def test_slices_are_those_of_numpy(values, start, end, step):
    for axis in range(values.ndim):
        place = tuple(slice(start, end, step) if each == axis else slice(None) for each in range(values.ndim))
        found = run("slice", array=Array(values), axis=axis, start=start, end=end, step=step)
        np.testing.assert_array_equal(found.values, values[place])


@given(doubles, st.integers(0, 4))
def test_a_cut_array_joins_again(values, at):
    for axis in range(values.ndim):
        parts = [
            run("slice", array=Array(values), axis=axis, start=0, end=at),
            run("slice", array=Array(values), axis=axis, start=at),
        ]
        np.testing.assert_array_equal(run("cat", arrays=parts, axis=axis).values, values)


@given(wholes)
def test_reductions_are_those_of_numpy(values):
    class Session:
        """Reducers need none."""

    reducer = registry.call("Reducer.sum", {}, Session)
    for axis in range(values.ndim):
        found = run("reduce", array=Array(values), reducer=reducer, axes=[axis])
        np.testing.assert_array_equal(found.values, values.sum(axis=axis, keepdims=True))
        np.testing.assert_array_equal(run("accum", array=Array(values), axis=axis).values, values.cumsum(axis=axis))
    everything = run("reduce", array=Array(values), reducer=reducer, axes=list(range(values.ndim)))
    assert everything.values.item() == values.sum()


@given(arrays(np.float64, (2, 2), elements=st.integers(-9, 9)))
def test_eigenvectors_of_pairs_are_only_stretched(values):
    spread = (values[0, 0] - values[1, 1]) ** 2 + 4 * values[0, 1] * values[1, 0]
    if spread < 0:
        with pytest.raises(EmulatorError, match="complex"):
            run("eigen", input=Array(values))
    elif spread > 0:  # with equal eigenvalues there need not be two vectors
        rows = run("eigen", input=Array(values)).values
        np.testing.assert_allclose(values @ rows[:, 1:].T, rows[:, 1:].T * rows[:, 0], atol=1e-7)
        np.testing.assert_allclose(np.linalg.norm(rows[:, 1:], axis=1), 1)


@given(squares)
def test_eigenvectors_make_the_matrix_again(values):
    symmetric = values + values.T
    if not symmetric.any():
        return
    rows = run("eigen", input=Array(symmetric)).values
    own, vectors = rows[:, 0], rows[:, 1:]
    np.testing.assert_allclose(own, np.linalg.eigvalsh(symmetric)[::-1], atol=1e-8)
    np.testing.assert_allclose(vectors.T @ np.diag(own) @ vectors, symmetric, atol=1e-8)


@given(squares)
def test_decompositions_make_the_matrix_again(values):
    matrix = Array(values)
    assert run("matrixDeterminant", input=matrix) == pytest.approx(np.linalg.det(values), rel=1e-9, abs=1e-9)
    try:
        parts = {name: part.values for name, part in run("matrixLUDecomposition", array=matrix).items()}
    except EmulatorError:
        assert abs(np.linalg.det(values)) < 1e-6
    else:
        np.testing.assert_allclose(parts["P"] @ values, parts["L"] @ parts["U"], atol=1e-9)
        assert not np.triu(parts["L"], 1).any()
        assert not np.tril(parts["U"], -1).any()
        assert (np.abs(parts["L"]) <= 1 + 1e-12).all()
    definite = values @ values.T + np.eye(len(values))
    lower = run("matrixCholeskyDecomposition", array=Array(definite))["L"].values
    np.testing.assert_allclose(lower @ lower.T, definite, rtol=1e-9, atol=1e-9)
    solved = run("matrixSolve", left=Array(definite), right=Array(values)).values
    np.testing.assert_allclose(definite @ solved, values, rtol=1e-6, atol=1e-6)


def test_an_overdetermined_system_is_solved_by_least_squares(evaluate):
    found = evaluate(lambda ee: ee.Array([[1, 0], [1, 1], [1, 2]]).matrixSolve([[1], [2], [4]]))
    np.testing.assert_allclose(found, np.linalg.lstsq([[1, 0], [1, 1], [1, 2]], [[1], [2], [4]], rcond=None)[0])
