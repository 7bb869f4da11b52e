"""Reducers that pick rows: the first, the last, the least, the greatest. What they pick is not changed in any way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.pixels.cells import chosen
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.reducers.column import Column, complete
from airflow_ee.emulator.values.reducers.kernel import Kernel, Layers, Output, Pixels, check_width


@dataclass(frozen=True, slots=True)
class Extreme(Kernel):
    """The least or greatest value of the first input, and what the other inputs are there."""

    better: Literal["less", "greater"] = "less"

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """The values of the first row that has the extreme one; null where there is no row."""
        kept = complete(columns[:1], weighted=weighted)[0]
        if not len(kept):
            return [None] * len(self.outputs)
        best = int(self._best(kept))
        row = int(np.flatnonzero(columns[0].rows(weighted=weighted))[best])
        return [column.item(row) for column in columns]

    def _best(self, column: Column) -> Any:
        """The first row of the extreme value; texts have the order of the alphabet."""
        scores = column.values
        if scores.dtype == object:
            texts = all(isinstance(value, str) for value in scores)
            scores = scores.astype(str) if texts else column.numbers(self.label)
            if texts:
                scores = np.unique(scores, return_inverse=True)[1]
        return scores.argmin() if self.better == "less" else scores.argmax()

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:  # noqa: ARG002 -- 0 or not
        """The values of the first layer that has the extreme one."""
        chosen = [Pixels(np.array(layers[0].values), np.asarray(layers[0].mask > 0)) for layers in inputs]
        compare = np.less if self.better == "less" else np.greater
        for place in range(1, len(inputs[0])):
            score = inputs[0][place]
            wins = (score.mask > 0) & (~chosen[0].known | compare(score.values, chosen[0].values))
            chosen = [_replaced(old, layers[place], wins) for old, layers in zip(chosen, inputs, strict=True)]
        return chosen


def _replaced(old: Pixels, layer: Any, wins: NDArray[np.bool_]) -> Pixels:
    known = np.where(wins, layer.mask > 0, old.known)
    return Pixels(np.where(wins, layer.values, old.values), np.asarray(known))


@dataclass(frozen=True, slots=True)
class End(Kernel):
    """The first or the last row, whether it is null or not, or of those that are not null."""

    last: bool = False
    skips_nulls: bool = True
    takes_arrays: ClassVar[bool] = True

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """The value, of any kind, or null."""
        column = columns[0]
        places = np.flatnonzero(column.rows(weighted=weighted) if self.skips_nulls else column.present)
        return [column.item(int(places[-1 if self.last else 0])) if len(places) else None]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:  # noqa: ARG002 -- 0 or not
        """The value at every pixel."""
        layers = inputs[0][::-1] if self.last else inputs[0]
        whole = layers[0]
        for layer in layers[1:] if self.skips_nulls else []:
            known = whole.mask > 0
            if known.all():
                break
            whole = chosen(known, whole, layer)
        return [Pixels(whole.values, np.asarray(whole.mask > 0), whole.lengths)]

    def result_types(self, types: Sequence[PixelType], count: int) -> list[PixelType]:  # noqa: ARG002 -- a layer's own
        """That of the layers, numbers or arrays."""
        return [types[0]]


def extreme(name: Literal["min", "max"], inputs: int = 1) -> Extreme:
    """``min`` or ``max``, with as many inputs carried along; these are named ``min1`` and so on."""
    check_width(f"Reducer.{name}", inputs)
    names = [name, *(f"{name}{place}" for place in range(1, inputs))]
    outputs = tuple(Output(each, "same", place) for place, each in enumerate(names))
    return Extreme(f"Reducer.{name}", outputs, inputs, False, "less" if name == "min" else "greater")


def _end(name: str, output: str, *, last: bool, skips_nulls: bool) -> End:
    return End(f"Reducer.{name}", (Output(output, "same"),), 1, False, last, skips_nulls)


ENDS: dict[str, End] = {
    "first": _end("first", "first", last=False, skips_nulls=False),
    "firstNonNull": _end("firstNonNull", "first", last=False, skips_nulls=True),
    "last": _end("last", "last", last=True, skips_nulls=False),
    "lastNonNull": _end("lastNonNull", "last", last=True, skips_nulls=True),
}
"""Kernels by the name after ``Reducer.``"""
