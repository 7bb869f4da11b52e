"""Answers of pixel requests as numpy arrays, without pickle and without trust.

Earth Engine's NPY is one structured array of shape ``(height, width)`` with a field for each band. The header is read
here rather than by ``numpy.load``: a server must not be able to hand us objects, another shape or other bands.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_ee.core.errors import MalformedResponse

__all__ = ["PixelBlock", "decode_npy", "split_masks"]

_MAGIC = b"\x93NUMPY"
_NUMBER = re.compile(r"[<>|]?(?:[iu][1248]|f[48])")


@dataclass(frozen=True, slots=True)
class PixelBlock:
    """Bands over a rectangle of pixels, and where they are valid."""

    bands: tuple[str, ...]
    values: tuple[npt.NDArray[Any], ...]
    """One array of shape (rows, columns) a band, in the band's own dtype; meaningless where not valid."""
    valid: tuple[npt.NDArray[np.bool_], ...]
    """One array of shape (rows, columns) a band."""

    def band(self, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Values and validity of one band."""
        index = self.bands.index(name)
        return self.values[index], self.valid[index]


def decode_npy(
    body: bytes | memoryview, *, shape: tuple[int, int], bands: Sequence[str] | None = None
) -> npt.NDArray[Any]:
    """View the body of an NPY answer as a structured array; nothing is copied.

    Parameters
    ----------
    shape
        ``(height, width)`` that was asked for.
    bands
        Names that were asked for, in order; None: whatever comes.

    Raises
    ------
    MalformedResponse
        When the body is no NPY of numbers, or not of this shape and these bands.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> np.save(file, np.zeros((2, 3), [("NDVI", "<i2")]))
    >>> decode_npy(file.getvalue(), shape=(2, 3), bands=["NDVI"]).dtype.names
    ('NDVI',)
    """
    view = memoryview(body)
    header, start = _read_header(view)
    dtype = _checked_dtype(header["descr"])
    found = tuple(header["shape"])
    if found != shape:
        raise MalformedResponse(
            f"Asked for {shape[0]} rows and {shape[1]} columns of pixels, got an array of shape {found}."
        )
    if header["fortran_order"]:
        raise MalformedResponse("Got an NPY array in Fortran order.")
    if bands is not None and dtype.names != tuple(bands):
        raise MalformedResponse(f"Asked for bands {list(bands)}, got {list(dtype.names or ())}.")
    count = shape[0] * shape[1]
    if len(view) - start != count * dtype.itemsize:
        raise MalformedResponse(f"Expected {count * dtype.itemsize} bytes of pixels, got {len(view) - start}.")
    return np.frombuffer(view, dtype, count, start).reshape(shape)


def split_masks(array: npt.NDArray[Any], bands: Sequence[str], suffix: str) -> PixelBlock:
    """Separate the bands of an answer from the mask bands that were asked for with them."""
    valid = tuple(array[band + suffix] != 0 for band in bands)
    return PixelBlock(tuple(bands), tuple(array[band] for band in bands), valid)


def _read_header(view: memoryview) -> tuple[dict[str, Any], int]:
    prefix = bytes(view[:12])
    if prefix[:6] != _MAGIC or len(prefix) < 12:
        raise MalformedResponse(f"Expected NPY, got a body that begins with {prefix!r}.")
    size_bytes = 2 if prefix[6] == 1 else 4
    start = 8 + size_bytes + int.from_bytes(prefix[8 : 8 + size_bytes], "little")
    try:
        header = ast.literal_eval(bytes(view[8 + size_bytes : start]).decode("utf-8").strip())
        complete = set(header) == {"descr", "fortran_order", "shape"} and isinstance(header["shape"], tuple)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as problem:
        raise MalformedResponse(f"Got an NPY header that cannot be read: {problem}.") from None
    if not complete:
        raise MalformedResponse(f"Got an NPY header without descr, fortran_order and shape: {str(header)[:200]}.")
    return header, start


def _checked_dtype(description: Any) -> np.dtype[Any]:
    """The type that a header describes; each field is looked at before numpy interprets anything."""
    fields = description if isinstance(description, list) else []
    plain = all(
        isinstance(field, tuple)
        and len(field) == 2
        and all(isinstance(part, str) for part in field)
        and _NUMBER.fullmatch(field[1])
        for field in fields
    )
    if not fields or not plain:
        raise MalformedResponse(f"Expected one number a band and pixel, got {str(description)[:200]}.")
    try:
        return np.dtype(fields)
    except ValueError as problem:
        raise MalformedResponse(f"Got an NPY array of a type that cannot be: {problem}.") from None
