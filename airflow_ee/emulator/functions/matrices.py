"""Arrays as matrices. Decompositions whose signs or order are free come only as the service is known to give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arrays import alike, number
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.eigen import eigen


def matrix(function: str, array: Array, *, square: bool = False) -> Values:
    """An array's numbers in double; it must have two axes."""
    if array.dimensions != 2:
        raise invalid(f"{function}: the array must be 2-dimensional, got {array.dimensions} dimensions.")
    if square and array.shape[0] != array.shape[1]:
        raise invalid(f"{function}: the matrix must be square, got {array.shape[0]}x{array.shape[1]}.")
    return array.values.astype(np.float64)


@registry.implements("Array.dotProduct")
def dot_product(array1: Array, array2: Array) -> Any:
    """The sum of the products."""
    if array1.dimensions != 1 or array1.shape != array2.shape:
        raise invalid("Array.dotProduct: both arrays must be 1-dimensional and equally long.")
    one, two = alike(array1.values, array2.values)
    return number(np.asarray(np.dot(one, two)))


@registry.implements("Array.matrixMultiply")
def multiply(left: Array, right: Array) -> Array:
    """The product of two matrices."""
    matrix("Array.matrixMultiply", left), matrix("Array.matrixMultiply", right)
    if left.shape[1] != right.shape[0]:
        raise invalid(f"Array.matrixMultiply: {left.shape[1]} columns on the left, {right.shape[0]} rows on the right.")
    one, two = alike(left.values, right.values)
    return Array(np.asarray(one @ two, dtype=one.dtype))


@registry.implements("Array.matrixTrace")
def trace(input: Array) -> Any:
    """The sum of the diagonal."""
    matrix("Array.matrixTrace", input, square=True)
    return number(np.asarray(np.trace(input.values), dtype=input.values.dtype))


@registry.implements("Array.matrixFnorm")
def frobenius_norm(input: Array) -> float:
    """The root of the sum of squares."""
    return float(np.linalg.norm(matrix("Array.matrixFnorm", input)))


@registry.implements("Array.matrixDeterminant")
def determinant(input: Array) -> float:
    """The determinant."""
    return float(np.linalg.det(matrix("Array.matrixDeterminant", input, square=True)))


@registry.implements("Array.matrixDiagonal")
def diagonal(input: Array) -> Array:
    """The diagonal as a column."""
    matrix("Array.matrixDiagonal", input)
    return Array(np.diagonal(input.values)[:, np.newaxis].copy())


@registry.implements("Array.matrixToDiag")
def to_diagonal(input: Array) -> Array:
    """A column as a diagonal."""
    if matrix("Array.matrixToDiag", input).shape[1] != 1:
        raise invalid(f"Array.matrixToDiag: the matrix must have one column, got {input.shape[1]}.")
    return Array(np.diag(input.values[:, 0]))


@registry.implements("Array.matrixInverse")
def inverse(input: Array) -> Array:
    """The inverse of a regular matrix."""
    values = matrix("Array.matrixInverse", input, square=True)
    try:
        return Array(np.linalg.inv(values))
    except np.linalg.LinAlgError:
        raise invalid("Array.matrixInverse: the matrix is singular.") from None


@registry.implements("Array.matrixPseudoInverse")
def pseudo_inverse(input: Array) -> Array:
    """The Moore-Penrose inverse."""
    return Array(np.linalg.pinv(matrix("Array.matrixPseudoInverse", input)))


@registry.implements("Array.matrixSolve")
def solve(left: Array, right: Array) -> Array:
    """X in A x = B, in the sense of least squares where A has more rows than columns."""
    one, two = matrix("Array.matrixSolve", left), matrix("Array.matrixSolve", right)
    if one.shape[0] != two.shape[0]:
        raise invalid(f"Array.matrixSolve: {one.shape[0]} rows on the left, {two.shape[0]} on the right.")
    if one.shape[0] < one.shape[1] or np.linalg.matrix_rank(one) < one.shape[1]:
        raise invalid("Array.matrixSolve: the matrix is singular or has fewer rows than columns.")
    return Array(np.linalg.lstsq(one, two, rcond=None)[0])


@registry.implements("Array.matrixCholeskyDecomposition")
def cholesky(array: Array) -> dict[str, Any]:
    """The lower triangle L of which the matrix is L L'; its diagonal is positive, so there is only one."""
    values = matrix("Array.matrixCholeskyDecomposition", array, square=True)
    problem = invalid("Array.matrixCholeskyDecomposition: the matrix is not symmetric and positive definite.")
    if not np.allclose(values, values.T, rtol=1e-12, atol=0):
        raise problem
    try:
        return {"L": Array(np.linalg.cholesky(values))}
    except np.linalg.LinAlgError:
        raise problem from None


@registry.implements("Array.matrixLUDecomposition")
def lu(array: Array) -> dict[str, Any]:
    """P A = L U with partial pivoting, which leaves no choice but that between equal pivots: the first is taken."""
    upper = matrix("Array.matrixLUDecomposition", array, square=True)
    size = len(upper)
    lower, order = np.eye(size), np.eye(size)
    for column in range(size):
        pivot = column + int(np.argmax(np.abs(upper[column:, column])))
        if upper[pivot, column] == 0:
            raise invalid("Array.matrixLUDecomposition: the matrix is singular.")
        upper[[column, pivot]], order[[column, pivot]] = upper[[pivot, column]], order[[pivot, column]]
        lower[[column, pivot], :column] = lower[[pivot, column], :column]
        factors = upper[column + 1 :, column] / upper[column, column]
        lower[column + 1 :, column] = factors
        upper[column + 1 :] -= factors[:, np.newaxis] * upper[column]
        upper[column + 1 :, column] = 0
    return {"L": Array(lower), "U": Array(upper), "P": Array(order)}


@registry.implements("Array.eigen")
def eigen_rows(input: Array) -> Array:
    """Eigenvalues, the greatest first, each before its vector."""
    values = matrix("Array.eigen", input, square=True)
    own, vectors = eigen(values)
    return Array(np.column_stack([own, vectors]))
