"""Each pixel from its neighbours: convolution, reducers in a moving window, morphology, distances, connected pixels.

A kernel counts in pixels of the grid that is asked for, so a result belongs to its scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions import reducers  # noqa: F401 -- declares the reducers that focal operations run
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.kernels import SHAPES
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.components import components
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Margins, Neighbourhood, Padded
from airflow_ee.emulator.pixels.raster import Mask, Raster
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT, PixelType, type_of_dtype
from airflow_ee.emulator.values.image import Band, Image, check_plain
from airflow_ee.emulator.values.kernel import Kernel, Weights, shaped
from airflow_ee.emulator.values.reducers import Output, Pixels, Reducer, Single

Array = NDArray[np.float64]
Reduce = Callable[[Array, Array], Pixels]
"""Neighbours and their weights, the first axis reduced."""

STACK_CELLS = 4_000_000
"""Neighbours that are laid side by side at once: bounds memory for large kernels."""

MAX_CONNECTED = 1024

MAX_ITERATIONS = 100
"""Times that a focal operation is repeated: each widens what must be known around a pixel."""


def around(band: Band, kernel: Kernel, function: Callable[[Padded, Weights], Raster], type_: PixelType) -> Band:
    """A band computed in a kernel's window."""
    check_plain(Image((band,)), "Image.neighborhood")

    def weights(grid: Grid) -> Weights:
        return kernel.at(grid.projection.nominal_scale)

    node = Neighbourhood(
        band.node, lambda grid: weights(grid).margins, lambda padded, grid: function(padded, weights(grid))
    )
    return band.computed(node, type_)


@registry.implements("Image.convolve")
def convolve(image: Image, kernel: Kernel) -> Image:
    """The weighted sum of the neighbours; masked where one of them is."""

    def convolved(band: Band) -> Band:
        type_ = FLOAT if band.type.precision == "float" else DOUBLE
        return around(band, kernel, lambda padded, weights: _weighted_sum(padded, weights, type_), type_)

    return image.each(convolved)


def _weighted_sum(padded: Padded, weights: Weights, type_: PixelType) -> Raster:
    centre = padded.shifted(0, 0)
    total, mask = np.zeros(centre.values.shape), centre.mask
    for row, col, weight in weights.cells:
        deadline.check()
        values, valid, _ = padded.shifted(row, col)
        # Garbage under a mask must not meet a weight: infinity times zero is not a number.
        total += weight * np.where(valid > 0, values, 0)
        mask = np.minimum(mask, valid)
    return settled(total, mask, type_)


@registry.implements("Image.reduceNeighborhood")
def reduce_neighborhood(
    image: Image,
    reducer: Reducer,
    kernel: Kernel,
    input_weight: str = "kernel",
    skip_masked: bool = True,
    optimization: str | None = None,
) -> Image:
    """A reducer over each pixel's neighbours, in bands ``<band>_<result>``."""
    if input_weight not in ("kernel", "mask", "min"):
        raise invalid(f"Image.reduceNeighborhood: Unknown inputWeight '{input_weight}'; use mask, kernel or min.")
    if optimization not in (None, "boxcar", "window"):
        raise invalid(f"Image.reduceNeighborhood: Unknown optimization '{optimization}'; use boxcar or window.")
    if reducer.input_count != 1:
        raise invalid("Image.reduceNeighborhood: reducers of several inputs are not emulated.")
    reducer.check_numbers()
    bands = [
        replace(moving(band, single, kernel, input_weight, skip_masked=skip_masked), name=f"{band.name}_{name}")
        for band in image.bands
        for name, single in zip(reducer.output_names, reducer.singles(), strict=True)
    ]
    return image.with_bands(bands)


def moving(band: Band, single: Single, kernel: Kernel, input_weight: str, *, skip_masked: bool) -> Band:
    """One result in a moving window."""
    type_ = window_type(single.output, band.type)

    def reduce(values: Array, weights: Array) -> Pixels:
        layers = [Raster(each, weight) for each, weight in zip(values, weights, strict=True)]
        return single.reducer.of_layers([layers])[0]

    def reduced(padded: Padded, weights: Weights) -> Raster:
        values, valid = _strips(padded, reduce, weights, input_weight)
        centre = padded.shifted(0, 0).mask
        return settled(values, valid * (centre if skip_masked else np.float32(1)), type_)

    return around(band, kernel, reduced, type_)


def window_type(output: Output, type_: PixelType) -> PixelType:
    """The type of a result over a window whose size is known only with the grid; weights make sums real."""
    if output.rule == "count":
        return type_of_dtype("int32")
    if output.rule == "sum":
        return FLOAT if type_.precision == "float" else DOUBLE
    return output.type_for([type_] * (output.input + 1), 1)


def _strips(padded: Padded, reduce: Reduce, weights: Weights, input_weight: str) -> tuple[Array, NDArray[np.float32]]:
    """A reduction over all neighbours, a few rows at once; the second array says where it had any."""
    cells, seen = weights.cells, [padded.shifted(row, col) for row, col, _ in weights.cells]
    height, width = padded.shifted(0, 0).values.shape
    found, valid = np.zeros((height, width)), np.zeros((height, width), np.float32)
    step = max(1, STACK_CELLS // max(1, len(cells) * width))
    for top in range(0, height if cells else 0, step):
        deadline.check()
        rows = slice(top, top + step)
        mask = _side_by_side([each.mask[rows] for each in seen])
        values = np.where(mask > 0, _side_by_side([each.values[rows] for each in seen]), 0.0)
        results = reduce(values, _input_weights(mask, np.array([each[2] for each in cells]), input_weight))
        shape = found[rows].shape
        found[rows] = results.values[: found[rows].size].reshape(shape)
        valid[rows] = results.known[: found[rows].size].reshape(shape)
    return found, valid


def _side_by_side(parts: list[NDArray[Any]]) -> Array:
    """A row for each neighbour. Two pixels at least: numpy sums a lone one in another order, and tiles would show."""
    stacked = np.stack(parts).astype(np.float64).reshape(len(parts), -1)
    return stacked if stacked.shape[1] > 1 else np.repeat(stacked, 2, axis=1)


def _input_weights(mask: Array, kernel: Array, kind: str) -> Array:
    if kind == "mask":
        return mask
    shares = np.broadcast_to(kernel[:, None], mask.shape)
    return np.where(mask > 0, shares if kind == "kernel" else np.minimum(mask, shares), 0.0)


def _focal(result: str) -> Callable[..., Image]:
    (single,) = registry.call(f"Reducer.{result}", {}).singles()
    running = _RUNNING.get(result)

    def moved(band: Band, window: Kernel) -> Band:
        if running is None:
            return moving(band, single, window, "kernel", skip_masked=False)
        type_ = window_type(single.output, band.type)
        return around(band, window, lambda padded, weights: settled(*running(padded, weights), type_), type_)

    def apply(
        image: Image,
        radius: float = 1.5,
        kernel_type: str = "circle",
        units: str = "pixels",
        iterations: int = 1,
        kernel: Kernel | None = None,
    ) -> Image:
        if not 0 <= iterations <= MAX_ITERATIONS:
            raise invalid(f"'iterations' must be from 0 to {MAX_ITERATIONS}, got {iterations}.")
        window = kernel or _named_kernel(kernel_type, radius, units)
        for _ in range(iterations):
            image = image.each(lambda band: moved(band, window))
        return image

    return apply


def _extreme(better: Callable[..., NDArray[Any]]) -> Callable[[Padded, Weights], tuple[NDArray[Any], Mask]]:
    """The least or the greatest of the neighbours, one after the other: large kernels need no more memory than small ones."""

    def run(padded: Padded, weights: Weights) -> tuple[NDArray[Any], Mask]:
        centre = padded.shifted(0, 0)
        best, seen = np.zeros_like(centre.values), np.zeros(centre.mask.shape, np.bool_)
        for row, col, _ in weights.cells:
            deadline.check()
            values, mask, _ = padded.shifted(row, col)
            valid = mask > 0
            np.copyto(best, np.where(seen, better(best, values), values), where=valid)
            seen |= valid
        return best, seen.astype(np.float32)

    return run


def _running_mean(padded: Padded, weights: Weights) -> tuple[NDArray[Any], Mask]:
    shape = padded.shifted(0, 0).mask.shape
    total, weight = np.zeros(shape), np.zeros(shape)
    for row, col, share in weights.cells:
        deadline.check()
        values, mask, _ = padded.shifted(row, col)
        used = np.where(mask > 0, share, 0.0)
        total += np.where(mask > 0, values, 0) * used
        weight += used
    known = weight != 0
    return np.divide(total, weight, out=np.zeros(shape), where=known), known.astype(np.float32)


_RUNNING = {"min": _extreme(np.minimum), "max": _extreme(np.maximum), "mean": _running_mean}
"""Results that are gathered neighbour by neighbour, without a stack."""


def _named_kernel(kernel_type: str, radius: float, units: str) -> Kernel:
    if kernel_type not in SHAPES:
        raise invalid(f"Unknown kernel type '{kernel_type}'; use one of {', '.join(sorted(SHAPES))}.")
    return shaped(SHAPES[kernel_type], (radius, radius), units, normalize=True, magnitude=1.0)


for _name in ("min", "max", "median", "mode", "mean"):
    registry.add(f"Image.focal{_name.capitalize()}", _focal(_name))
    registry.add(f"Image.focal_{_name}", _focal(_name))
    registry.add(f"Window.{_name}", _focal(_name))


@registry.implements("Image.entropy")
def entropy(image: Image, kernel: Kernel) -> Image:
    """How mixed the values in the window are: the sum of -p log2 p over the values' shares."""

    def mixed(padded: Padded, weights: Weights) -> Raster:
        values, valid = _strips(padded, _shannon, weights, "mask")
        return settled(values, valid * padded.shifted(0, 0).mask, DOUBLE)

    return image.each(lambda band: around(band, kernel, mixed, DOUBLE))


def _shannon(values: Array, masks: Array) -> Pixels:
    weights = (masks > 0).astype(np.float64)
    total = weights.sum(axis=0)
    bits = np.zeros(total.shape)
    for index in range(len(values)):
        same = (weights * (values == values[index])).sum(axis=0)
        share = np.divide(same, total, out=np.ones_like(total), where=(total > 0) & (same > 0))
        # Every pixel of a value adds its part of the value's term.
        bits -= np.where(weights[index] > 0, np.log2(share) / np.maximum(total, 1), 0.0)
    return Pixels(bits, total > 0)


@registry.implements("Image.distance")
def distance(image: Image, kernel: Kernel | None = None, skip_masked: bool = True) -> Image:
    """How far the nearest pixel is that is not zero; masked where the kernel reaches none."""
    if kernel is None:
        raise invalid("Image.distance without the argument 'kernel' is not emulated")
    reach = kernel.changed(_with_centre)

    def nearest(padded: Padded, weights: Weights) -> Raster:
        far = np.full(padded.shifted(0, 0).values.shape, np.inf)
        for row, col, weight in weights.cells:
            values, valid, _ = padded.shifted(row, col)
            far = np.where((values != 0) & (valid > 0), np.minimum(far, weight), far)
        far = np.where(far == _HERE, 0.0, far)
        mask = padded.shifted(0, 0).mask if skip_masked else np.ones(far.shape, np.float32)
        return settled(far, mask, DOUBLE)

    return image.each(lambda band: around(band, reach, nearest, DOUBLE))


_HERE = -1.0
"""Stands for the distance of a pixel from itself, since cells of weight zero take no part."""


def _with_centre(weights: Weights) -> Weights:
    if (weights.matrix < 0).any():
        raise invalid("Image.distance: The kernel must be a distance kernel: its weights may not be negative.")
    matrix = weights.matrix.copy()
    matrix[weights.row, weights.col] = _HERE
    return Weights(matrix, weights.row, weights.col)


@registry.implements("Image.connectedPixelCount")
def connected_pixel_count(input: Image, max_size: int = 100, eight_connected: bool = True) -> Image:
    """How many pixels of the same value hang together with each pixel, up to a limit."""
    if not 1 <= max_size <= MAX_CONNECTED:
        raise invalid(f"Image.connectedPixelCount: 'maxSize' must be from 1 to {MAX_CONNECTED}, got {max_size}.")
    check_plain(input, "Image.connectedPixelCount")
    # Whatever hangs together and leaves a rim of this width has more pixels than are counted.
    margins: Margins = (max_size, max_size, max_size, max_size)
    type_ = PixelType("int", 0, max_size)

    def counted(padded: Padded, _grid: Grid) -> Raster:
        labels = components(padded.values, padded.mask > 0, eight=eight_connected)
        sizes = np.bincount(labels.ravel())[labels]
        inner = (slice(max_size, -max_size), slice(max_size, -max_size))
        return settled(np.minimum(sizes, max_size)[inner], padded.mask[inner], type_)

    return input.each(lambda band: band.computed(Neighbourhood(band.node, lambda _grid: margins, counted), type_))
