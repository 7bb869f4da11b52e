"""One step of a reducer: some inputs to some results, over the rows of columns or, pixel by pixel, over layers of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.pixels.cells import Lengths, Raster
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT, PixelType, ranged, type_of_dtype
from airflow_ee.emulator.values.reducers.column import Column, complete

Array = NDArray[Any]
Layers = Sequence[Raster]
"""One input at every pixel: a raster for each image, or for each band."""

MAX_WIDTH = 10_000
"""Inputs or results of one reducer: copies of copies grow fast."""

TypeRule = Literal["same", "real", "between", "count", "sum", "bit", "bits"]


class Pixels(NamedTuple):
    """One result at every pixel, and where there is one."""

    values: Array
    known: NDArray[np.bool_]
    lengths: Lengths | None = None
    """Where the result is an array, and not as long everywhere."""


@dataclass(frozen=True, slots=True)
class Output:
    """One result of a reducer: its name and the type of pixels that hold it."""

    name: str
    rule: TypeRule = "real"
    input: int = 0
    """The input whose type the result's type follows."""
    empty: float | None = None
    """The result where there is no row; None where that is null."""
    dimensions: int = 0
    """Of a result that is an array."""

    def type_for(self, types: Sequence[PixelType], count: int) -> PixelType:
        """The type of the result over ``count`` values of the inputs' types."""
        type_ = types[self.input]
        if self.rule == "same":
            return type_
        if self.rule == "bits":
            return type_of_dtype(type_.dtype)
        if self.rule == "bit":
            return PixelType("int", 0, 1)
        if self.rule == "count":
            return PixelType("int", 0, count)
        if self.rule == "sum" and type_.precision == "int":
            low, high = type_.range
            return ranged("int", min(0.0, low * count), max(0.0, high * count))
        real = FLOAT if type_.precision == "float" else DOUBLE
        if self.rule == "between" and type_.minimum is not None:
            return ranged(real.precision, *type_.range)
        return real

    def shown(self, value: float) -> float | int | None:
        """A computed result as a value: null where it is not a number, whole where it counts."""
        if np.isnan(value):
            return None
        return int(value) if self.rule in ("count", "bit", "bits") else float(value)


@dataclass(frozen=True, slots=True)
class Kernel(ABC):
    """Inputs to outputs, wherever the inputs come from."""

    label: str
    """The algorithm that made it, for messages."""
    outputs: tuple[Output, ...]
    input_count: int = 1
    weighted: bool = True
    """Whether a row's weight matters by default."""

    takes_arrays: ClassVar[bool] = False
    """Whether its inputs may be arrays."""

    @abstractmethod
    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """The results over rows."""

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:  # noqa: ARG002 -- see below
        """The results at every pixel, of those kernels that have such."""
        raise self.no_pixels()

    @property
    def fits_pixels(self) -> bool:
        """Whether a pixel can hold the results."""
        return type(self).on_layers is not Kernel.on_layers

    def result_types(self, types: Sequence[PixelType], count: int) -> list[PixelType]:
        """The types of pixels that hold the results."""
        return [output.type_for(types, count).of_arrays(output.dimensions) for output in self.outputs]

    def no_pixels(self) -> EmulatorError:
        """Why an image cannot be reduced by this."""
        return invalid(f"{self.label}: its result is neither a number nor an array, so that no pixel can hold it.")


Compute = Callable[[list[NDArray[np.float64]], NDArray[np.float64]], list[NDArray[np.float64]]]
"""Values of each input and the weight of each row, the first axis reduced; what has no result is not a number."""


@dataclass(frozen=True, slots=True)
class Statistic(Kernel):
    """Numbers from numbers by one formula for rows and for pixels. Where an input is null, the others do not count either."""

    compute: Compute = field(kw_only=True)

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """The results, or what stands for them where there is no row."""
        rows = complete(columns, weighted=weighted)
        if not len(rows[0]):
            return [output.empty for output in self.outputs]
        weights = np.minimum.reduce([column.weight(weighted=weighted) for column in rows])
        results = self.compute([column.numbers(self.label)[:, None] for column in rows], weights[:, None])
        return [output.shown(float(each[0])) for output, each in zip(self.outputs, results, strict=True)]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """The results at every pixel."""
        values = [stacked([layer.values for layer in layers]) for layers in inputs]
        weights = np.minimum.reduce([weights_of(layers, weighted=weighted) for layers in inputs])
        return self.settled(self.compute(values, weights), np.asarray((weights > 0).any(axis=0)))

    def settled(self, results: Sequence[Array], known: NDArray[np.bool_]) -> list[Pixels]:
        """Results where there was a value: pixels that no layer shows stay masked, even where a list would count none."""
        valid = [known & ~np.isnan(result) for result in results]
        return [Pixels(np.where(each, result, 0.0), each) for result, each in zip(results, valid, strict=True)]


def stacked(layers: Sequence[Array]) -> NDArray[np.float64]:
    """Layers as one array of doubles, copied once."""
    shape = np.broadcast_shapes(*(layer.shape for layer in layers))
    whole = np.empty((len(layers), *shape))
    for target, layer in zip(whole, layers, strict=True):
        target[...] = layer
    return whole


def weights_of(layers: Layers, *, weighted: bool) -> NDArray[np.float64]:
    """Masks as weights."""
    masks = stacked([np.broadcast_to(layer.mask, layer.values.shape) for layer in layers])
    return masks if weighted else (masks > 0).astype(np.float64)


def added(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over the first axis: of layers always one after the other, so that a pixel's last bit is that of any tile."""
    # Left to itself numpy adds the layers of a lone pixel in pairs.
    if values.ndim > 2 and len(values) and values[0].size == 1:
        return np.asarray(np.add.accumulate(values, axis=0)[-1])
    return np.asarray(values.sum(axis=0))


def check_width(label: str, width: int) -> None:
    """Refuse reducers of more inputs or results than anybody needs."""
    if width > MAX_WIDTH:
        raise invalid(f"{label}: {width} inputs or outputs are too many (maximum {MAX_WIDTH}).")
