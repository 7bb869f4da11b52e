"""Arrays of Zarr version 2 as bands: the last two dimensions are rows and columns, steps along the others are slices.

What an array must have is documented by the signatures of ``Image.loadZarrV2Array``. The package zarr reads the chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np

from airflow_ee.emulator.catalog.assets import AssetBand
from airflow_ee.emulator.catalog.files import span
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.grid import Grid, Projection, Sites
from airflow_ee.emulator.pixels.raster import Node, Raster, pick
from airflow_ee.emulator.pixels.types import type_of_dtype

_CODECS = {"blosc", "gzip", "lz4", "zlib", "zstd"}
_BLOSC_CODECS = {"lz4", "lz4hc", "zlib", "zstd"}


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """An array of a bucket."""

    folder: Path
    uri: str
    grid: Grid
    steps: tuple[int, ...]
    """Lengths of the dimensions that are neither rows nor columns."""
    dtype: str
    fill: float | None

    @classmethod
    def opened(cls, folder: Path, projection: Projection, uri: str) -> Self:
        """An array whose description says what it must say."""
        described = _json(folder / ".zarray", uri)
        names = _json(folder / ".zattrs", uri).get("_ARRAY_DIMENSIONS")
        if not (folder.parent / ".zmetadata").is_file():
            raise invalid(f"Unable to open {uri}: there is no .zmetadata in the folder above the array's.")
        shape = described.get("shape", ())
        if described.get("zarr_format") != 2 or len(shape) < 2:
            raise invalid(f"Unable to open {uri}: it must be an array of Zarr version 2 with at least two dimensions.")
        if not isinstance(names, list) or len(names) != len(shape):
            raise invalid(f"Unable to open {uri}: _ARRAY_DIMENSIONS must name its {len(shape)} dimensions.")
        _check_codec(described.get("compressor"), uri)
        *steps, height, width = shape
        dtype = np.dtype(described["dtype"])
        if dtype.kind not in "iuf":
            raise invalid(f"Unable to open {uri}: its values are no numbers ({dtype}).")
        grid = Grid(projection, row=0, col=0, height=height, width=width)
        fill = described.get("fill_value")
        return cls(folder, uri, grid, tuple(steps), dtype.newbyteorder("=").name, None if fill is None else float(fill))

    def indices(
        self, starts: Sequence[int | None] | None, ends: Sequence[int | None] | None
    ) -> Iterator[tuple[int, ...]]:
        """Which slices lie between the bounds, in the array's order."""
        for name, bounds in (("starts", starts), ("ends", ends)):
            if bounds is not None and len(bounds) != len(self.steps):
                raise invalid(f"{name} must have {len(self.steps)} elements, got {len(bounds)}.")
        every = [None] * len(self.steps)
        chosen = zip(self.steps, starts or every, ends or every, strict=True)
        return product(*(range(*slice(start, end).indices(length)) for length, start, end in chosen))

    def band(self, index: tuple[int, ...], *, without: int | None = None) -> AssetBand:
        """One slice; named after the array and its place, less the axis along which there are images."""
        told = [str(step) for axis, step in enumerate(index) if axis != without]
        name = "_".join([self.folder.name, *told])
        return AssetBand(name, type_of_dtype(self.dtype), self.grid, _ZarrNode(self, index))


class _ZarrNode(Node):
    """Reads the chunks that a window needs."""

    def __init__(self, array: ZarrArray, index: tuple[int, ...]) -> None:
        self._array = array
        self._index = index

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """Pixels by the nearest centre; masked where they have the fill value, are no numbers, or lie outside."""
        own = self._array.grid
        sites = grid.sites_in(own.projection)
        rows, cols = span(sites.rows, own.height), span(sites.cols, own.width)
        if rows is None or cols is None:
            nothing = np.zeros((), type_of_dtype(self._array.dtype).dtype)
            return Raster(np.broadcast_to(nothing, grid.shape), np.broadcast_to(np.float32(0), grid.shape))
        values = self._read(slice(*rows), slice(*cols))
        valid = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        if self._array.fill is not None:
            valid &= values != self._array.fill
        raster = Raster(np.where(valid, values, values.dtype.type(0)), valid.astype(np.float32))
        return pick(raster, Sites(sites.rows - rows[0], sites.cols - cols[0]), values.shape)

    def _read(self, rows: slice, cols: slice) -> Any:
        try:
            import zarr
        except ImportError:
            raise invalid("Zarr arrays are read by the package zarr: pip install airflow-ee[zarr]") from None
        array: Any = zarr.open_array(str(self._array.folder), mode="r", zarr_format=2)
        return np.asarray(array[(*self._index, rows, cols)]).astype(self._array.dtype)


def _json(path: Path, uri: str) -> Mapping[str, Any]:
    try:
        shown = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise invalid(f"Unable to open {uri}: {path.name} is missing, or is no JSON.") from None
    if not isinstance(shown, dict):
        raise invalid(f"Unable to open {uri}: {path.name} is no JSON object.")
    return shown


def _check_codec(compressor: Mapping[str, Any] | None, uri: str) -> None:
    if compressor is None:
        return
    name = compressor.get("id")
    if name not in _CODECS or (name == "blosc" and compressor.get("cname") not in _BLOSC_CODECS):
        told = f"{name} {compressor.get('cname')}" if name == "blosc" else name
        raise invalid(f"Unable to open {uri}: the codec {told} is not supported.")
