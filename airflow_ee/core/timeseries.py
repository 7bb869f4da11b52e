"""A time series of a collection: fetch each image, keep a raster of it, and make rows of statistics.

Every image is recorded in part files of its own when all of it is done, so a run that was killed goes on where it
stopped, and an image that is there unchanged is not fetched again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_ee.core import wire
from airflow_ee.core.canvas import Canvas
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.fetch import run_bounded
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.pixels import PixelSource, check_request, fetch_canvas, provenance_tags
from airflow_ee.core.plan import plan_tiles
from airflow_ee.core.presets import RAW, BandPreset, Preset
from airflow_ee.core.quality import QualityRule
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Asset
from airflow_ee.core.series import PartRecord, SeriesTable
from airflow_ee.core.sinks.base import Location, scratch_directory
from airflow_ee.core.sinks.geotiff import write_geotiff
from airflow_ee.core.statistics import Weights, band_statistics, pixel_weights, weighted_median

__all__ = ["ImageResult", "TimeSeries", "quality_rule", "region_name"]

IMAGES_AT_ONCE = 16
RECORD_FORMAT = 1
"""Raised when the same request would give other rows or rasters than before."""
SERIES_LABEL = "series.json"
"""File in a folder of rasters that says which series they belong to."""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What became of one image."""

    raster: str | None
    """URL of its raster."""
    rows: int = 0
    """Rows written; 0 when it was there already."""
    requests: int = 0
    """Pixel requests; 0 when it was there already."""
    bytes: int = 0
    """Size of the raster that was written."""


@dataclass(frozen=True, kw_only=True)
class TimeSeries:
    """Everything that the images of a run have in common."""

    collection: str
    """Asset id."""
    preset: Preset | None
    bands: tuple[str, ...]
    """Bands that rows are made of."""
    rule: QualityRule | None
    region: Region | None
    region_id: str
    grid: PixelGrid
    weights: Weights = "coverage"
    min_valid_fraction: float = 0.0
    """Rows with less of the region's weight valid have no statistics."""
    on_revised: str = "replace"
    """``replace`` or ``keep`` what was recorded of an image that has changed since."""
    table: SeriesTable | None
    rasters: Location | None
    """Folder."""
    workload_tag: str | None = None

    def make(
        self,
        client: EarthEngineClient,
        images: Sequence[Asset],
        *,
        max_pixels: int | None = None,
        max_concurrency: int | None = None,
    ) -> list[ImageResult]:
        """Make all images: several at once where one request carries a whole image, else tile by tile.

        Raises
        ------
        ValueError
            Before any pixel is asked for: a band that is missing, or a grid over ``max_pixels``.
        EarthEngineError
            The first failure that cannot be cured; images that were recorded stay.
        """
        sources = [self._source(asset) for asset in images]
        check_request(client, sources[0], self.grid, max_pixels)
        self._claim_rasters(sources[0].names)
        weights = pixel_weights(self.grid, self.region, self.weights)
        tiles = plan_tiles(self.grid, bytes_per_pixel=sources[0].bytes_per_pixel, limits=client.settings.limits)
        single = len(list(tiles)) == 1
        concurrency = min(max_concurrency or client.settings.max_concurrency, client.settings.max_concurrency)
        workers, per_image = (min(concurrency, IMAGES_AT_ONCE), 1) if single else (1, concurrency)
        results: dict[int, ImageResult] = {}
        with scratch_directory() as directory:
            made = run_bounded(
                range(len(images)),
                lambda index: self._make_image(
                    client, images[index], sources[index], weights, per_image, directory / str(index)
                ),
                concurrency=workers,
                check=client.check_not_stopped,
            )
            results.update(made)
        return [results[index] for index in range(len(images))]

    def digest(self, asset: Asset, band: str) -> str:
        """What the row of a band depends on, but for the image's revision: another digest means that it is made anew."""
        content = {
            "format": RECORD_FORMAT,
            "image": asset.name,
            "band": [band, *dataclasses.astuple(self._band(band))],
            "quality": self.rule.text if self.rule else None,
            "region": self.region.to_geojson() if self.region else None,
            "grid": wire.grid_to_rest(self.grid),
            "weights": self.weights,
            "min_valid_fraction": self.min_valid_fraction,
            "raster": self._fetched(asset) if self.rasters else None,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _claim_rasters(self, bands: Sequence[str]) -> None:
        """Refuse a folder that holds rasters of another area, grid or bands: files of one date would replace each other."""
        if self.rasters is None:
            return
        grid = hashlib.sha256(json.dumps(wire.grid_to_rest(self.grid), sort_keys=True).encode()).hexdigest()[:12]
        claim = {"collection": self.collection, "region_id": self.region_id, "bands": list(bands), "grid": grid}
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

    def _fetched(self, asset: Asset) -> tuple[str, ...]:
        """The series' own bands, and those that quality and observation dates need."""
        there = {band.id for band in asset.bands}
        dates = self.preset.day_of_year_band if self.preset else None
        extra = [dates] if dates in there else []
        return tuple(dict.fromkeys((*self.bands, *(self.rule.bands if self.rule else ()), *extra)))

    def _source(self, asset: Asset) -> PixelSource:
        bands = tuple(asset.band(name) for name in self._fetched(asset))
        return PixelSource(asset_id=asset.id, bands=bands, workload_tag=self.workload_tag)

    def _band(self, name: str) -> BandPreset:
        return self.preset.band(name) if self.preset else RAW

    def _make_image(
        self,
        client: EarthEngineClient,
        asset: Asset,
        source: PixelSource,
        weights: npt.NDArray[Any],
        concurrency: int,
        directory: Path,
    ) -> ImageResult:
        raster = self.rasters / f"{asset.index}.tif" if self.rasters else None
        if self._is_recorded(asset, raster):
            return ImageResult(raster.url if raster else None)
        directory.mkdir()
        canvas = Canvas(self.grid, source.names, directory)
        requests = fetch_canvas(client, source, canvas, max_concurrency=concurrency)
        self._apply_quality(canvas)
        size_bytes = 0
        if raster is not None:
            self._write_raster(directory / "raster.tif", canvas, provenance_tags(source, self.grid, client))
            size_bytes = raster.publish(directory / "raster.tif")
        rows = list(self._rows(asset, canvas, weights, client.simulated))
        shutil.rmtree(directory)
        # The parts are the record of the image, so they come last.
        for row in rows if self.table else ():
            self._record(asset, row, size_bytes if raster is not None else None)
        return ImageResult(raster.url if raster else None, len(rows), requests, size_bytes)

    def _part(self, asset: Asset, band: str) -> Location:
        if self.table is None:
            raise ValueError("a series without a table has no parts")
        return self.table.part(self.collection, self.region_id, band, asset.index)

    def _record(self, asset: Asset, row: Mapping[str, Any], raster_bytes: int | None) -> None:
        if self.table is not None:
            record = PartRecord(self.digest(asset, row["band"]), asset.update_time or "", raster_bytes)
            self.table.write_part(self._part(asset, row["band"]), row, record)

    def _is_recorded(self, asset: Asset, raster: Location | None) -> bool:
        """Whether all of the image is there already, with a raster as large as the one that was written."""
        if self.table is None:
            return False
        for band in self.bands:
            record = self.table.recorded(self._part(asset, band))
            if record is None or record.request_digest != self.digest(asset, band):
                return False
            if self.on_revised == "replace" and record.source_update_time != (asset.update_time or ""):
                return False
            if raster is not None and record.raster_bytes != raster.size_bytes():
                return False
        return True

    def _apply_quality(self, canvas: Canvas) -> None:
        """Make bad pixels of the series' own bands invalid; quality and date bands stay as they are."""
        good = self.rule.good(canvas) if self.rule else None
        for name in self.bands:
            values, valid = canvas.band(name)
            preset = self._band(name)
            if good is not None:
                valid &= good
            if preset.valid_min is not None:
                valid &= values >= preset.valid_min
            if preset.valid_max is not None:
                valid &= values <= preset.valid_max

    def _write_raster(self, file: Path, canvas: Canvas, tags: Mapping[str, str]) -> None:
        presets = [self._band(name) for name in canvas.bands]
        write_geotiff(
            file,
            canvas,
            cloud_optimized=True,
            widen=True,
            scales=[preset.scale for preset in presets],
            offsets=[preset.offset for preset in presets],
            units=[preset.unit for preset in presets],
            tags={**tags, **({"quality": self.rule.text} if self.rule else {})},
        )

    def _rows(
        self, asset: Asset, canvas: Canvas, weights: npt.NDArray[Any], simulated: bool
    ) -> Iterator[dict[str, Any]]:
        start = asset.start_time
        if start is None:
            raise ValueError(f"{asset.id} has no startTime: it has no place in a time series")
        end = self.preset.image_end(start) if self.preset else asset.end_time
        for name in self.bands:
            values, valid = canvas.band(name)
            preset = self._band(name)
            numbers = band_statistics(values, valid, weights, scale=preset.scale, offset=preset.offset)
            enough = numbers.valid_count > 0 and numbers.valid_fraction >= self.min_valid_fraction
            yield {
                "region_id": self.region_id,
                "band": name,
                "interval_start": start,
                "interval_end": end,
                "image_start": start,
                "image_end": end,
                "observation_date": self._observation_date(canvas, valid, weights, start),
                "image_count": 1,
                "image_ids": [asset.id],
                **{key: getattr(numbers, key) if enough else None for key in ("mean", "std", "min", "max")},
                "weight_sum": numbers.weight_sum,
                "valid_count": numbers.valid_count,
                "pixel_count": numbers.pixel_count,
                "valid_fraction": numbers.valid_fraction,
                "unit": preset.unit,
                "source_update_time": asset.update_time,
                "source": self.collection,
                "simulated": simulated,
            }

    def _observation_date(
        self, canvas: Canvas, valid: npt.NDArray[np.bool_], weights: npt.NDArray[Any], start: datetime
    ) -> date | None:
        """Day of the median pixel's observation; days before the image's own first day are next year's."""
        name = self.preset.day_of_year_band if self.preset else None
        if self.preset is None or name is None or name not in canvas.bands:
            return None
        days, known = canvas.band(name)
        used = valid & known & (weights > 0) & (days >= 1) & (days <= 366)
        if not used.any():
            return None
        day = days[used].astype(int)
        first_day = start.timetuple().tm_yday
        to_new_year = (datetime(start.year + 1, 1, 1, tzinfo=UTC) - start).days
        elapsed = np.where(day >= first_day, day - first_day, day - 1 + to_new_year)
        # A day just before the image's first would look like one of the next year.
        within = elapsed <= self.preset.days
        if not within.any():
            return None
        return (start + timedelta(days=int(weighted_median(elapsed[within], weights[used][within])))).date()


def quality_rule(text: str | None, preset: Preset | None, first: Asset) -> QualityRule | None:
    """The rule behind the argument ``quality``, checked against the bands of an image.

    Parameters
    ----------
    text
        ``preset``: the preset's own; None or empty: none; else a rule.

    Raises
    ------
    ValueError
        When it is no rule, or reads a band that the image has not.
    """
    if text == "preset":
        text = preset.quality if preset else None
    if text is None or text.strip().lower() in {"", "none"}:
        return None
    rule = QualityRule.parse(str(text))
    missing = [band for band in rule.bands if band not in {b.id for b in first.bands}]
    if missing:
        raise ValueError(
            f"quality: {first.id} has no band {', '.join(missing)}, which the rule {rule.text!r} reads; "
            "use quality=None to take every valid pixel, or a rule over bands that are there"
        )
    return rule


def region_name(region: Region | None, property_name: str | None) -> str:
    """What a region is called in the table: its feature's property or id, else a digest of its geometry.

    >>> region_name(Region.parse([0, 0, 1, 1]), None)
    'region-4db64699eba0'
    """
    if region is None:
        if property_name:
            raise ValueError("region_id_property needs a region")
        return "grid"
    if property_name:
        if property_name not in region.properties:
            raise ValueError(
                f"region_id_property: the region has no property {property_name!r}; it has {', '.join(region.properties) or 'none'}"
            )
        return str(region.properties[property_name])
    return (
        region.id
        or f"region-{hashlib.sha256(json.dumps(region.to_geojson(), sort_keys=True).encode()).hexdigest()[:12]}"
    )
