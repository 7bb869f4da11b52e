"""The cube of a series: a Zarr store that grows by a date for each image or group, in any order and from many runs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.grouping import ImageGroup
from airflow_ee.core.mosaic import Layer
from airflow_ee.core.observations import SeriesBand
from airflow_ee.core.plan import Tile
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout
from airflow_ee.core.sinks.zarr import ZarrSink

__all__ = ["SeriesCube"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesCube:
    """Where a series' layers go as dates: variables of float32, NaN where a pixel is not good.

    Bands keep their digital numbers, with scale and offset as attributes that xarray applies. Whole numbers become float32, which
    holds those of up to 24 bits exactly: so a masked pixel is NaN for every sensor, and no value of one is taken for it.
    """

    place: Location
    grid: PixelGrid
    bands: tuple[SeriesBand, ...]

    @property
    def dates(self) -> frozenset[datetime]:
        """Dates that the cube has.

        Raises
        ------
        ValueError
            When another kind of store is there: another grid, or other bands.
        """
        return frozenset(self._sink(datetime(2000, 1, 1, tzinfo=UTC), {}).cube.times)

    def add(self, group: ImageGroup, layers: Mapping[str, Layer], tags: Mapping[str, str]) -> int:
        """Add the date of a group, or replace it; tells bytes that were written."""
        values = tuple(layers[band.name].values.astype(np.float32) for band in self.bands)
        masks = tuple(layers[band.name].valid for band in self.bands)
        sink = self._sink(group.cube_time, tags)
        sink.prepare()
        tile = Tile(0, 0, self.grid)
        record = sink.write(tile, PixelBlock(tuple(band.name for band in self.bands), values, masks))
        sink.commit([record])
        return record.bytes

    def check(self, groups: Sequence[ImageGroup]) -> None:
        """Refuse groups that would share a date, before a pixel is asked for.

        Raises
        ------
        ValueError
            When two begin in the same second.
        """
        seen: dict[datetime, ImageGroup] = {}
        for group in groups:
            other = seen.setdefault(group.cube_time, group)
            if other is not group:
                raise ValueError(
                    f"cube_uri: {other.key} and {group.key} begin in the same second, and a cube has one raster for a moment; use "
                    "group_by='day' or 'interval'"
                )

    def _sink(self, time: datetime, tags: Mapping[str, str]) -> ZarrSink:
        layout = RasterLayout(
            grid=self.grid,
            bands=tuple(
                BandLayout(
                    name=band.name,
                    dtype=np.dtype("float32"),
                    scale=band.numbers.scale,
                    offset=band.numbers.offset,
                    unit=band.numbers.unit,
                )
                for band in self.bands
            ),
            tags=tags,
        )
        return ZarrSink(location=self.place, layout=layout, time=time, grows=True)
