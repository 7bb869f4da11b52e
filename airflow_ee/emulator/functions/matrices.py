"""Arrays as matrices. Decompositions whose signs or order are free come only as the service is known to give them, or say how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from airflow_ee.emulator.functions.array_shapes import lone
from airflow_ee.emulator.functions.arrays import alike, number
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values import batch_matrices
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.eigen import eigen


@registry.implements("Array.dotProduct")
def dot_product(array1: Array, array2: Array) -> Any:
    """The sum of the products."""
    one, two = alike(array1.values, array2.values)
    return number(lone(lambda *pair: batch_matrices.dot("Array.dotProduct", *pair), one, two).values)


@registry.implements("Array.matrixMultiply")
def multiply(left: Array, right: Array) -> Array:
    """The product of two matrices."""
    one, two = alike(left.values, right.values)
    return lone(lambda *pair: batch_matrices.product("Array.matrixMultiply", *pair), one, two)


@registry.implements("Array.matrixSolve")
def solve(left: Array, right: Array) -> Array:
    """X in A x = B, in the sense of least squares where A has more rows than columns."""
    return lone(lambda *pair: batch_matrices.solution("Array.matrixSolve", *pair), left.values, right.values)


Compute = Callable[[str, Values], Values]


def _to_number(function: str, compute: Compute) -> Callable[[Array], Any]:
    def apply(input: Array) -> Any:
        return number(lone(lambda batch: compute(function, batch), input.values).values)

    apply.__doc__ = compute.__doc__
    return apply


def _to_matrix(function: str, compute: Compute) -> Callable[[Array], Array]:
    def apply(input: Array) -> Array:
        return lone(lambda batch: compute(function, batch), input.values)

    apply.__doc__ = compute.__doc__
    return apply


def _decomposed(
    function: str, names: Sequence[str], compute: Callable[[str, Values], Sequence[Values]]
) -> Callable[[Array], dict[str, Array]]:
    def apply(array: Array) -> dict[str, Array]:
        found = compute(function, array.values[..., np.newaxis])
        return {name: Array(np.asarray(each[..., 0], order="C")) for name, each in zip(names, found, strict=True)}

    apply.__doc__ = compute.__doc__
    return apply


NUMBERS: dict[str, Compute] = {
    "matrixTrace": batch_matrices.trace,
    "matrixFnorm": batch_matrices.frobenius_norm,
    "matrixDeterminant": batch_matrices.determinant,
}
MATRICES: dict[str, Compute] = {
    "matrixDiagonal": batch_matrices.diagonal,
    "matrixToDiag": batch_matrices.to_diagonal,
    "matrixInverse": batch_matrices.inverse,
    "matrixPseudoInverse": batch_matrices.pseudo_inverse,
}
DECOMPOSITIONS: dict[str, tuple[str, Callable[[str, Values], Sequence[Values]]]] = {
    "matrixCholeskyDecomposition": ("L", lambda function, batch: (batch_matrices.cholesky(function, batch),)),
    "matrixLUDecomposition": ("LUP", batch_matrices.lower_upper),
    "matrixQRDecomposition": ("QR", batch_matrices.triangular),
    "matrixSingularValueDecomposition": ("USV", batch_matrices.singular_values),
}
"""By the name behind ``Array.`` or ``Image.``; of decompositions also the letters of what they give."""

for _name, _compute in NUMBERS.items():
    registry.add(f"Array.{_name}", _to_number(f"Array.{_name}", _compute))
for _name, _compute in MATRICES.items():
    registry.add(f"Array.{_name}", _to_matrix(f"Array.{_name}", _compute))
for _name, (_letters, _parts) in DECOMPOSITIONS.items():
    registry.add(f"Array.{_name}", _decomposed(f"Array.{_name}", _letters, _parts))


@registry.implements("Array.eigen")
def eigen_rows(input: Array) -> Array:
    """Eigenvalues, the greatest first, each before its vector."""
    own, vectors = eigen(batch_matrices.check_matrix("Array.eigen", input.values[..., np.newaxis], square=True)[..., 0])
    return Array(np.column_stack([own, vectors]))
