"""Objects: pixels of equal value that hang together, labelled, and reduced each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.neighbourhoods import MAX_CONNECTED, window_type
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.together import Surroundings, results
from airflow_ee.emulator.pixels.components import components, numbered
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Margins, Neighbourhood, Padded
from airflow_ee.emulator.pixels.raster import Pointwise, Raster
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.image import Band, Image
from airflow_ee.emulator.values.kernel import Kernel
from airflow_ee.emulator.values.reducers import Column, Reducer

_TURN = 2**26
"""Rows and columns that labels tell apart: further pixels of one projection lie half the Earth away at 60 cm a pixel."""

_LABEL = PixelType("int", 0, _TURN**2)


def _check_size(max_size: int, function: str) -> Margins:
    """Whatever lies in part beyond a rim of this width is too large."""
    if not 1 <= max_size <= MAX_CONNECTED:
        raise invalid(f"{function}: 'maxSize' must be from 1 to {MAX_CONNECTED}, got {max_size}.")
    return max_size, max_size, max_size, max_size


@of_numbers("Image.connectedComponents")
def connected_components(image: Image, connectedness: Kernel, max_size: int) -> Image:
    """A band ``labels`` with a number for each object of the first band, the rest masked with it where there is none.

    The number tells row and column of the object's first pixel, so that tiles agree.
    """
    function = "Image.connectedComponents"
    margins = _check_size(max_size, function)
    if not image.bands:
        raise invalid(f"{function}: Image has no bands.")
    eight = _is_eight(connectedness)
    first = image.bands[0]
    labels = Neighbourhood(first.node, lambda _grid: margins, partial(_labelled, max_size, eight))
    label = replace(first, name="labels", type=_LABEL, node=labels)
    kept = [band.computed(Pointwise(_where_labelled, band.node, labels)) for band in image.bands]
    return image.with_bands([*kept, label])


def _is_eight(connectedness: Kernel) -> bool:
    """Whether diagonal neighbours belong together; other kernels than these two are not evaluated."""
    matrix = connectedness.at(1.0).matrix != 0
    if matrix.shape == (3, 3):
        diagonal, straight = matrix[::2, ::2], np.array([matrix[0, 1], matrix[1, 0], matrix[1, 2], matrix[2, 1]])
        if straight.all() and (diagonal.all() or not diagonal.any()):
            return bool(diagonal.all())
    raise invalid("Image.connectedComponents with another kernel than a plus or square of radius 1 is not emulated")


def _labelled(max_size: int, eight: bool, padded: Padded, grid: Grid) -> Raster:
    labels = components(padded.values, padded.mask > 0, eight=eight)
    small = np.bincount(labels.ravel())[labels] <= max_size
    rows, cols = np.divmod(labels, padded.values.shape[1])
    top, _, left, _ = padded.margins
    numbers = ((rows + grid.row - top) % _TURN) * _TURN + (cols + grid.col - left) % _TURN
    inner = padded._replace(values=numbers, mask=padded.mask * small).shifted(0, 0)
    return Raster(inner.values.astype(_LABEL.dtype), inner.mask)


def _where_labelled(own: Raster, label: Raster) -> Raster:
    return Raster(own.values, own.mask * (label.mask > 0))


@of_numbers("Image.reduceConnectedComponents")
def reduce_connected_components(
    image: Image, reducer: Reducer, label_band: str | None = None, max_size: int = 256
) -> Image:
    """At each pixel the results over its object, whose pixels have one label and touch; larger objects are masked."""
    function = "Image.reduceConnectedComponents"
    margins = _check_size(max_size, function)
    if len(image.bands) < 2:
        raise invalid(f"{function}: the image needs a label band and at least one band more.")
    label = image.bands[0] if label_band is None else image.band(label_band, function=function)
    others = [band for band in image.bands if band is not label]
    made = [(name, type_) for group in _groups(others, reducer, function) for name, type_ in group]
    reduce = partial(_reduced, reducer, max_size, len(made))
    node = Surroundings([band.node for band in (label, *others)], lambda _grid: margins, reduce)
    nodes = results(node, [type_ for _, type_ in made])
    return image.with_bands(
        replace(others[0], name=name, type=type_, node=each) for (name, type_), each in zip(made, nodes, strict=True)
    )


def _groups(others: Sequence[Band], reducer: Reducer, function: str) -> Iterator[list[tuple[str, PixelType]]]:
    """Names and types of the results, by reduction: of each band by itself, or of all together."""
    reducer.check_numbers()
    if reducer.input_count == 1:
        several = len(reducer.output_names) > 1
        for band in others:
            names = [f"{band.name}_{name}" if several else band.name for name in reducer.output_names]
            yield list(zip(names, _types(reducer, [band.type]), strict=True))
    else:
        reducer.check_inputs(len(others), function)
        yield list(zip(reducer.output_names, _types(reducer, [band.type for band in others]), strict=True))


def _types(reducer: Reducer, types: Sequence[PixelType]) -> list[PixelType]:
    return [window_type(replace(output, input=0), types[output.input]) for output, _ in reducer.singles()]


class _Objects(NamedTuple):
    """The objects of a rimmed grid that reach into the grid itself and fit the limit."""

    numbers: NDArray[np.int32]
    """Of every pixel, from 1; 0 where there is none."""
    members: dict[int, NDArray[np.int64]]
    """The pixels of those that count."""


def _objects(label: Padded, max_size: int) -> _Objects:
    valid = label.mask > 0
    numbers, count = numbered(components(label.values, valid, eight=True), valid)
    flat = numbers.ravel()
    order = np.argsort(flat, kind="stable")
    edges = np.searchsorted(flat[order], np.arange(1, count + 2))
    inner = np.unique(label._replace(values=numbers).shifted(0, 0).values)
    members = {int(number): order[edges[number - 1] : edges[number]] for number in inner if number}
    width = numbers.shape[1]
    return _Objects(numbers, {number: at for number, at in members.items() if _fits(at, width, max_size)})


def _fits(members: NDArray[np.int64], width: int, max_size: int) -> bool:
    rows, cols = np.divmod(members, width)
    return bool(max(rows[-1] - rows[0], cols.max() - cols.min()) < max_size)


def _reduced(reducer: Reducer, max_size: int, count: int, padded: Sequence[Padded], _grid: Grid) -> Raster:
    label, *others = padded
    found = _objects(label, max_size)
    highest = int(found.numbers.max(initial=0))
    table, known = np.zeros((count, highest + 1)), np.zeros((count, highest + 1), np.bool_)
    for number, members in found.members.items():
        deadline.check()
        for place, value in enumerate(_values(reducer, [_column(each, members) for each in others])):
            if value is not None:
                table[place, number], known[place, number] = value, True
    here = label._replace(values=found.numbers).shifted(0, 0)
    return Raster(table[:, here.values], known[:, here.values] * here.mask)


def _column(padded: Padded, members: NDArray[np.int64]) -> Column:
    mask = padded.mask.ravel()[members].astype(np.float64)
    return Column(padded.values.ravel()[members], mask, mask > 0)


def _values(reducer: Reducer, columns: Sequence[Column]) -> Iterator[float | None]:
    function = "Image.reduceConnectedComponents"
    if reducer.input_count != 1:
        yield from reducer.of_columns(columns, function=function).values()
        return
    for column in columns:
        yield from reducer.of_columns([column], function=function).values()
