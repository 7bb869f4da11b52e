"""A time series of a collection: fetch its images, keep a raster of each, and make rows of statistics.

Images are taken each by itself, or those of a day or an interval together as a mosaic. Each is recorded in part files of its
own when all of it is done, so a run that was killed goes on where it stopped, and what is there unchanged is not fetched
again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_ee.core import wire
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.estimate import seconds_at_quota
from airflow_ee.core.fetch import PixelFetcher, run_bounded
from airflow_ee.core.grid import MAX_SIDE, PixelGrid
from airflow_ee.core.grouping import GroupBy, ImageGroup
from airflow_ee.core.mosaic import Layer, Mosaic, MosaicRule
from airflow_ee.core.observations import SeriesBand, observe
from airflow_ee.core.pixels import PixelSource, check_request, provenance_tags
from airflow_ee.core.presets import Preset
from airflow_ee.core.progress import Progress
from airflow_ee.core.quality import QualityRule
from airflow_ee.core.region_file import NamedRegion
from airflow_ee.core.resources import Asset
from airflow_ee.core.sampling import PickedPixels, Pixels, Sampler, WholeGrid
from airflow_ee.core.series import PartRecord, SeriesTable, get_ready
from airflow_ee.core.series_raster import write_series_raster
from airflow_ee.core.series_results import GroupResult, SeriesEstimate
from airflow_ee.core.series_rows import RowMaker
from airflow_ee.core.series_sources import fetched_bands, image_source
from airflow_ee.core.sinks.base import Location, scratch_directory
from airflow_ee.core.sinks.layout import COG_MEDIA_TYPE
from airflow_ee.core.sinks.stac import StacItem
from airflow_ee.core.weights import Weights, Zone, make_zone

if TYPE_CHECKING:
    # Needs zarr, which only those have who want a cube.
    from airflow_ee.core.series_cube import SeriesCube

__all__ = ["TimeSeries"]

RECORD_FORMAT = 2
"""Raised when the same request would give other rows or rasters than before."""
SERIES_LABEL = "series.json"
"""File in a folder of rasters that says which series they belong to."""
MOST_BYTES_AT_ONCE = 256 * 1024 * 1024
"""Of pixels that are under way or being summed up."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TimeSeries:
    """Everything that the images of a run have in common."""

    collection: str
    """Asset id."""
    preset: Preset | None
    bands: tuple[SeriesBand, ...]
    """What rows are made of."""
    rule: QualityRule | None
    regions: tuple[NamedRegion, ...]
    regions_key: str
    """Name of the region, or of the set of regions."""
    grid: PixelGrid
    weights: Weights = "coverage"
    group_by: GroupBy = "image"
    mosaic: MosaicRule = "first"
    day_hours: int = 0
    """By which days are ahead of UTC's."""
    rows: RowMaker
    on_revised: str = "replace"
    """``replace`` or ``keep`` what was recorded of images that have changed since."""
    table: SeriesTable | None
    rasters: Location | None
    """Folder."""
    cube: SeriesCube | None = None
    workload_tag: str | None = None

    def make(
        self,
        client: EarthEngineClient,
        groups: Sequence[ImageGroup],
        *,
        max_pixels: int | None = None,
        max_concurrency: int | None = None,
        progress: Progress | None = None,
    ) -> list[GroupResult]:
        """Make all groups, several at once as memory lets them.

        Raises
        ------
        ValueError
            Before any pixel is asked for: a band that is missing, or more pixels than ``max_pixels``.
        EarthEngineError
            The first failure that cannot be cured; groups that were recorded stay.
        """
        sampler, source = self.begin(client, groups, max_pixels=max_pixels)
        fetcher = PixelFetcher(client, max_concurrency=max_concurrency, progress=progress)
        tiles = max(sampler.requests(source.bytes_per_pixel, client.settings.limits), 1)
        images_at_once = self._images_at_once(sampler, source, tiles, fetcher.concurrency)
        groups_at_once = max(min(images_at_once, len(groups)), 1)
        run = _Run(fetcher, sampler, tiles, images_at_once // groups_at_once)
        fetcher.progress.total = tiles * sum(len(group.images) for group in groups)
        with scratch_directory() as directory:
            if self.table is not None:
                threading.Thread(target=get_ready, name="earth-engine-table", daemon=True).start()
            made = run_bounded(
                range(len(groups)),
                lambda index: self._make_group(run, groups[index], directory / str(index)),
                concurrency=groups_at_once,
                check=fetcher.check,
            )
            try:
                results = dict(made)
            finally:
                fetcher.progress.close()
        return [results[index] for index in range(len(groups))]

    def begin(
        self, client: EarthEngineClient, groups: Sequence[ImageGroup], *, max_pixels: int | None = None
    ) -> tuple[Sampler, PixelSource]:
        """Refuse what could only fail, and claim the folder of the rasters; gives what pixels are fetched with.

        Raises
        ------
        ValueError
            A band that is missing, more pixels than ``max_pixels``, or an output that belongs to another series.
        """
        sampler, source = self._prepare(client, groups, max_pixels)
        if self.cube is not None:
            self.cube.check(groups)
        inputs = {name for band in self.bands for name in band.inputs}
        self._claim_rasters(
            [*(band.name for band in self.bands), *(name for name in source.names if name not in inputs)]
        )
        return sampler, source

    def holds(self, group: ImageGroup) -> bool:
        """Whether all of a group is there already, as it is recorded in the table; without a table nothing is."""
        return self._is_recorded(group, self._raster(group))

    def estimate(
        self, client: EarthEngineClient, groups: Sequence[ImageGroup], *, max_pixels: int | None = None
    ) -> SeriesEstimate:
        """What :meth:`make` would fetch; asks for no pixel and writes nothing.

        Raises
        ------
        ValueError
            Where :meth:`make` would refuse.
        """
        sampler, source = self._prepare(client, groups, max_pixels)
        missing = [group for group in groups if not self._is_recorded(group, self._raster(group))]
        images = sum(len(group.images) for group in missing)
        settings = client.settings
        requests = images * sampler.requests(source.bytes_per_pixel, settings.limits)
        return SeriesEstimate(
            groups=len(groups),
            unchanged=len(groups) - len(missing),
            images=images,
            pixels=images * sampler.pixels,
            requests=requests,
            bytes=images * sampler.pixels * source.bytes_per_pixel,
            seconds=seconds_at_quota(requests, settings.max_concurrency, settings.requests_per_second),
        )

    def digest(self, group: ImageGroup, band: SeriesBand) -> str:
        """What the rows of a band depend on, but for the images' revisions: another digest means that they are made anew."""
        own = {"image": group.images[0].name} if self.group_by == "image" else {"group": [group.key, self.mosaic]}
        content = {
            "format": RECORD_FORMAT,
            **own,
            "band": [band.name, band.inputs, *map(dataclasses.astuple, (band.numbers, *band.input_numbers))],
            "quality": self.rule.text if self.rule else None,
            "regions": self._regions_digest,
            "grid": wire.grid_to_rest(self.grid),
            "weights": self.weights,
            "statistics": [*self.rows.statistics, *self.rows.percentiles],
            "min_valid_fraction": self.rows.min_valid_fraction,
            "raster": [band.name for band in self.bands] if self.rasters else None,
            **({"cube": self.cube.place.url} if self.cube else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _regions_digest(self) -> str:
        told = [[item.id, item.region.to_geojson() if item.region else None] for item in self.regions]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _prepare(
        self, client: EarthEngineClient, groups: Sequence[ImageGroup], max_pixels: int | None
    ) -> tuple[Sampler, PixelSource]:
        """Which pixels are fetched, and of the image with the most bands; refuses what could only fail."""
        sources = [self._source(image, companions) for group in groups for image, companions in _members(group)]
        source = max(sources, key=lambda source: source.bytes_per_pixel)
        if self._needs_whole_grid:
            check_request(client, source, self.grid, max_pixels)
        zones = tuple(make_zone(self.grid, item.region, self.weights, most_pixels=max_pixels) for item in self.regions)
        self._check_zones(zones)
        if self._needs_whole_grid or self._fills_grid(zones):
            check_request(client, source, self.grid, max_pixels)
            return WholeGrid(self.grid, zones), source
        check_request(client, source, self.grid.window(row=0, col=0, rows=1, cols=1), None)
        limits = client.settings.limits
        most = min(limits.target_bytes, limits.max_request_bytes) // source.bytes_per_pixel
        sampler = PickedPixels(self.grid, zones, max(min(most, limits.max_side**2), 1))
        if max_pixels is not None and sampler.pixels > max_pixels:
            raise ValueError(
                f"max_pixels: the regions need {sampler.pixels} pixels of each image, more than {max_pixels}; choose a larger "
                "scale or fewer regions, or raise max_pixels"
            )
        return sampler, source

    @property
    def _needs_whole_grid(self) -> bool:
        return self.rasters is not None or self.cube is not None or any(item.region is None for item in self.regions)

    def _fills_grid(self, zones: Sequence[Zone]) -> bool:
        """Whether one region has most of the pixels of its rectangle: then the rectangle costs less to keep."""
        small = max(self.grid.width, self.grid.height) <= MAX_SIDE
        return small and len(zones) == 1 and zones[0].positions.size * 2 > self.grid.pixels

    def _check_zones(self, zones: Sequence[Zone]) -> None:
        empty = [item.id for item, zone in zip(self.regions, zones, strict=True) if zone.positions.size == 0]
        if len(empty) == len(zones):
            raise ValueError(
                f"region: no pixel's centre lies inside it, it is smaller than a pixel; use weights='coverage' instead of "
                f"{self.weights!r}, or a finer grid"
            )
        if empty:
            log.warning("%d regions hold no pixel's centre and have empty rows: %s", len(empty), ", ".join(empty[:10]))

    @cached_property
    def _cube_dates(self) -> frozenset[datetime]:
        """Dates that the cube had when this run began."""
        return self.cube.dates if self.cube is not None else frozenset()

    def _images_at_once(self, sampler: Sampler, source: PixelSource, tiles: int, concurrency: int) -> int:
        """How many images are under way together: enough that no request waits for the end of an image, as memory lets them."""
        kept = sampler.size * sum(band.dtype.itemsize + 1 for band in source.bands)
        # A mosaic keeps one more image, and its days.
        kept = max(kept if self.group_by == "image" else 3 * kept, 1)
        # While some images are summed up and written, the next are asked for.
        filling = 2 * ceil(concurrency / tiles)
        return max(min(filling, MOST_BYTES_AT_ONCE // kept), 1)

    def _claim_rasters(self, bands: Sequence[str]) -> None:
        """Refuse a folder that holds rasters of another area, grid or bands: files of one date would replace each other."""
        if self.rasters is None:
            return
        grid = hashlib.sha256(json.dumps(wire.grid_to_rest(self.grid), sort_keys=True).encode()).hexdigest()[:12]
        claim = {"collection": self.collection, "region_id": self.regions_key, "bands": list(bands), "grid": grid}
        label = self.rasters / SERIES_LABEL
        if not label.exists():
            label.write_bytes(json.dumps(claim, indent=1).encode())
        there = json.loads(label.read_bytes())
        if there != claim:
            different = ", ".join(f"{name} {there.get(name)}" for name in claim if there.get(name) != claim[name])
            raise ValueError(
                f"raster_uri: {self.rasters.url} holds rasters of another series ({different}); give each series a folder of "
                f"its own, or delete {SERIES_LABEL} there to have them replaced"
            )

    def _source(self, image: Asset, companions: Mapping[str, Asset]) -> PixelSource:
        wanted = fetched_bands(image, self.bands, self.rule, self.preset)
        return image_source(image, companions, wanted, self.workload_tag)

    def _raster(self, group: ImageGroup) -> Location | None:
        return self.rasters / f"{group.key}.tif" if self.rasters else None

    def _make_group(self, run: _Run, group: ImageGroup, directory: Path) -> GroupResult:
        client, raster = run.fetcher.client, self._raster(group)
        if self._is_recorded(group, raster):
            run.fetcher.progress.was_there(run.tiles * len(group.images))
            return GroupResult(raster.url if raster else None, unchanged=True)
        layers, pixels = self._layers(run, group, directory)
        size_bytes = None
        if raster is not None:
            directory.mkdir(exist_ok=True)
            size_bytes = self._write_raster(client, directory / "raster.tif", raster, group, pixels, layers)
        if self.cube is not None:
            self.cube.add(group, layers, self._tags(client, group))
        rows = {
            band.name: list(self.rows.rows(group, band, layers[band.name], run.sampler, simulated=client.simulated))
            for band in self.bands
        }
        if directory.exists():
            shutil.rmtree(directory)
        # The parts are the record of the group, so they come last.
        self._record(group, rows, size_bytes)
        return GroupResult(raster.url if raster else None, sum(map(len, rows.values())), size_bytes or 0)

    def _layers(self, run: _Run, group: ImageGroup, directory: Path) -> tuple[dict[str, Layer], Pixels | None]:
        """A layer for each band; the image's other bands where there is one image."""
        members = _members(group)
        if self.group_by == "image":
            pixels, layers = self._observe(run, *members[0], directory / "0")
            return layers, pixels
        mosaics = {band.name: Mosaic(self.mosaic) for band in self.bands}
        for start in range(0, len(members), run.images_at_once):
            batch = range(start, min(start + run.images_at_once, len(members)))
            made = run_bounded(
                batch,
                lambda index: self._observe(run, *members[index], directory / str(index)),
                concurrency=len(batch),
                check=run.fetcher.client.check_not_stopped,
            )
            observed = dict(made)
            # In order of time, in which mosaics are defined.
            for index in batch:
                _, layers = observed.pop(index)
                for name, layer in layers.items():
                    mosaics[name].add(layer)
        return {name: mosaic.result() for name, mosaic in mosaics.items()}, None

    def _observe(
        self, run: _Run, image: Asset, companions: Mapping[str, Asset], directory: Path
    ) -> tuple[Pixels, dict[str, Layer]]:
        pixels = run.sampler.fetch(run.fetcher, self._source(image, companions), directory)
        start = image.start_time
        if start is None:
            raise ValueError(f"{image.id} has no startTime: it has no place in a time series")
        layers = observe(
            pixels, bands=self.bands, rule=self.rule, preset=self.preset, start=start, hours=self.day_hours
        )  # fmt: skip
        return pixels, layers

    def _write_raster(
        self,
        client: EarthEngineClient,
        file: Path,
        raster: Location,
        group: ImageGroup,
        pixels: Pixels | None,
        layers: Mapping[str, Layer],
    ) -> int:
        """Write the raster by way of a scratch file, and its STAC item; tells its size in bytes."""
        tags = self._tags(client, group)
        layout, nodata = write_series_raster(file, self.grid, self.bands, layers, pixels, self.preset, tags)
        StacItem(
            id=raster.name, layout=layout, href=raster.name, media_type=COG_MEDIA_TYPE,
            start=group.interval_start, end=group.interval_end, nodata=nodata,
        ).write(raster.with_suffix(".stac.json"))  # fmt: skip
        return raster.publish(file)

    def _tags(self, client: EarthEngineClient, group: ImageGroup) -> dict[str, str]:
        """Where the pixels of a group come from."""
        image, companions = _members(group)[0]
        tags = provenance_tags(self._source(image, companions), self.grid, simulated=client.simulated)
        if self.group_by == "image":
            tags["source"] = image.id
        else:
            tags.update(source=self.collection, images=" ".join(item.id for item in group.images), mosaic=self.mosaic)
            tags["request_digest"] = self.digest(group, self.bands[0])
        if self.rule:
            tags["quality"] = self.rule.text
        return tags

    def _part(self, group: ImageGroup, band: SeriesBand) -> Location:
        if self.table is None:
            raise ValueError("a series without a table has no parts")
        return self.table.part(self.collection, self.regions_key, band.name, group.key, self.group_by)

    def _record(
        self, group: ImageGroup, rows: Mapping[str, Sequence[Mapping[str, Any]]], raster_bytes: int | None
    ) -> None:
        if self.table is None:
            return
        for band in self.bands:
            record = PartRecord(self.digest(group, band), group.revision, raster_bytes)
            self.table.write_rows(self._part(group, band), rows[band.name], record, self.rows.extra)

    def _is_recorded(self, group: ImageGroup, raster: Location | None) -> bool:
        """Whether all of the group is there already, with a raster as large as the one that was written."""
        if self.table is None or (self.cube is not None and group.cube_time not in self._cube_dates):
            return False
        for band in self.bands:
            record = self.table.recorded(self._part(group, band))
            if record is None or record.request_digest != self.digest(group, band):
                return False
            if self.on_revised == "replace" and record.source_update_time != group.revision:
                return False
            if raster is not None and record.raster_bytes != raster.size_bytes():
                return False
        return True


@dataclass(frozen=True, slots=True)
class _Run:
    """What all groups of a run share."""

    fetcher: PixelFetcher
    sampler: Sampler
    tiles: int
    """Requests for each image."""
    images_at_once: int
    """Images of one group that are under way together."""


def _members(group: ImageGroup) -> list[tuple[Asset, Mapping[str, Asset]]]:
    """Images of a group, each with its score images."""
    companions = group.companions or ({},) * len(group.images)
    return list(zip(group.images, companions, strict=True))
