"""What a raster sink is told before the first tile, and what it tells of every tile that it has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import Tile

__all__ = [
    "COG_MEDIA_TYPE",
    "MASK_MODES",
    "MASK_SUFFIX",
    "BandLayout",
    "MaskMode",
    "Output",
    "RasterLayout",
    "RasterSink",
    "TileRecord",
]

MaskMode = Literal["nodata", "band", "fraction", "none"]
MASK_SUFFIX = "_mask"
"""Ending of the name of what holds a band's mask, in formats that keep masks beside the bands."""
COG_MEDIA_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
MASK_MODES: tuple[MaskMode, ...] = ("nodata", "band", "fraction", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class BandLayout:
    """One band of a raster, as files describe it."""

    name: str
    dtype: np.dtype[Any]
    """Of the stored digital numbers."""
    scale: float = 1.0
    """Physical value = scale * digital number + offset."""
    offset: float = 0.0
    unit: str = ""
    """UCUM-like; empty: not known."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a band needs a name")
        if not (math.isfinite(self.scale) and self.scale != 0 and math.isfinite(self.offset)):
            raise ValueError(
                f"band {self.name}: scale must be a number but 0 and offset a number, got {self.scale}, {self.offset}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterLayout:
    """A raster before it has pixels: grid, bands, how masked pixels are told, where it came from."""

    grid: PixelGrid
    bands: tuple[BandLayout, ...]
    mask: MaskMode = "nodata"
    """``nodata``: masked pixels hold a value of their own; ``band``: a 0/1 mask tells them, and they hold 0; ``fraction``: so
    does a float32 mask of 0 to 1; ``none``: they are as the service wrote them."""
    nodata: float | None = None
    """None: NaN for floats, the lowest of a signed type, the highest of an unsigned one."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Provenance; no clock times, because equal requests make equal bytes."""

    def __post_init__(self) -> None:
        if not self.bands:
            raise ValueError("a raster needs at least one band")
        names = [band.name for band in self.bands]
        if len(set(names)) != len(names):
            raise ValueError(f"bands: each band at most once, got {names}")
        if self.mask not in MASK_MODES:
            raise ValueError(f"mask must be one of {', '.join(MASK_MODES)}, got {self.mask!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRecord:
    """One tile that a sink has: a row of the manifest."""

    row: int
    col: int
    rows: int
    cols: int
    digest: str
    """SHA-256, in hex, of what was stored."""
    bytes: int
    """Size of what was stored."""
    attempts: int = 1
    """Requests that it took; no part of what outputs are made of."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """``valid``: number of valid pixels of each band; and what else the sink has to know of the tile at the end, as JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file, or folder of files, that a sink left."""

    url: str
    bytes: int
    media_type: str = "application/octet-stream"


class RasterSink(Protocol):
    """Where the tiles of one raster go. A value: an equal one in another process writes to the same place.

    Tiles are written by many threads or processes in any order, and a tile that is written twice leaves the same bytes. Nothing is
    seen under the final name before :meth:`commit`.
    """

    @property
    def block(self) -> int:
        """Tiles begin at multiples of this many rows and columns, so that no two of them share a chunk."""
        ...

    @property
    def whole_blocks(self) -> bool:
        """Whether tiles may be no smaller than a block, even where that is more than is best for a request."""
        ...

    def prepare(self) -> None:
        """Make what tiles are written into; harmless where it is there."""
        ...

    def write(self, tile: Tile, block: PixelBlock) -> TileRecord:
        """Store a tile; ``block`` may not be kept after the call, because its memory is used again."""
        ...

    def holds(self, record: TileRecord) -> bool:
        """Whether what was recorded of a tile is there, whole."""
        ...

    def stands(self, outputs: Sequence[Output]) -> bool:
        """Whether what an earlier commit left is still there."""
        ...

    def commit(self, records: Sequence[TileRecord]) -> tuple[Output, ...]:
        """Make the raster visible in one step, from the records of all of its tiles; may be done again after a kill."""
        ...

    def discard(self) -> None:
        """Remove what is only needed on the way: after the commit, or to begin afresh."""
        ...
