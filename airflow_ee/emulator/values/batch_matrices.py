"""Linear algebra with batches of matrices: rows and columns come first, the pixels last.

Sums go over the leading axes one after the other, so that a pixel's last bit does not hang on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import Values, check_cells

Numbers = NDArray[np.float64]

SIDE_BY_SIDE = 2**19
"""Numbers that are worked on at once: these fit into a processor's cache."""


def check_matrix(function: str, batch: Values, *, square: bool = False) -> Numbers:
    """A batch's numbers in double; arrays must have two axes."""
    if batch.ndim != 3:
        raise invalid(f"{function}: the array must be 2-dimensional, got {batch.ndim - 1} dimensions.")
    if square and batch.shape[0] != batch.shape[1]:
        raise invalid(f"{function}: the matrix must be square, got {batch.shape[0]}x{batch.shape[1]}.")
    return batch.astype(np.float64)


def total(values: Numbers) -> Numbers:
    """The sum over the first axis."""
    # Left to itself numpy adds the rows of a lone pixel in pairs.
    if len(values) and values[0].size == 1:
        return np.asarray(np.add.accumulate(values, axis=0)[-1])
    return np.asarray(values.sum(axis=0))


def product(function: str, left: Values, right: Values) -> Values:
    """The products of pairs of matrices."""
    for each in (left, right):
        check_matrix(function, each)
    if left.shape[1] != right.shape[0]:
        raise invalid(f"{function}: {left.shape[1]} columns on the left, {right.shape[0]} rows on the right.")
    check_cells(left.shape[0] * right.shape[1] * left.shape[2])
    made = np.zeros((left.shape[0], right.shape[1], left.shape[2]), np.result_type(left, right))
    for place in range(right.shape[0]):
        made += left[:, place, np.newaxis] * right[np.newaxis, place]
    return made


def dot(function: str, left: Values, right: Values) -> Values:
    """The sums of the products of vectors."""
    if left.ndim != 2 or left.shape != right.shape:
        raise invalid(f"{function}: both arrays must be 1-dimensional and equally long.")
    return np.asarray((left * right).sum(axis=0))


def trace(function: str, batch: Values) -> Values:
    """The sums of the diagonals."""
    check_matrix(function, batch, square=True)
    return np.asarray(np.trace(batch), dtype=batch.dtype)


def frobenius_norm(function: str, batch: Values) -> Values:
    """The roots of the sums of squares."""
    return np.asarray(np.linalg.norm(check_matrix(function, batch), axis=(0, 1)))


def determinant(function: str, batch: Values) -> Values:
    """The determinants."""
    return np.asarray(np.linalg.det(_in_front(check_matrix(function, batch, square=True))))


def diagonal(function: str, batch: Values) -> Values:
    """The diagonals as columns."""
    check_matrix(function, batch)
    return np.diagonal(batch).T[:, np.newaxis]


def to_diagonal(function: str, batch: Values) -> Values:
    """Columns as diagonals."""
    if check_matrix(function, batch).shape[1] != 1:
        raise invalid(f"{function}: the matrix must have one column, got {batch.shape[1]}.")
    size = len(batch)
    check_cells(size * batch.size)
    made = np.zeros((size, size, batch.shape[2]), batch.dtype)
    made[np.arange(size), np.arange(size)] = batch[:, 0]
    return made


def inverse(function: str, batch: Values) -> Values:
    """The inverses of regular matrices."""
    values = check_matrix(function, batch, square=True)
    try:
        return _behind(np.linalg.inv(_in_front(values)))
    except np.linalg.LinAlgError:
        raise invalid(f"{function}: the matrix is singular.") from None


def pseudo_inverse(function: str, batch: Values) -> Values:
    """The inverses of Moore and Penrose."""
    return _behind(np.linalg.pinv(_in_front(_finite(function, check_matrix(function, batch)))))


def _finite(function: str, batch: Numbers) -> Numbers:
    """Refuse what no singular values can be found of."""
    if not np.isfinite(batch).all():
        raise invalid(f"{function}: the matrix has numbers that are not finite.")
    return batch


def cholesky(function: str, batch: Values) -> Values:
    """The lower triangles L of which the matrices are L L'; their diagonals are positive, so there is only one."""
    values = check_matrix(function, batch, square=True)
    problem = invalid(f"{function}: the matrix is not symmetric and positive definite.")
    if not np.allclose(values, np.swapaxes(values, 0, 1), rtol=1e-12, atol=0):
        raise problem
    try:
        return _behind(np.linalg.cholesky(_in_front(values)))
    except np.linalg.LinAlgError:
        raise problem from None


def _in_front(batch: Numbers) -> Numbers:
    """The pixels first, as numpy has it."""
    return np.ascontiguousarray(np.moveaxis(batch, -1, 0))


def _behind(matrices: Values) -> Values:
    return np.moveaxis(matrices, 0, -1)


class Solution(NamedTuple):
    """Least squares."""

    values: Numbers
    """A column for each right side."""
    regular: NDArray[np.bool_]
    """Of which pixels the columns on the left do not depend on one another."""


def least_squares(left: Numbers, right: Numbers) -> Solution:
    """X for which the squares of A x - B are least, of matrices with as many rows as columns at least."""
    parts = _parts(_least_squares, left, right)
    return Solution(np.concatenate([part[0] for part in parts], axis=-1), np.concatenate([part[1] for part in parts]))


def _parts(compute: Callable[..., tuple[Numbers, ...]], left: Numbers, right: Numbers) -> list[tuple[Numbers, ...]]:
    """Some pixels after others, as many as the processor has at hand."""
    count, size = left.shape[-1], max(1, (left[..., :1].size + right[..., :1].size))
    step = max(1, SIDE_BY_SIDE // size)
    return [compute(left[..., at : at + step], right[..., at : at + step]) for at in range(0, max(count, 1), step)]


def _least_squares(left: Numbers, right: Numbers) -> tuple[Numbers, ...]:
    triangle, sides = reflected(left, right)
    width = left.shape[1]
    sizes = np.abs(np.diagonal(triangle).T)
    regular = (sizes > sizes.max(axis=0, initial=0.0) * np.finfo(np.float64).eps * max(left.shape[:2])).all(axis=0)
    found = np.zeros((width, *right.shape[1:]))
    for row in range(width - 1, -1, -1):
        rest = sides[row] - total(triangle[row, row + 1 :, np.newaxis] * found[row + 1 :])
        pivot = triangle[row, row]
        found[row] = np.divide(rest, pivot, out=np.zeros_like(rest), where=(pivot != 0) & regular)
    return found, regular


def reflected(left: Numbers, right: Numbers) -> tuple[Numbers, Numbers]:
    """Householder's reflections that make upper triangles of the matrices on the left, applied to both sides.

    A column's reflection goes away from it (Golub and Van Loan, Matrix Computations, algorithm 5.2.1), so that the diagonal has
    the opposite sign.
    """
    upper, sides = left.copy(), right.copy()
    rows, columns = upper.shape[:2]
    for column in range(min(rows, columns)):
        mirror = upper[column:, column].copy()
        length = np.sqrt(total(mirror**2))
        end = np.where(mirror[0] < 0, length, -length)
        mirror[0] -= end
        square = total(mirror**2)
        factor = np.divide(2.0, square, out=np.zeros_like(square), where=square > 0)
        for part in (upper[column:, column + 1 :], sides[column:]):
            part[...] -= mirror[:, np.newaxis] * (factor * total(mirror[:, np.newaxis] * part))
        upper[column, column], upper[column + 1 :, column] = end, 0.0
    return upper, sides


def solution(function: str, left: Values, right: Values) -> Values:
    """X in A x = B, in the sense of least squares where A has more rows than columns."""
    one, two = check_matrix(function, left), check_matrix(function, right)
    if one.shape[0] != two.shape[0]:
        raise invalid(f"{function}: {one.shape[0]} rows on the left, {two.shape[0]} on the right.")
    found = least_squares(one, two) if one.shape[0] >= one.shape[1] else None
    if found is None or not found.regular.all():
        raise invalid(f"{function}: the matrix is singular or has fewer rows than columns.")
    return found.values


def _identities(size: int, count: int) -> Numbers:
    check_cells(size * size * count)
    return np.repeat(np.eye(size)[..., np.newaxis], count, axis=-1)


def triangular(function: str, batch: Values) -> tuple[Values, Values]:
    """Q and R: orthogonal matrices, and upper triangles, of which the matrices are the products."""
    values = check_matrix(function, batch)
    upper, turned = reflected(values, _identities(len(values), values.shape[-1]))
    return np.swapaxes(turned, 0, 1), upper


def singular_values(function: str, batch: Values) -> tuple[Values, Values, Values]:
    """U, S and V: the greatest singular value first, and the greatest number of each column of V positive."""
    values = _finite(function, check_matrix(function, batch))
    check_cells(max(values.shape[:2]) ** 2 * values.shape[-1])
    left, sizes, right = np.linalg.svd(_in_front(values))
    columns = np.swapaxes(right, 1, 2)
    greatest = np.take_along_axis(columns, np.abs(columns).argmax(axis=1)[:, np.newaxis], axis=1)
    signs = np.where(greatest < 0, -1.0, 1.0)
    rank = sizes.shape[1]
    left[:, :, :rank] *= signs[:, :, :rank]
    middle = np.zeros(values.shape)
    middle[np.arange(rank), np.arange(rank)] = sizes.T
    return _behind(left), middle, _behind(columns * signs)


def lower_upper(function: str, batch: Values) -> tuple[Values, Values, Values]:
    """P A = L U with partial pivoting, which leaves no choice but that between equal pivots: the first is taken."""
    upper = check_matrix(function, batch, square=True)
    size, count = len(upper), upper.shape[-1]
    lower, order = np.zeros_like(upper), _identities(size, count)
    for column in range(size):
        pivots = column + np.abs(upper[column:, column]).argmax(axis=0)
        for each in (upper, lower, order):
            _exchange(each, column, pivots)
        if (upper[column, column] == 0).any():
            raise invalid(f"{function}: the matrix is singular.")
        factors = upper[column + 1 :, column] / upper[column, column]
        lower[column + 1 :, column], lower[column, column] = factors, 1.0
        upper[column + 1 :] -= factors[:, np.newaxis] * upper[column]
        upper[column + 1 :, column] = 0.0
    return lower, upper, order


def _exchange(batch: Numbers, row: int, others: NDArray[np.int64]) -> None:
    """One row exchanged with another one at each pixel."""
    places = others[np.newaxis, np.newaxis]
    there = np.take_along_axis(batch, np.broadcast_to(places, (1, *batch.shape[1:])), axis=0)
    here = batch[row : row + 1].copy()
    np.put_along_axis(batch, np.broadcast_to(places, here.shape), here, axis=0)
    batch[row : row + 1] = there
