"""Arrays: made, cut, joined, sorted and looked into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions import pixel_types  # noqa: F401 -- declares how values become pixel types
from airflow_ee.emulator.functions.array_shapes import (
    axis_of,
    check_axes,
    check_join,
    check_step,
    joined,
    lone,
    ordered,
    padded,
    place_of,
    projected,
    repeated,
    reshaped,
    selected,
    sliced,
    transposed,
)
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
    return number(array.values[place_of("Array.get", list(map(as_whole, position)), array.shape)])


@registry.implements("Array.argmax")
def argmax(array: Array) -> list[int] | None:
    """Where the greatest number is first; nothing for an empty array."""
    if not array.values.size:
        return None
    return [int(each) for each in np.unravel_index(int(np.argmax(array.values)), array.shape)]


@registry.implements("Array.cut")
def cut(array: Array, position: list[Any]) -> Array:
    """One place along each axis, or with -1 all of them."""
    place = place_of("Array.cut", list(map(as_whole, position)), array.shape, whole_axis=-1)
    return Array(array.values[tuple(slice(None) if at < 0 else slice(at, at + 1) for at in place)])


@registry.implements("Array.slice")
def slice_array(array: Array, axis: int = 0, start: int = 0, end: int | None = None, step: int = 1) -> Array:
    """A part along an axis."""
    check_step("Array.slice", step)
    along = axis_of("Array.slice", axis, array.dimensions)
    return lone(lambda batch: sliced(along, step, batch, start, end), array.values)


@registry.implements("Array.cat")
def cat(arrays: list[Any], axis: int = 0) -> Array:
    """Arrays one after the other."""
    return arrays_joined("Array.cat", [array_of(each) for each in arrays], axis)


def arrays_joined(function: str, arrays: Sequence[Array], axis: int) -> Array:
    """Arrays one after the other; along an axis that they do not have, they get one of length 1."""
    if not arrays:
        raise invalid(f"{function}: there must be at least one array.")
    check_join(function, [each.dimensions for each in arrays], axis)
    return lone(lambda *batches: joined(function, axis, batches), *alike(*(each.values for each in arrays)))


@registry.implements("Array.repeat")
def repeat(array: Array, axis: int = 0, copies: int = 2) -> Array:
    """An array after itself, again and again."""
    check_join("Array.repeat", [array.dimensions], axis)
    return lone(lambda batch: repeated("Array.repeat", axis, batch, copies), array.values)


@registry.implements("Array.pad")
def pad(array: Array, lengths: list[Any], pad: float = 0) -> Array:
    """Made longer along each axis where it is shorter than that."""
    filler = np.asarray(pad, dtype=np.int64 if isinstance(pad, int) else np.float64)
    values, filler = alike(array.values, filler)
    return lone(lambda batch: padded("Array.pad", list(map(as_whole, lengths)), filler.item(), batch), values)


@registry.implements("Array.reshape")
def reshape(array: Array, shape: Array) -> Array:
    """The same numbers along other axes; one length may be left open with -1."""
    wanted = list(map(as_whole, shape.values.ravel().tolist()))
    if shape.dimensions != 1:
        raise invalid(f"Array.reshape: {wanted} is not a shape.")
    return lone(lambda batch: reshaped("Array.reshape", wanted, batch), array.values)


@registry.implements("Array.project")
def project(array: Array, axes: list[Any]) -> Array:
    """Only some axes; the others must not be longer than 1."""
    kept = check_axes("Array.project", list(map(as_whole, axes)), array.dimensions)
    return lone(lambda batch: projected("Array.project", kept, batch), array.values)


@registry.implements("Array.transpose", "Array.matrixTranspose")
def transpose(array: Array, axis1: int = 0, axis2: int = 1) -> Array:
    """Two axes exchanged."""
    one, two = (axis_of("Array.transpose", axis, array.dimensions) for axis in (axis1, axis2))
    return lone(lambda batch: transposed(one, two, batch), array.values)


@registry.implements("Array.mask")
def mask(input: Array, mask: Array) -> Array:
    """The places along an axis where another array, long on that axis only, is not zero."""
    return lone(lambda batch, keep: selected("Array.mask", batch, keep), input.values, mask.values)


@registry.implements("Array.sort")
def sort(array: Array, keys: Array | None = None) -> Array:
    """In order along the axis on which the keys, or the array itself, are long."""
    given = [array.values] if keys is None else [array.values, keys.values]
    return lone(lambda *batches: ordered("Array.sort", *batches), *given)
