"""Answers of pixel requests as numpy arrays, without pickle and without trust.

Earth Engine's NPY is one structured array of shape ``(height, width)`` with a field for each band. The header is read
here rather than by ``numpy.load``: a server must not be able to hand us objects, another shape or other bands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from airflow_ee.core.errors import MalformedResponse, OtherTypes
from airflow_ee.core.npy_header import NpyHeader, parse_header

__all__ = ["AnswerForm", "MaskKind", "PixelBlock", "decode_npy"]

MaskKind = Literal["none", "each", "shared", "fraction"]
"""Mask bands that are asked for with the pixels: none; a uint8 for each band; one uint8 for all; a float32 for each."""
VALID_SUFFIX = "__valid"
"""Ending of the name of a band that is asked for to tell where another is valid."""
LONGEST_HEADER_BYTES = 1 << 18
"""1,024 bands with long names need less."""
HEADER_BYTES, HEADER_BYTES_PER_BAND, HEADER_BYTES_PER_LETTER = 1024, 32, 10
"""More than the header of bands with known names has: a letter that is no ASCII is written as ``\\U`` and eight digits at most."""
_MAGIC = b"\x93NUMPY"
_NUMBER = re.compile(r"[<>|]?(?:[iu][1248]|f[48])")


@dataclass(frozen=True, slots=True)
class PixelBlock:
    """Bands over a rectangle of pixels, and where they are valid."""

    bands: tuple[str, ...]
    values: tuple[npt.NDArray[Any], ...]
    """One array of shape (rows, columns) a band, in the band's own dtype; meaningless where not valid."""
    masks: tuple[npt.NDArray[Any], ...]
    """One array of shape (rows, columns) a band: 0 is masked; uint8 or bool, or float32 where fractions were asked for. One and the
    same array may stand for several bands."""

    @property
    def valid(self) -> tuple[npt.NDArray[np.bool_], ...]:
        """Where each band is valid; one and the same array where the masks are one."""
        seen: dict[int, npt.NDArray[np.bool_]] = {}
        for mask in self.masks:
            if id(mask) not in seen:
                seen[id(mask)] = mask if mask.dtype == bool else mask != 0
        return tuple(seen[id(mask)] for mask in self.masks)

    def band(self, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Values and validity of one band."""
        index = self.bands.index(name)
        return self.values[index], self.valid[index]


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What the answers for one image have to look like.

    >>> AnswerForm(("NDVI",), (np.dtype("i2"),), "each").dtype
    dtype([('NDVI', '<i2'), ('NDVI__valid', 'u1')])
    """

    bands: tuple[str, ...]
    dtypes: tuple[np.dtype[Any], ...]
    masks: MaskKind = "each"

    @property
    def mask_bands(self) -> tuple[str, ...]:
        """Names of the mask bands that come after the bands."""
        masked = {"none": (), "shared": self.bands[:1]}.get(self.masks, self.bands)
        return tuple(name + VALID_SUFFIX for name in masked)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one pixel."""
        mask = "f4" if self.masks == "fraction" else "u1"
        bands = list(zip(self.bands, self.dtypes, strict=True))
        return np.dtype([*bands, *((name, np.dtype(mask)) for name in self.mask_bands)])

    @property
    def bytes_per_pixel(self) -> int:
        """As the service counts: value bytes and one mask byte a band, mask bands included."""
        dtype = self.dtype
        return dtype.itemsize + len(dtype.names or ())

    def body_bytes(self, pixels: int, *, widest: bool = False) -> int:
        """Longest body of an answer with so many pixels; ``widest``: if every band were of eight bytes, whatever was announced."""
        names = self.dtype.names or ()
        return _header_bytes(names) + pixels * (8 * len(names) if widest else self.dtype.itemsize)

    def read(self, body: memoryview, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """View a body as a structured array of ``shape`` (rows, columns); nothing is copied.

        Raises
        ------
        MalformedResponse
            When it is not what was asked for; :class:`OtherTypes` when only the types differ.
        """
        expected = self.dtype
        array = decode_npy(body, shape=shape, bands=expected.names)
        found = array.dtype.newbyteorder("=")
        if found != expected:
            types = _types(found)
            raise OtherTypes(
                f"Asked for pixels of {', '.join(_types(expected))}, got {', '.join(types)}.",
                ({"types": types[: len(self.bands)]},),
            )
        return array

    def block(self, array: npt.NDArray[Any]) -> PixelBlock:
        """The bands and masks of an answer, as views."""
        values = tuple(array[name] for name in self.bands)
        if self.masks == "none":
            masks = (np.broadcast_to(np.ones((), np.uint8), array.shape),) * len(values)
        elif self.masks == "shared":
            masks = (array[self.mask_bands[0]],) * len(values)
        else:
            masks = tuple(array[name] for name in self.mask_bands)
        return PixelBlock(self.bands, values, masks)


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
    longest = LONGEST_HEADER_BYTES if bands is None else _header_bytes(bands)
    header, start = _read_header(view, longest)
    dtype = _checked_dtype(header.fields)
    if header.shape != shape:
        raise MalformedResponse(
            f"Asked for {shape[0]} rows and {shape[1]} columns of pixels, got an array of shape {header.shape[:4]}."
        )
    if header.fortran_order:
        raise MalformedResponse("Got an NPY array in Fortran order.")
    if bands is not None and dtype.names != tuple(bands):
        raise MalformedResponse(f"Asked for bands {list(bands)}, got {list(dtype.names or ())}.")
    count = shape[0] * shape[1]
    if len(view) - start != count * dtype.itemsize:
        raise MalformedResponse(f"Expected {count * dtype.itemsize} bytes of pixels, got {len(view) - start}.")
    return np.frombuffer(view, dtype, count, start).reshape(shape)


def _header_bytes(bands: Sequence[str]) -> int:
    return HEADER_BYTES + sum(HEADER_BYTES_PER_BAND + HEADER_BYTES_PER_LETTER * len(name) for name in bands)


def _read_header(view: memoryview, longest: int) -> tuple[NpyHeader, int]:
    prefix = bytes(view[:12])
    if prefix[:6] != _MAGIC or len(prefix) < 12:
        raise MalformedResponse(f"Expected NPY, got a body that begins with {prefix!r}.")
    size_bytes = 2 if prefix[6] == 1 else 4
    start = 8 + size_bytes + int.from_bytes(prefix[8 : 8 + size_bytes], "little")
    if start > min(len(view), longest):
        raise MalformedResponse(f"Got an NPY header of {start} bytes in a body of {len(view)}.")
    try:
        return parse_header(bytes(view[8 + size_bytes : start]).decode("utf-8")), start
    except ValueError as problem:
        raise MalformedResponse(f"Got an NPY header that cannot be read: {problem}.") from None


def _checked_dtype(fields: Sequence[tuple[str, str]]) -> np.dtype[Any]:
    """The type that a header describes; each field is looked at before numpy interprets anything."""
    for name, kind in fields:
        if not name or not _NUMBER.fullmatch(kind):
            raise MalformedResponse(f"Expected one number a band and pixel, got {kind[:60]!r} for {name[:60]!r}.")
    if not fields:
        raise MalformedResponse("Expected one number a band and pixel, got none.")
    try:
        return np.dtype(list(fields))
    except ValueError as problem:
        raise MalformedResponse(f"Got an NPY array of a type that cannot be: {str(problem)[:200]}.") from None


def _types(dtype: np.dtype[Any]) -> list[str]:
    return [dtype[name].name for name in dtype.names or ()]
