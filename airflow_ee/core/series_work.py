"""A time series as the work of a job: units are its images, or groups of images, each of which leaves part files of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import numpy as np

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import IncompleteJob, OtherTypes
from airflow_ee.core.estimate import Estimate
from airflow_ee.core.grouping import ImageGroup
from airflow_ee.core.observations import series_bands
from airflow_ee.core.presets import find_preset
from airflow_ee.core.progress import Progress
from airflow_ee.core.quality import QualityRule
from airflow_ee.core.region import Region
from airflow_ee.core.region_file import NamedRegion
from airflow_ee.core.resources import Asset, Band
from airflow_ee.core.series import SeriesTable
from airflow_ee.core.series_results import GroupResult
from airflow_ee.core.series_rows import RowMaker
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.timeseries import TimeSeries
from airflow_ee.core.wire import grid_from_rest, grid_to_rest

__all__ = ["SeriesWork"]

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SeriesWork:
    """Rows, rasters and dates of a cube, made of groups of images."""

    series: TimeSeries
    groups: tuple[ImageGroup, ...]
    preset_name: str | None
    """By which :func:`~airflow_ee.core.presets.find_preset` finds the collection's numbers."""
    max_pixels: int | None = None
    max_concurrency: int | None = None
    """Requests at once of a worker; None: its share of the quota."""

    def to_json(self) -> Json:
        """As JSON values."""
        series = self.series
        return {
            "collection": series.collection,
            "preset": self.preset_name,
            "bands": [[band.name, band.formula is not None] for band in series.bands],
            "rule": None if series.rule is None else series.rule.text,
            "regions": [
                {"id": item.id, "region": None if item.region is None else item.region.to_geojson()}
                for item in series.regions
            ],
            "regions_key": series.regions_key,
            "grid": grid_to_rest(series.grid),
            "weights": series.weights,
            "group_by": series.group_by,
            "mosaic": series.mosaic,
            "day_hours": series.day_hours,
            "statistics": list(series.rows.statistics),
            "percentiles": list(series.rows.percentiles),
            "min_valid_fraction": series.rows.min_valid_fraction,
            "on_revised": series.on_revised,
            "table": None if series.table is None else [series.table.place.url, list(series.table.formats)],
            "rasters": None if series.rasters is None else series.rasters.url,
            "cube": None if series.cube is None else series.cube.place.url,
            "workload_tag": series.workload_tag,
            "groups": [_group_to_json(group) for group in self.groups],
            "max_pixels": self.max_pixels,
            "max_concurrency": self.max_concurrency,
        }

    @classmethod
    def from_json(cls, locate: Callable[[str], Location], value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        locate
            Makes a place of a path or URL.
        """
        preset = None if value["preset"] is None else find_preset(value["preset"])
        # One by one, so that bands and indices keep their order.
        bands = tuple(
            band
            for name, is_index in value["bands"]
            for band in series_bands(preset, [] if is_index else [name], [name] if is_index else [])
        )
        grid = grid_from_rest(value["grid"])
        regions = tuple(
            NamedRegion(id=item["id"], region=None if item["region"] is None else Region.parse(item["region"]))
            for item in value["regions"]
        )
        series = TimeSeries(
            collection=value["collection"],
            preset=preset,
            bands=bands,
            rule=None if value["rule"] is None else QualityRule.parse(value["rule"]),
            regions=regions,
            regions_key=value["regions_key"],
            grid=grid,
            weights=value["weights"],
            group_by=value["group_by"],
            mosaic=value["mosaic"],
            day_hours=value["day_hours"],
            rows=RowMaker(
                collection=value["collection"],
                regions=regions,
                statistics=tuple(value["statistics"]),
                percentiles=tuple(value["percentiles"]),
                min_valid_fraction=value["min_valid_fraction"],
            ),
            on_revised=value["on_revised"],
            table=None if value["table"] is None else SeriesTable(locate(value["table"][0]), tuple(value["table"][1])),
            rasters=None if value["rasters"] is None else locate(value["rasters"]),
            cube=None if value["cube"] is None else _cube(locate(value["cube"]), grid, bands),
            workload_tag=value["workload_tag"],
        )
        return cls(
            series=series,
            groups=tuple(_group_from_json(group) for group in value["groups"]),
            preset_name=value["preset"],
            max_pixels=value["max_pixels"],
            max_concurrency=value["max_concurrency"],
        )

    def units(self, client: EarthEngineClient) -> int:  # noqa: ARG002
        """How many groups of images there are."""
        return len(self.groups)

    def name(self, client: EarthEngineClient, unit: int) -> str:  # noqa: ARG002
        """The group's name."""
        return self.groups[unit].key

    def estimate(self, client: EarthEngineClient) -> Estimate:
        """What is asked for of groups that are not there yet."""
        found = self.series.estimate(client, self.groups, max_pixels=self.max_pixels)
        settings = client.settings
        return Estimate.of(
            images=found.images,
            pixels=found.pixels,
            requests=found.requests,
            size_bytes=found.bytes,
            max_concurrency=settings.at_most(self.max_concurrency),
            requests_per_second=settings.requests_per_second,
        )

    def begin(self, client: EarthEngineClient) -> list[int]:
        """Make ready for workers, and tell which groups are missing."""
        self.series.begin(client, self.groups, max_pixels=self.max_pixels)
        return self.left(client, range(len(self.groups)))

    def left(self, client: EarthEngineClient, units: Sequence[int]) -> list[int]:  # noqa: ARG002
        """Those of some groups that nobody has made; changes nothing."""
        # A series remembers which dates its cube had.
        series = replace(self.series)
        return [unit for unit in units if not series.holds(self.groups[unit])]

    def store(self, client: EarthEngineClient, units: Sequence[int], progress: Progress) -> None:
        """Make some groups."""
        self.series.make(
            client,
            [self.groups[unit] for unit in units],
            max_pixels=self.max_pixels,
            max_concurrency=self.max_concurrency,
            progress=progress,
        )

    def finish(self, client: EarthEngineClient) -> Json:
        """Merge the table."""
        missing = self.left(client, range(len(self.groups))) if self.series.table is not None else []
        if missing:
            raise IncompleteJob(
                f"{len(missing)} of {len(self.groups)} images or groups are not there, {self.groups[missing[0]].key} among them; run the "
                "job again, it goes on with what it has"
            )
        table = self.series.table
        return {
            "uri": self.output_url,
            "table_rows": 0 if table is None else table.merge(),
            "table_uris": [] if table is None else [file.url for file in table.files],
            "simulated": client.simulated,
        }

    def results(self, missing: Sequence[int]) -> list[GroupResult]:
        """What became of all groups, of which some were made just now."""
        made = set(missing)
        return [self._result(group, made=number in made) for number, group in enumerate(self.groups)]

    def retyped(self, error: OtherTypes, *, anew: bool) -> SeriesWork:  # noqa: ARG002
        """Images of a series are read with the types that they really have: nothing is laid out before."""
        raise error

    @property
    def output_url(self) -> str:
        """What the job is called by: its table, else its rasters, else its cube."""
        series = self.series
        places = (series.table and series.table.place, series.rasters, series.cube and series.cube.place)
        return next(place.url for place in places if place)

    def _result(self, group: ImageGroup, *, made: bool) -> GroupResult:
        raster = None if self.series.rasters is None else self.series.rasters / f"{group.key}.tif"
        url = None if raster is None else raster.url
        if not made:
            return GroupResult(url, unchanged=True)
        size_bytes = 0 if raster is None else raster.size_bytes() or 0
        return GroupResult(url, len(self.series.bands) * len(self.series.regions), size_bytes)


def _cube(place: Location, grid: Any, bands: Any) -> Any:
    # Needs zarr, which only those have who want a cube.
    from airflow_ee.core.series_cube import SeriesCube

    return SeriesCube(place=place, grid=grid, bands=bands)


def _group_to_json(group: ImageGroup) -> Json:
    return {
        "key": group.key,
        "images": [_asset_to_json(image) for image in group.images],
        "companions": [{name: _asset_to_json(item) for name, item in each.items()} for each in group.companions],
        **{name: _text(getattr(group, name)) for name in _MOMENTS},
    }


def _group_from_json(value: Mapping[str, Any]) -> ImageGroup:
    moments: Any = {name: _moment(value[name]) for name in _MOMENTS}
    return ImageGroup(
        key=value["key"],
        images=tuple(_asset_from_json(image) for image in value["images"]),
        companions=tuple({name: _asset_from_json(item) for name, item in each.items()} for each in value["companions"]),
        **moments,
    )


def _asset_to_json(asset: Asset) -> Json:
    """What making rows of an image needs to know of it."""
    return {
        "name": asset.name,
        "id": asset.id,
        "type": asset.type,
        "start_time": _text(asset.start_time),
        "end_time": _text(asset.end_time),
        "update_time": asset.update_time,
        "bands": [{"id": band.id, "dtype": band.dtype.str} for band in asset.bands],
    }


def _asset_from_json(value: Mapping[str, Any]) -> Asset:
    known = {
        **value,
        "start_time": _moment(value["start_time"]),
        "end_time": _moment(value["end_time"]),
        "bands": tuple(Band(id=band["id"], dtype=np.dtype(band["dtype"])) for band in value["bands"]),
    }
    return Asset(**known)


_MOMENTS = ("interval_start", "interval_end", "image_start", "image_end")


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
