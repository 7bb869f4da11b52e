"""Arrays: made, cut, joined, sorted and looked into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions import pixel_types  # noqa: F401 -- declares how values become pixel types
from airflow_ee.emulator.functions.elementwise import Values, clamped
from airflow_ee.emulator.functions.promote import as_whole, cannot, registry
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.numbers import Long


@registry.promotes(Array)
def array_of(value: Any) -> Array:
    """Numbers and lists of them are arrays."""
    if isinstance(value, Array):
        return value
    if isinstance(value, list) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return Array.of(value)
    raise cannot(value, "Array")


@registry.implements("Array")
def make_array(values: Any, pixel_type: PixelType | None = None) -> Array:
    """An array of given numbers, perhaps in another type."""
    empty = Array.empty(values) if isinstance(values, list) and pixel_type is not None else None
    array = empty or array_of(values)
    return array if pixel_type is None else typed(array, pixel_type)


def typed(array: Array, type_: PixelType) -> Array:
    """Numbers in a pixel type: rounded where that is whole, and kept within its range."""
    if type_.precision != "int":
        return cast(array, type_.dtype.name)
    low, high = type_.range
    whole = cast(array, "int64").values
    return Array(whole if type_.minimum is None else np.clip(whole, int(low), int(high)).astype(np.int64))


def cast(array: Array, dtype: str) -> Array:
    """Numbers in a type; unlike single numbers, those of arrays are rounded where the type is whole."""
    values = array.values
    if dtype.startswith("float"):
        with np.errstate(over="ignore"):
            return Array(values.astype(dtype))
    return Array(clamped(np.floor(values + 0.5) if values.dtype.kind == "f" else values, dtype))


def alike(*arrays: Values) -> list[Values]:
    """Arrays in the type that holds the numbers of all."""
    if any(each.dtype == np.float64 for each in arrays):
        return [each.astype(np.float64) for each in arrays]
    if any(each.dtype == np.float32 for each in arrays):
        return [each.astype(np.float32) for each in arrays]
    return list(arrays)


def axis_of(function: str, axis: int, dimensions: int) -> int:
    """An axis that must be there."""
    if not 0 <= axis < dimensions:
        raise invalid(f"{function}: Axis {axis} is out of range for an array of {dimensions} dimensions.")
    return axis


def number(values: Values) -> Any:
    """A number as single values are: whole ones as longs."""
    value = values.item()
    return Long(value) if isinstance(value, int) else value


@registry.implements("Array.identity")
def identity(size: int) -> Array:
    """Ones on the diagonal."""
    if not 0 <= size <= 3000:
        raise invalid(f"Array.identity: a size of {size} is not emulated.")
    return Array(np.eye(size, dtype=np.int64))


@registry.implements("Array.bitsToArray")
def bits(input: float) -> Array:
    """The bits of a whole number, the lowest first; 64 of them for a negative one."""
    if not float(input).is_integer() or abs(input) >= 2**63:
        raise invalid(f"Array.bitsToArray: {input} is not a whole number of 64 bits.")
    word = int(input) & (2**64 - 1)
    return Array(np.asarray([word >> place & 1 for place in range(max(word.bit_length(), 1))], dtype=np.int64))


@registry.implements("Array.toList")
def to_list(array: Array) -> list[Any]:
    """Lists of lists."""
    value = array.as_value()
    if not isinstance(value, list):
        raise invalid("Array.toList: an array without axes has no list.")
    return value


@registry.implements("Array.length")
def lengths(array: Array) -> Array:
    """The length of each axis."""
    return Array(np.asarray(array.shape, dtype=np.int64))


@registry.implements("Array.get")
def get(array: Array, position: list[Any]) -> Any:
    """One number."""
    return number(array.values[_place("Array.get", array, position)])


def _place(function: str, array: Array, position: list[Any], whole_axis: int | None = None) -> tuple[int, ...]:
    place = tuple(map(as_whole, position))
    if len(place) != array.dimensions:
        raise invalid(f"{function}: position has {len(place)} indices for an array of {array.dimensions} dimensions.")
    for index, length in zip(place, array.shape, strict=True):
        if not 0 <= index < length and index != whole_axis:
            raise invalid(f"{function}: Index {index} is out of bounds for a length of {length}.")
    return place


@registry.implements("Array.argmax")
def argmax(array: Array) -> list[int] | None:
    """Where the greatest number is first; nothing for an empty array."""
    if not array.values.size:
        return None
    return [int(each) for each in np.unravel_index(int(np.argmax(array.values)), array.shape)]


@registry.implements("Array.cut")
def cut(array: Array, position: list[Any]) -> Array:
    """One place along each axis, or with -1 all of them."""
    place = _place("Array.cut", array, position, whole_axis=-1)
    return Array(array.values[tuple(slice(None) if at < 0 else slice(at, at + 1) for at in place)])


@registry.implements("Array.slice")
def slice_array(array: Array, axis: int = 0, start: int = 0, end: int | None = None, step: int = 1) -> Array:
    """A part along an axis."""
    if step < 1:
        raise invalid(f"Array.slice: Step must be positive, got {step}.")
    along = [slice(None)] * array.dimensions
    along[axis_of("Array.slice", axis, array.dimensions)] = slice(start, end, step)
    return Array(array.values[tuple(along)])


def joined(function: str, arrays: Sequence[Array], axis: int) -> Array:
    """Arrays one after the other; along an axis that they do not have, they get one of length 1."""
    if not arrays:
        raise invalid(f"{function}: there must be at least one array.")
    dimensions = arrays[0].dimensions
    if any(each.dimensions != dimensions for each in arrays) or not 0 <= axis <= dimensions:
        raise invalid(
            f"{function}: Arrays must have the same dimensions, and axis {axis} must be one of them or the next."
        )
    parts = alike(*(each.values for each in arrays))
    if axis == dimensions:
        parts = [each[..., np.newaxis] for each in parts]
    try:
        return Array(np.concatenate(parts, axis=axis))
    except ValueError:
        raise invalid(f"{function}: Arrays must have the same lengths on all axes but {axis}.") from None


@registry.implements("Array.cat")
def cat(arrays: list[Any], axis: int = 0) -> Array:
    """Arrays one after the other."""
    return joined("Array.cat", [array_of(each) for each in arrays], axis)


@registry.implements("Array.repeat")
def repeat(array: Array, axis: int = 0, copies: int = 2) -> Array:
    """An array after itself, again and again."""
    if copies < 1:
        raise invalid(f"Array.repeat: {copies} copies are not emulated.")
    if copies * max(array.values.size, 1) > 10_000_000:
        raise invalid(f"Array.repeat: {copies} copies are too many.")
    return joined("Array.repeat", [array] * copies, axis)


@registry.implements("Array.pad")
def pad(array: Array, lengths: list[Any], pad: float = 0) -> Array:
    """Made longer along each axis where it is shorter than that."""
    wanted = list(map(as_whole, lengths))
    if len(wanted) != array.dimensions:
        raise invalid(f"Array.pad: {len(wanted)} lengths for an array of {array.dimensions} dimensions.")
    filler = np.asarray(pad, dtype=np.int64 if isinstance(pad, int) else np.float64)
    values, filler = alike(array.values, filler)
    longer = [(0, max(length - own, 0)) for length, own in zip(wanted, array.shape, strict=True)]
    return Array(np.pad(values, longer, constant_values=filler.item()))


@registry.implements("Array.reshape")
def reshape(array: Array, shape: Array) -> Array:
    """The same numbers along other axes; one length may be left open with -1."""
    wanted = list(map(as_whole, shape.values.ravel().tolist()))
    if shape.dimensions != 1 or wanted.count(-1) > 1 or any(each < -1 for each in wanted):
        raise invalid(f"Array.reshape: {wanted} is not a shape.")
    try:
        return Array(array.values.reshape(wanted))
    except ValueError:
        raise invalid(f"Array.reshape: {array.values.size} elements do not fit the shape {wanted}.") from None


@registry.implements("Array.project")
def project(array: Array, axes: list[Any]) -> Array:
    """Only some axes; the others must not be longer than 1."""
    kept = [axis_of("Array.project", as_whole(each), array.dimensions) for each in axes]
    dropped = [axis for axis in range(array.dimensions) if axis not in kept]
    if len(set(kept)) != len(kept):
        raise invalid("Array.project: an axis must not be named twice.")
    if any(array.shape[axis] != 1 for axis in dropped):
        raise invalid(f"Array.project: Dropped axes must have length 1, got {[array.shape[axis] for axis in dropped]}.")
    return Array(np.transpose(array.values, (*kept, *dropped)).reshape([array.shape[axis] for axis in kept]))


@registry.implements("Array.transpose", "Array.matrixTranspose")
def transpose(array: Array, axis1: int = 0, axis2: int = 1) -> Array:
    """Two axes exchanged."""
    one, two = (axis_of("Array.transpose", axis, array.dimensions) for axis in (axis1, axis2))
    return Array(np.ascontiguousarray(np.swapaxes(array.values, one, two)))


@registry.implements("Array.mask")
def mask(input: Array, mask: Array) -> Array:
    """The places along an axis where another array, long on that axis only, is not zero."""
    axis = _only_axis("Array.mask", mask, input)
    return Array(np.compress(mask.values.ravel() != 0, input.values, axis=axis))


def _only_axis(function: str, keys: Array, array: Array) -> int:
    if keys.dimensions != array.dimensions or not keys.dimensions:
        raise invalid(f"{function}: both arrays must have the same dimensions: {keys.dimensions}, {array.dimensions}.")
    long = [axis for axis, length in enumerate(keys.shape) if length != 1]
    axis = long[0] if long else next((axis for axis, length in enumerate(array.shape) if length == 1), 0)
    if len(long) > 1 or keys.shape[axis] != array.shape[axis]:
        raise invalid(f"{function}: the lengths {list(keys.shape)} do not fit an array of {list(array.shape)}.")
    return axis


@registry.implements("Array.sort")
def sort(array: Array, keys: Array | None = None) -> Array:
    """In order along the axis on which the keys, or the array itself, are long."""
    by = keys or array
    axis = _only_axis("Array.sort", by, array)
    return Array(np.take(array.values, np.argsort(by.values.ravel(), kind="stable"), axis=axis))
