"""Pixels as the bytes of Zarr chunks: one copy, the mask, Blosc.

zarr-python is not used here: what it does for each chunk costs more than the codec, and its threads make the bytes vary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.errors import MalformedResponse
from airflow_ee.core.sinks.layout import MASK_SUFFIX, BandLayout, MaskMode, RasterLayout
from airflow_ee.core.sinks.nodata import band_nodata

try:
    from numcodecs import blosc  # type: ignore[attr-defined]
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "Zarr stores need the packages zarr and numcodecs: pip install 'airflow-ee[zarr]'"
    ) from None

__all__ = [
    "BLOSC",
    "DTYPES",
    "MAX_CHUNK_BYTES",
    "ChunkEncoder",
    "EncodedChunk",
    "mask_dtype",
    "mask_name",
    "stored_fill",
    "variable_names",
]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
BLOSC: dict[str, Any] = {"cname": "zstd", "clevel": 3}
"""Codec and level; bytes are shuffled. Stores of other settings cannot be added to."""
MAX_CHUNK_BYTES: int = blosc.MAX_BUFFERSIZE
# As zarr-python sets it: Blosc's own threads make the bytes vary, and must not meet ours.
blosc.use_threads = False
_CODEC = blosc.Blosc(shuffle=blosc.SHUFFLE, **BLOSC)
_Arrays = dict[str, npt.NDArray[Any]]
_spare: list[_Arrays] = []
"""Memory that no thread uses at present: a fresh array for each chunk would cost page faults, and one for each thread memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedChunk:
    """One chunk of one variable."""

    variable: str
    content: bytes
    valid: int | None = None
    """Pixels that are not masked; None: it is itself of a mask."""
    masked: bool = False
    """Whether any of its pixels is."""
    clashing: bool = False
    """Whether a valid pixel has the value that marks masked ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkEncoder:
    """Makes the chunks of all variables over one square of a raster's grid."""

    layout: RasterLayout
    shape: tuple[int, int]
    """Rows and columns of a chunk."""

    def encode(self, block: PixelBlock, rows: slice, cols: slice) -> Iterator[EncodedChunk]:
        """The chunks of a square of ``block``, in the order of :func:`variable_names`.

        Parameters
        ----------
        rows, cols
            Of the block; fewer than :attr:`shape` at the grid's end, where chunks are filled up.
        """
        looked_at, absent, valid = None, None, 0
        with _borrowed() as arrays:
            for band, values, mask in zip(self.layout.bands, block.values, block.masks, strict=True):
                if mask is not looked_at:
                    looked_at, valid = mask, int(np.count_nonzero(mask[rows, cols]))
                    absent = self._absent(mask[rows, cols], valid, arrays)
                yield replace(self._encode_band(band, values[rows, cols], absent, arrays), valid=valid)
                if self.layout.mask in {"band", "fraction"}:
                    yield self._encode_mask(band, mask[rows, cols], arrays)

    def check(self, block: PixelBlock, where: object) -> None:
        """Refuse pixels of other bands or types than the layout's.

        Raises
        ------
        MalformedResponse
            Naming ``where``.
        """
        found = [(name, values.dtype.newbyteorder("=")) for name, values in zip(block.bands, block.values, strict=True)]
        wanted = [(band.name, band.dtype.newbyteorder("=")) for band in self.layout.bands]
        if found != wanted:
            raise MalformedResponse(f"{where} has bands {_told(found)}, the store {_told(wanted)}.")

    def _absent(self, mask: npt.NDArray[Any], valid: int, arrays: _Arrays) -> npt.NDArray[np.bool_] | None:
        """Where pixels are masked; None where none is, or where masks are of no concern."""
        if self.layout.mask == "none" or valid == mask.size:
            return None
        absent = self._array(arrays, np.dtype(bool), "absent")[: mask.shape[0], : mask.shape[1]]
        np.equal(mask, 0, out=absent)
        return absent

    def _encode_band(
        self, band: BandLayout, values: npt.NDArray[Any], absent: npt.NDArray[np.bool_] | None, arrays: _Arrays
    ) -> EncodedChunk:
        fill = stored_fill(self.layout, band)
        chunk, part = self._padded(band.dtype, values, fill, arrays)
        clashing = self.layout.mask == "nodata" and _clashes(part, fill, absent)
        if absent is not None:
            np.copyto(part, fill, where=absent)
        return EncodedChunk(
            variable=band.name, content=_CODEC.encode(chunk), masked=absent is not None, clashing=clashing
        )

    def _encode_mask(self, band: BandLayout, mask: npt.NDArray[Any], arrays: _Arrays) -> EncodedChunk:
        dtype = mask_dtype(self.layout.mask)
        kept = mask if self.layout.mask == "fraction" else np.not_equal(mask, 0)
        chunk, _ = self._padded(np.dtype(dtype), kept, 0, arrays)
        return EncodedChunk(variable=mask_name(band.name), content=_CODEC.encode(chunk))

    def _padded(
        self, dtype: np.dtype[Any], values: npt.NDArray[Any], fill: float, arrays: _Arrays
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """A whole chunk with ``values`` in it, and its part that they are in; good until the next call."""
        chunk = self._array(arrays, dtype.newbyteorder("<"), "chunk")
        part = chunk[: values.shape[0], : values.shape[1]]
        if part.shape != chunk.shape:
            chunk[...] = fill
        np.copyto(part, values, casting="unsafe")
        return chunk, part

    def _array(self, arrays: _Arrays, dtype: np.dtype[Any], use: str) -> npt.NDArray[Any]:
        key = f"{use} {dtype.str} {self.shape}"
        if key not in arrays:
            arrays[key] = np.empty(self.shape, dtype)
        return arrays[key]


@contextmanager
def _borrowed() -> Iterator[_Arrays]:
    try:
        arrays = _spare.pop()
    except IndexError:
        arrays = {}
    try:
        yield arrays
    finally:
        _spare.append(arrays)


def variable_names(layout: RasterLayout) -> tuple[str, ...]:
    """Bands and, where masks are stored, their masks: variables of (time,) y, x."""
    if mask_dtype(layout.mask) is None:
        return layout.names
    return tuple(name for band in layout.names for name in (band, mask_name(band)))


def mask_name(band: str) -> str:
    """Name of the variable with a band's mask.

    >>> mask_name("NDVI")
    'NDVI_mask'
    """
    return band + MASK_SUFFIX


def mask_dtype(mask: MaskMode) -> str | None:
    """Type of the variables with masks; None where there are none."""
    return {"band": "uint8", "fraction": "float32"}.get(mask)


def stored_fill(layout: RasterLayout, band: BandLayout) -> float | int:
    """What masked pixels of a band hold, and what chunks are filled up with.

    Raises
    ------
    ValueError
        When the layout's nodata does not fit the band's type.

    Examples
    --------
    >>> from airflow_ee.core.grid import PixelGrid
    >>> grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 0), width=1, height=1)
    >>> band = BandLayout(name="NDVI", dtype=np.dtype("int16"))
    >>> stored_fill(RasterLayout(grid=grid, bands=(band,)), band)
    -32768
    """
    return band_nodata(layout, band) if layout.mask == "nodata" else 0


def _clashes(part: npt.NDArray[Any], fill: float, absent: npt.NDArray[np.bool_] | None) -> bool:
    """Whether a valid pixel holds the value that marks masked ones; NaN among floats says the same of both."""
    if math.isnan(fill):
        return False
    same = part == fill
    if not same.any():
        return False
    return absent is None or bool((same & ~absent).any())


def _told(bands: list[tuple[str, np.dtype[Any]]]) -> str:
    return ", ".join(f"{name} ({dtype.name})" for name, dtype in bands)
