"""Images whose pixels stay in Cloud Optimized GeoTIFFs of a bucket: the asset knows where they are, and reads them when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from airflow_ee.emulator.catalog.assets import AssetBand
from airflow_ee.emulator.catalog.files import FileBand
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Node, Raster
from airflow_ee.emulator.pixels.types import type_of_dtype

OBJECT = "object"
"""The field of a band's record that tells an external band."""

_SMALL_SIDE = 512
"""Up to this side a file needs neither tiles nor overviews."""

_FIRST_DIRECTORY = (8, 16)
"""Where the first directory of a plain and of a large TIFF lies, if nothing is in front of it."""


@dataclass(frozen=True, slots=True)
class ExternalBand:
    """A band of a file in a bucket."""

    bucket: str
    key: str
    index: int
    """From 1 on."""
    name: str
    dtype: str
    grid: Grid
    policy: str

    @property
    def uri(self) -> str:
        """The file."""
        return f"gs://{self.bucket}/{self.key}"

    def to_record(self) -> dict[str, Any]:
        """As an asset's record keeps it."""
        grid = self.grid
        return {
            "id": self.name,
            "pyramidingPolicy": self.policy,
            OBJECT: [self.bucket, self.key, self.index],
            "dtype": self.dtype,
            "grid": [grid.projection.crs.text, list(grid.projection.transform), grid.width, grid.height],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ExternalBand:
        """The inverse of :meth:`to_record`."""
        crs, transform, width, height = record["grid"]
        grid = Grid(Projection(Crs(crs), tuple(transform)), row=0, col=0, height=height, width=width)
        bucket, key, index = record[OBJECT]
        return cls(bucket, key, index, record["id"], record["dtype"], grid, record["pyramidingPolicy"])

    def asset_band(self, objects: Path | None) -> AssetBand:
        """The band of an image, whose pixels are read from the folder that has the buckets."""
        type_ = type_of_dtype(self.dtype)
        return AssetBand(self.name, type_, self.grid, _ExternalNode(self, objects), self.policy)


class _ExternalNode(Node):
    """Reads a file that may be gone, or be another one by now."""

    def __init__(self, band: ExternalBand, objects: Path | None) -> None:
        self._band = band
        self._path = None if objects is None else objects / band.bucket / band.key

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """The file's own pixels."""
        band, path = self._band, self._path
        if path is None or not path.is_file():
            raise invalid(f"Unable to open {band.uri}: there is no such object, or it cannot be read.")
        try:
            with rasterio.open(path, driver="GTiff") as dataset:
                unchanged = (dataset.width, dataset.height) == (band.grid.width, band.grid.height)
                if not unchanged or dataset.count < band.index or dataset.dtypes[band.index - 1] != band.dtype:
                    raise invalid(f"Unable to read {band.uri}: it is not the file that was registered.")
            node = FileBand(path, band.index, band.name, type_of_dtype(band.dtype), band.grid).node()
            return node.compute(grid, inputs)
        except RasterioError:
            raise invalid(f"Unable to read {band.uri}: it is not a GeoTIFF, or is damaged.") from None


def not_optimized(path: Path) -> str:
    """Why a GeoTIFF is not cloud optimized; nothing if it is.

    Its directories come first, that of the whole image before those of its overviews, and are followed by tiles, those of the overviews first.
    """
    with rasterio.open(path, driver="GTiff") as dataset:
        overviews = range(len(dataset.overviews(1)))
        if max(dataset.width, dataset.height) > _SMALL_SIDE and not dataset.profile.get("tiled"):
            return "it is not tiled"
        directories = [_number(dataset, "IFD_OFFSET"), *(_number(dataset, "IFD_OFFSET", each) for each in overviews)]
        if directories[0] not in _starts(path):
            return "its directory does not come first"
        if directories != sorted(directories):
            return "the directories of its overviews are not in order"
        tiles = [
            _number(dataset, "BLOCK_OFFSET_0_0"),
            *(_number(dataset, "BLOCK_OFFSET_0_0", each) for each in overviews),
        ]
        present = [offset for offset in tiles if offset]
        return "" if present == sorted(present, reverse=True) else "its overviews do not come before the whole image"


def _starts(path: Path) -> list[int]:
    """Where the first directory may be: at the start, or behind GDAL's own note of how the file is laid out."""
    mark = b"GDAL_STRUCTURAL_METADATA_SIZE="
    with path.open("rb") as file:
        head = file.read(256)
    starts = []
    for start in _FIRST_DIRECTORY:
        note = head[start:]
        size = int(note[len(mark) : len(mark) + 6]) + 43 if note.startswith(mark) else 0
        # Directories begin at even places.
        starts.append(start + size + (start + size) % 2)
    return starts


def _number(dataset: Any, tag: str, overview: int | None = None) -> int:
    text = dataset.get_tag_item(tag, "TIFF", bidx=1, ovr=overview)
    return int(text) if text else 0
