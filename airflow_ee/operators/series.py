"""An operator that turns a collection into a time series: a raster for each image, and rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import integer, names, number, refuse_unless, text_or_none
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.locations import connection_for, location, read_region
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.presets import Preset
    from airflow_ee.core.region import Region
    from airflow_ee.core.resources import Asset
    from airflow_ee.core.series import SeriesTable
    from airflow_ee.core.sinks.base import Location
    from airflow_ee.core.timeseries import ImageResult, TimeSeries

__all__ = ["EarthEngineTimeSeriesOperator"]

MAXIMUM_LISTED = 20


class EarthEngineTimeSeriesOperator(EarthEnginePixelBaseOperator):
    """Fetch every image of a collection in an interval; write a raster for each and rows of statistics.

    Every image has a part file of its own, and the merged table is made from the parts. So a rerun, a backfill, or runs
    side by side neither lose nor double a row, and an image that is there unchanged is not fetched again.

    The interval is half open and is compared with an image's beginning. It comes from the arguments, else from the DAG
    run's params ``start`` and ``end``, else from a data interval that is not empty, else the task fails.

    :param collection: asset id, or the name of a preset such as ``MOD13Q1``
    :param bands: bands to make rows of; give them or ``index``
    :param index: a vegetation index of the preset, such as ``NDVI``
    :param start: first day or moment (UTC)
    :param end: day or moment after the last (UTC)
    :param lookback: days or timedelta by which the start is moved back, for images that come late or are revised
    :param region: box, GeoJSON, text of either, or a ``.geojson`` file; None: the whole grid
    :param region_id_property: property of the region's GeoJSON feature that names it in the table
    :param grid: PixelGrid or the REST object, used exactly as it is
    :param grid_from_asset: image whose native grid is used, cut to ``region``
    :param scale: metres along one side of a pixel; with ``region`` and ``crs``
    :param crs: code or WKT; none of grid, grid_from_asset and scale given: the collection's native grid
    :param quality: ``preset``: the preset's rule; None: every valid pixel; or a rule such as ``SummaryQA<=1``
    :param weights: ``coverage`` (fraction of the pixel inside the region), ``center`` or ``area``
    :param min_valid_fraction: rows with less of the region's weight valid have empty statistics
    :param on_empty: no image in the interval: ``skip`` the task or ``fail``
    :param on_revised: an image that changed since it was recorded: ``replace`` or ``keep`` what is there
    :param table_uri: place of the table, without suffix: ``/data/ndvi`` makes ``/data/ndvi.parquet`` and ``/data/ndvi.csv``
    :param table_format: ``parquet`` (and a CSV beside it) or ``csv``
    :param raster_uri: folder for a GeoTIFF of each image, in digital numbers with scale and offset
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``
    :param max_pixels: refuse a larger grid
    :param max_concurrency: requests at once; None: the connection's
    """

    template_fields: Sequence[str] = (
        *EarthEnginePixelBaseOperator.template_fields,
        "collection",
        "bands",
        "index",
        "start",
        "end",
        "lookback",
        "region",
        "region_id_property",
        "grid",
        "grid_from_asset",
        "scale",
        "crs",
        "quality",
        "weights",
        "min_valid_fraction",
        "on_empty",
        "on_revised",
        "table_uri",
        "table_format",
        "raster_uri",
        "output_conn_id",
        "max_pixels",
        "max_concurrency",
    )
    template_fields_renderers = {"grid": "json", "region": "json"}

    def __init__(
        self,
        *,
        collection: str,
        bands: Sequence[str] | None = None,
        index: str | None = None,
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        lookback: timedelta | int | str | None = None,
        region: Any = None,
        region_id_property: str | None = None,
        grid: PixelGrid | Mapping[str, Any] | str | None = None,
        grid_from_asset: str | None = None,
        scale: float | str | None = None,
        crs: str | None = None,
        quality: str | None = "preset",
        weights: str = "coverage",
        min_valid_fraction: float = 0.0,
        on_empty: str = "skip",
        on_revised: str = "replace",
        table_uri: str | None = None,
        table_format: str = "parquet",
        raster_uri: str | None = None,
        output_conn_id: str | None = None,
        max_pixels: int | None = 100_000_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.collection = collection
        self.bands = bands
        self.index = index
        self.start = start
        self.end = end
        self.lookback = lookback
        self.region = region
        self.region_id_property = region_id_property
        self.grid = grid
        self.grid_from_asset = grid_from_asset
        self.scale = scale
        self.crs = crs
        self.quality = quality
        self.weights = weights
        self.min_valid_fraction = min_valid_fraction
        self.on_empty = on_empty
        self.on_revised = on_revised
        self.table_uri = table_uri
        self.table_format = table_format
        self.raster_uri = raster_uri
        self.output_conn_id = output_conn_id
        self.max_pixels = max_pixels

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the series of the interval; tell what was made and where."""
        # Numpy, rasterio and their kin are for workers; parsing a DAG file must not load them.
        from airflow_ee.core.presets import find_preset

        with fail_fast():
            self._check_arguments()
            start, end = resolve_interval(context, start=self.start, end=self.end, lookback=self.lookback)
            table, rasters = self._outputs()
            region = self._area()
            preset = find_preset(self.collection)
            collection = preset.collection if preset else self.collection
            with self.pixel_client() as client:
                images = client.list_images(collection, start=start, end=end, region=region)
                self.log.info(
                    "%s has %d images in [%s, %s)", collection, len(images), start.isoformat(), end.isoformat()
                )
                if not images:
                    self._stop_empty(collection, start, end)
                series = self._series(client, collection, preset, images, region, table, rasters, context)
                made = series.make(
                    client,
                    images,
                    max_pixels=integer("max_pixels", self.max_pixels),
                    max_concurrency=integer("max_concurrency", self.max_concurrency),
                )
                rows = series.table.merge() if series.table else 0
        if client.simulated:
            self.log.warning("This series is simulated: its pixels are an emulator's, not a satellite's")
        summary = {"source": collection, "start": start.isoformat(), "end": end.isoformat(), "images": len(images)}
        return {**summary, **_summary(series, made, rows), "simulated": client.simulated}

    def _check_arguments(self) -> None:
        refuse_unless("weights", self.weights, ("coverage", "center", "area"))
        refuse_unless("on_empty", self.on_empty, ("skip", "fail"))
        refuse_unless("on_revised", self.on_revised, ("replace", "keep"))
        refuse_unless("table_format", self.table_format, ("parquet", "csv"))
        table, rasters = text_or_none(self.table_uri), text_or_none(self.raster_uri)
        if not (table or rasters):
            raise ValueError("give table_uri, raster_uri or both: otherwise nothing would be kept")
        if (text_or_none(self.bands) is None) == (text_or_none(self.index) is None):
            raise ValueError("give either bands or index")
        if not 0 <= (number("min_valid_fraction", self.min_valid_fraction) or 0.0) <= 1:
            raise ValueError(f"min_valid_fraction must be in 0..1, got {self.min_valid_fraction}")
        if self.grid_from_asset and (self.grid or self.scale or self.crs):
            raise ValueError("grid_from_asset excludes grid, scale and crs")
        if self.on_revised == "keep" and not table:
            raise ValueError("on_revised='keep' needs table_uri: without a table nothing is recorded of an image")
        if table and table.endswith((".parquet", ".csv")):
            raise ValueError(f"table_uri names the table without its suffix, got {self.table_uri!r}")

    def _stop_empty(self, collection: str, start: datetime, end: datetime) -> None:
        message = (
            f"{collection} has no image in [{start.isoformat()}, {end.isoformat()}); products come days to weeks late"
        )
        if self.on_empty == "fail":
            raise AirflowFailException(message)
        raise AirflowSkipException(message)

    def _series(
        self,
        client: EarthEngineClient,
        collection: str,
        preset: Preset | None,
        images: Sequence[Asset],
        region: Region | None,
        table: SeriesTable | None,
        rasters: Location | None,
        context: Context,
    ) -> TimeSeries:
        from airflow_ee.core.timeseries import TimeSeries, quality_rule, region_name

        bands = self._band_names(preset)
        return TimeSeries(
            collection=collection,
            preset=preset,
            bands=bands,
            rule=quality_rule(self.quality, preset, images[0]),
            region=region,
            region_id=region_name(region, text_or_none(self.region_id_property)),
            grid=self._choose_grid(client, images, bands[0], region),
            weights=self.weights,  # type: ignore[arg-type] # checked above
            min_valid_fraction=number("min_valid_fraction", self.min_valid_fraction) or 0.0,
            on_revised=self.on_revised,
            table=table,
            rasters=rasters,
            workload_tag=self.effective_workload_tag(context),
        )

    def _band_names(self, preset: Preset | None) -> tuple[str, ...]:
        index = text_or_none(self.index)
        if index is None:
            chosen = tuple(names("bands", self.bands) or ())
            if len(set(chosen)) != len(chosen):
                raise ValueError(f"bands: each band at most once, got {list(chosen)}")
            return chosen
        if preset is None:
            raise ValueError(f"index needs a collection with a preset, {self.collection} has none; give bands instead")
        return (preset.index_band(index),)

    def _choose_grid(
        self, client: EarthEngineClient, images: Sequence[Asset], band: str, region: Region | None
    ) -> PixelGrid:
        from airflow_ee.core.grid_choice import choose_grid

        native = None
        if self.grid_from_asset:
            asset = client.get_asset(self.grid_from_asset)
            native = asset.bands[0].grid if asset.bands else None
        elif text_or_none(self.grid) is None and text_or_none(self.scale) is None:
            native = _one_native_grid(images, band)
        return choose_grid(grid=self.grid, region=region, scale=self.scale, crs=self.crs, native=native)

    def _area(self) -> Region | None:
        region = read_region(self.region, connection_for(self.region, self.output_conn_id, self.gcp_conn_id))
        if region is not None and region.features > 1:
            raise ValueError(
                f"region has {region.features} features, and a series is of one: give each a task of its own, as with "
                ".partial().expand()"
            )
        return region

    def _outputs(self) -> tuple[SeriesTable | None, Location | None]:
        """Where the table and the rasters go, refused here if nothing could be written there."""
        from airflow_ee.core.series import SeriesTable

        table = rasters = None
        if text_or_none(self.table_uri) is not None:
            formats = ("csv",) if self.table_format == "csv" else ("parquet", "csv")
            table = SeriesTable(self._place(self.table_uri), formats)
            for file in (*table.files, table.parts / "part"):
                file.check_writable()
        if text_or_none(self.raster_uri) is not None:
            rasters = self._place(self.raster_uri)
            (rasters / "raster.tif").check_writable()
        return table, rasters

    def _place(self, uri: Any) -> Location:
        return location(uri, connection_for(uri, self.output_conn_id, self.gcp_conn_id))


def _one_native_grid(images: Sequence[Asset], band: str) -> PixelGrid | None:
    """The grid that all images share; a series on the grid of whichever image came first would not be one."""
    first = images[0].band(band).grid
    for image in images:
        if image.band(band).grid != first:
            raise ValueError(
                f"grid: {image.id} and {images[0].id} have different native grids; give grid, grid_from_asset, or scale and crs"
            )
    return first


def _summary(series: TimeSeries, made: Sequence[ImageResult], rows: int) -> dict[str, Any]:
    rasters = [item.raster for item in made if item.raster]
    return {
        "region_id": series.region_id,
        "images_unchanged": sum(item.requests == 0 for item in made),
        "rows_written": sum(item.rows for item in made),
        "table_rows": rows,
        "table_uris": [file.url for file in series.table.files] if series.table else [],
        "rasters": rasters[:MAXIMUM_LISTED],
        "raster_count": len(rasters),
        "bytes": sum(item.bytes for item in made),
        "requests": sum(item.requests for item in made),
    }
