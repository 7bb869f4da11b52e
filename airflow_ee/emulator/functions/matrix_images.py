"""Images whose pixels are matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.array_bands import Plan, each_band, each_pair, elements
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.functions.matrices import DECOMPOSITIONS, MATRICES, NUMBERS, Compute
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.batches import batched_parts
from airflow_ee.emulator.pixels.raster import Pointwise, Raster, Several
from airflow_ee.emulator.pixels.types import DOUBLE, PixelType, type_of_dtype
from airflow_ee.emulator.values import batch_matrices
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.image import Band, Image, array_band

MAX_SIZE = 1000
_KEEPING = ("matrixDiagonal", "matrixToDiag")
"""What moves numbers and makes no new ones."""


def check_matrices(function: str, *types: PixelType) -> None:
    """Refuse bands whose arrays have another number of axes."""
    for type_ in types:
        if type_.dimensions != 2:
            raise invalid(f"{function}: the array must be 2-dimensional, got {type_.dimensions} dimensions.")


@registry.implements("Image.matrixIdentity")
def identity(size: int) -> Image:
    """Ones on the diagonal, everywhere."""
    if not 1 <= size <= MAX_SIZE:
        raise invalid(f"Image.matrixIdentity: a size of {size} is not emulated.")
    return Image((array_band("identity", Array(np.eye(size, dtype=np.int64))),))


def wide(types: Sequence[PixelType]) -> PixelType:
    """The type of sums of products: as precise as the numbers, but without their range."""
    whole = elements(types)
    return type_of_dtype("int64") if whole.precision == "int" else PixelType(whole.precision)


@registry.implements("Image.matrixMultiply")
def multiply(image1: Image, image2: Image) -> Image:
    """The products of the matrices of two images."""
    function = "Image.matrixMultiply"

    def plan(*types: PixelType) -> Plan:
        check_matrices(function, *types)
        type_ = wide(types)
        working = np.int64 if type_.precision == "int" else np.float64
        return Plan(
            type_.of_arrays(2), lambda *pair: batch_matrices.product(function, *(each.astype(working) for each in pair))
        )

    return each_pair(image1, image2, function, plan)


@registry.implements("Image.matrixSolve")
def solve(image1: Image, image2: Image) -> Image:
    """X in A x = B, in the sense of least squares where A has more rows than columns."""
    function = "Image.matrixSolve"

    def plan(*types: PixelType) -> Plan:
        check_matrices(function, *types)
        return Plan(real(types).of_arrays(2), partial(batch_matrices.solution, function))

    return each_pair(image1, image2, function, plan)


def real(types: Sequence[PixelType]) -> PixelType:
    """The type of quotients: as precise as the numbers, and double for whole ones."""
    whole = elements(types)
    return DOUBLE if whole.precision == "int" else PixelType(whole.precision)


def _to_numbers(function: str, compute: Compute) -> Callable[[Image], Image]:
    def apply(value: Image) -> Image:
        def plan(type_: PixelType) -> Plan:
            check_matrices(function, type_)
            made = wide([type_]) if function.endswith("Trace") else DOUBLE
            return Plan(made, lambda batch: compute(function, batch.astype(made.dtype)))

        return each_band(value, plan)

    apply.__doc__ = compute.__doc__
    return apply


def _to_matrices(function: str, compute: Compute, *, keeps: bool) -> Callable[[Image], Image]:
    def apply(value: Image) -> Image:
        def plan(type_: PixelType) -> Plan:
            check_matrices(function, type_)
            made = elements([type_, PixelType("int", 0, 0)]) if keeps else real([type_])
            return Plan(made.of_arrays(2), partial(compute, function))

        return each_band(value, plan)

    apply.__doc__ = compute.__doc__
    return apply


def _decomposed(
    function: str, names: Sequence[str], compute: Callable[[str, Values], Sequence[Values]]
) -> Callable[[Image], Image]:
    """An image with a band for each matrix; they are found together, once for all the bands that show them."""

    def apply(image: Image) -> Image:
        if len(image.bands) != 1:
            raise invalid(f"{function}: Image must have exactly one band, got {len(image.bands)}.")
        band = image.bands[0]
        check_matrices(function, band.type)
        type_ = DOUBLE.of_arrays(2)
        together = Several(partial(_parts, len(names), partial(compute, function)), band.node)

        def part(place: int, name: str) -> Band:
            return Band(name, type_, Pointwise(lambda found: found[place], together), band.projection, band.extent)

        return image.with_bands(part(*pair) for pair in enumerate(names))

    apply.__doc__ = compute.__doc__
    return apply


def _parts(count: int, compute: Callable[[Values], Sequence[Values]], raster: Raster) -> tuple[Raster, ...]:
    return batched_parts(compute, [DOUBLE.of_arrays(2)] * count, raster)


for _name, _compute in NUMBERS.items():
    registry.add(f"Image.{_name}", _to_numbers(f"Image.{_name}", _compute))
for _name, _compute in MATRICES.items():
    registry.add(f"Image.{_name}", _to_matrices(f"Image.{_name}", _compute, keeps=_name in _KEEPING))
for _name, (_letters, _several) in DECOMPOSITIONS.items():
    registry.add(f"Image.{_name}", _decomposed(f"Image.{_name}", _letters, _several))
