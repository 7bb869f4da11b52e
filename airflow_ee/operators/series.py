"""An operator that turns a collection into a time series: rows of a table for each region, and a raster for each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_ee.core.progress import Progress
from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import integer, names, number, read_boolean, refuse_unless, text_or_none
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.engines import Engine, read_engine
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator
from airflow_ee.operators.series_setup import SeriesSetup
from airflow_ee.triggers.imagery import EarthEngineImageryWaitTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.grouping import ImageGroup
    from airflow_ee.core.image_query import ImageQuery
    from airflow_ee.core.series_results import GroupResult
    from airflow_ee.core.series_work import SeriesWork
    from airflow_ee.core.timeseries import TimeSeries

__all__ = ["EarthEngineTimeSeriesOperator"]

MAXIMUM_LISTED = 20
STATISTICS = ("mean", "std", "min", "max", "median", "sum", "count")


class EarthEngineTimeSeriesOperator(EarthEnginePixelBaseOperator):
    """Fetch the images of a collection in an interval; write rows of statistics for each region, and a raster for each image.

    Every image, day or interval has a part file of its own, and the merged table is made from the parts. So a rerun, a
    backfill, or runs side by side neither lose nor double a row, and what is there unchanged is not fetched again.

    The interval is half open and is compared with an image's beginning. It comes from the arguments, else from the DAG
    run's params ``start`` and ``end``, else from a data interval that is not empty, else the task fails.

    Another sensor is one argument: ``collection="S2_SR_HARMONIZED"`` instead of ``"MOD13Q1"`` gives NDVI from its bands, by
    its quality rule, on its grid. The presets are ``MOD13Q1``, ``MYD13Q1``, ``MOD13A1``, ``VNP13A1``, ``S2_SR_HARMONIZED``,
    ``LC08`` and ``LC09``.

    :param collection: asset id, or the name of a preset such as ``MOD13Q1``
    :param bands: bands or indices to make rows of; give them or ``index``
    :param index: an index of the preset such as ``NDVI``, or several; computed from physical values where it is no band
    :param start: first day or moment (UTC)
    :param end: day or moment after the last (UTC)
    :param lookback: days or timedelta by which the start is moved back, for images that come late or are revised
    :param filters: conditions on properties of images, such as ``CLOUDY_PIXEL_PERCENTAGE<40``; all have to hold
    :param region: box, GeoJSON, text of either, or a ``.geojson`` file; None: the whole grid
    :param regions_uri: many regions instead of one: GeoJSON, GeoParquet, a Parquet or CSV table with geometry as text, or a
        table asset; each region has a row of its own, and each image is fetched once for all of them
    :param region_id_property: property of the region's GeoJSON feature, or column of ``regions_uri``, that names it in the table
    :param grid: PixelGrid or the REST object, used exactly as it is
    :param grid_from_asset: image whose native grid is used, cut to the regions
    :param scale: metres along one side of a pixel; with ``region``
    :param crs: code or WKT for ``scale``; None: the collection's own, or the UTM zone of the middle of the regions. None of grid,
        grid_from_asset and scale given: the collection's native grid, in that same zone
    :param group_by: what makes a row: each ``image``; a ``day`` (of UTC; for scenes of Sentinel-2 and
        Landsat of the nautical time zone of the regions); or the whole ``interval``
    :param mosaic: of several images of a day or an interval, pixel by pixel: ``first``, ``last``, ``mean``, ``median``, ``min``
        or ``max`` of the good values
    :param quality: ``preset``: the preset's rule; None: every valid pixel; or a rule such as ``SummaryQA<=1``,
        ``cs_cdf>=0.60``, ``SCL in (4, 5, 6)``, ``QA_PIXEL.cloud==0`` or ``LANDSAT_CLEAR``
    :param statistics: of ``mean``, ``std``, ``min``, ``max``, ``median``, ``sum`` and ``count``; the last three are columns only when
        asked for
    :param percentiles: numbers from 0 to 100: columns ``p10`` and so on
    :param weights: ``coverage`` (fraction of the pixel inside the region), ``center`` or ``area``
    :param min_valid_fraction: rows with less of the region's weight valid have empty statistics
    :param on_empty: no image in the interval: ``skip`` the task, ``fail``, or ``defer``: wait in the triggerer for imagery
    :param on_revised: images that changed since they were recorded: ``replace`` or ``keep`` what is there
    :param poll_interval: seconds between two looks for imagery when deferred
    :param table_uri: place of the table, without suffix: ``/data/ndvi`` makes ``/data/ndvi.parquet`` and ``/data/ndvi.csv``
    :param table_format: ``parquet`` (and a CSV beside it) or ``csv``
    :param raster_uri: folder for a GeoTIFF of each image, day or interval, in digital numbers with scale and offset
    :param cube_uri: a Zarr store of (time, y, x) that each image, day or interval is added to as a date, in any order, from many runs
        at once; float32, NaN where a pixel is not good; needs ``airflow-ee[zarr]``
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``
    :param max_pixels: refuse to fetch more pixels of an image
    :param max_concurrency: requests at once; None: the connection's
    :param estimate_only: tell what would be fetched, and fetch and write nothing
    :param engine: where the work is done: None or ``threads``, in threads of this task; ``processes``, ``dask``, ``spark``, ``beam`` or an
        engine of :mod:`airflow_ee.engines`; the outputs are the same
    """

    template_fields: Sequence[str] = (
        *EarthEnginePixelBaseOperator.template_fields,
        "collection",
        "bands",
        "index",
        "start",
        "end",
        "lookback",
        "filters",
        "region",
        "regions_uri",
        "region_id_property",
        "grid",
        "grid_from_asset",
        "scale",
        "crs",
        "group_by",
        "mosaic",
        "quality",
        "statistics",
        "percentiles",
        "weights",
        "min_valid_fraction",
        "on_empty",
        "on_revised",
        "table_uri",
        "table_format",
        "raster_uri",
        "cube_uri",
        "output_conn_id",
        "max_pixels",
        "max_concurrency",
        "estimate_only",
        "engine",
    )
    template_fields_renderers = {"grid": "json", "region": "json"}

    def __init__(
        self,
        *,
        collection: str,
        bands: Sequence[str] | None = None,
        index: str | Sequence[str] | None = None,
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        lookback: timedelta | int | str | None = None,
        filters: str | Sequence[str] | None = None,
        region: Any = None,
        regions_uri: str | None = None,
        region_id_property: str | None = None,
        grid: PixelGrid | Mapping[str, Any] | str | None = None,
        grid_from_asset: str | None = None,
        scale: float | str | None = None,
        crs: str | None = None,
        group_by: str = "image",
        mosaic: str = "first",
        quality: str | None = "preset",
        statistics: Sequence[str] | str = ("mean", "std", "min", "max"),
        percentiles: Sequence[float] | str = (),
        weights: str = "coverage",
        min_valid_fraction: float = 0.0,
        on_empty: str = "skip",
        on_revised: str = "replace",
        poll_interval: float = 900.0,
        table_uri: str | None = None,
        table_format: str = "parquet",
        raster_uri: str | None = None,
        cube_uri: str | None = None,
        output_conn_id: str | None = None,
        max_pixels: int | None = 100_000_000,
        estimate_only: bool | str = False,
        engine: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.collection = collection
        self.bands = bands
        self.index = index
        self.start = start
        self.end = end
        self.lookback = lookback
        self.filters = filters
        self.region = region
        self.regions_uri = regions_uri
        self.region_id_property = region_id_property
        self.grid = grid
        self.grid_from_asset = grid_from_asset
        self.scale = scale
        self.crs = crs
        self.group_by = group_by
        self.mosaic = mosaic
        self.quality = quality
        self.statistics = statistics
        self.percentiles = percentiles
        self.weights = weights
        self.min_valid_fraction = min_valid_fraction
        self.on_empty = on_empty
        self.on_revised = on_revised
        self.poll_interval = poll_interval
        self.table_uri = table_uri
        self.table_format = table_format
        self.raster_uri = raster_uri
        self.cube_uri = cube_uri
        self.output_conn_id = output_conn_id
        self.max_pixels = max_pixels
        self.estimate_only = estimate_only
        self.engine = engine

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the series of the interval; tell what was made and where."""
        return self._make_series(context)

    def execute_with_imagery(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """
        Go on when the trigger has seen imagery.

        :param context: Airflow's context.
        :param event: What the trigger tells.
        """
        if event.get("status") != "done":
            raise AirflowFailException(f"No imagery came: {event.get('message')}")
        return self._make_series(context)

    def _make_series(self, context: Context) -> dict[str, Any]:
        from airflow_ee.core.series_work import SeriesWork

        # Not execute itself: Airflow lets only its own runner call that.
        with fail_fast():
            self._check_arguments()
            engine = read_engine(self.engine)
            asked = resolve_interval(context, start=self.start, end=self.end, lookback=self.lookback)
            setup = SeriesSetup(self)
            with self.pixel_client() as client:
                query = setup.query(client, asked)
                images = query.find(client)
                self.log.info("%s has %d images in %s", query.collection, len(images), query.told_interval)
                if not images:
                    self._without_images(query)
                series, groups = setup.series(client, query, images, self.effective_workload_tag(context))
                for warning in setup.warnings:
                    self.log.warning("%s", warning)
                most_pixels = integer("max_pixels", self.max_pixels)
                start, end = (moment.isoformat() for moment in asked)
                summary = {
                    "source": query.collection,
                    "start": start,
                    "end": end,
                    "images": len(images),
                    "groups": len(groups),
                }
                if read_boolean("estimate_only", self.estimate_only):
                    estimate = dataclasses.asdict(series.estimate(client, groups, max_pixels=most_pixels))
                    self.log.info("Estimate, nothing was fetched: %s", estimate)
                    return {**summary, "estimate": estimate}
                work = SeriesWork(
                    series=series,
                    groups=tuple(groups),
                    preset_name=setup.preset_name,
                    max_pixels=most_pixels,
                    max_concurrency=integer("max_concurrency", self.max_concurrency),
                )
                made, rows, counts = self._make(engine, client, work)
        if client.simulated:
            self.log.warning("This series is simulated: its pixels are an emulator's, not a satellite's")
        told = _summary(series, groups, made, rows)
        return {**summary, **told, **self.count(counts), "simulated": client.simulated}

    def _make(
        self, engine: Engine | None, client: EarthEngineClient, work: SeriesWork
    ) -> tuple[list[GroupResult], int, Mapping[str, Any]]:
        """What became of each group, the rows of the merged table, and what it took."""
        series, groups = work.series, work.groups
        if engine is not None:
            missing = work.left(client, range(len(groups)))
            report = self.run_job(engine, client, work.output_url, work)
            return work.results(missing), report.summary["table_rows"], report.counts()
        progress = Progress()
        made = series.make(
            client, groups, max_pixels=work.max_pixels, max_concurrency=work.max_concurrency, progress=progress
        )
        return made, series.table.merge() if series.table else 0, progress.summary()

    def _check_arguments(self) -> None:
        refuse_unless("weights", self.weights, ("coverage", "center", "area"))
        refuse_unless("group_by", self.group_by, ("image", "day", "interval"))
        refuse_unless("mosaic", self.mosaic, ("first", "last", "mean", "median", "min", "max"))
        refuse_unless("on_empty", self.on_empty, ("skip", "fail", "defer"))
        refuse_unless("on_revised", self.on_revised, ("replace", "keep"))
        refuse_unless("table_format", self.table_format, ("parquet", "csv"))
        for name in names("statistics", self.statistics) or ():
            refuse_unless("statistics", name, STATISTICS)
        if (text_or_none(self.bands) is None) == (text_or_none(self.index) is None):
            raise ValueError("give either bands or index")
        if not 0 <= (number("min_valid_fraction", self.min_valid_fraction) or 0.0) <= 1:
            raise ValueError(f"min_valid_fraction must be in 0..1, got {self.min_valid_fraction}")
        if self.grid_from_asset and (self.grid or self.scale or self.crs):
            raise ValueError("grid_from_asset excludes grid, scale and crs")
        if text_or_none(self.region) is not None and text_or_none(self.regions_uri) is not None:
            raise ValueError("region and regions_uri exclude each other")
        if self.group_by == "interval" and text_or_none(self.lookback) is not None:
            raise ValueError(
                "lookback would make the interval itself longer with group_by='interval'; use 'day', or run earlier "
                "intervals again"
            )
        self._check_outputs()

    def _check_outputs(self) -> None:
        table, rasters = text_or_none(self.table_uri), text_or_none(self.raster_uri)
        if not (table or rasters or text_or_none(self.cube_uri)):
            raise ValueError("give table_uri, raster_uri or cube_uri: otherwise nothing would be kept")
        if self.on_revised == "keep" and not table:
            raise ValueError("on_revised='keep' needs table_uri: without a table nothing is recorded of an image")
        if table and table.endswith((".parquet", ".csv")):
            raise ValueError(f"table_uri names the table without its suffix, got {self.table_uri!r}")

    def _without_images(self, query: ImageQuery) -> None:
        message = f"{query.collection} has no image in {query.told_interval}; products come days to weeks late"
        if self.on_empty == "fail":
            raise AirflowFailException(message)
        if self.on_empty == "skip":
            raise AirflowSkipException(message)
        self.log.info("%s; waiting for it", message)
        self.defer(
            trigger=EarthEngineImageryWaitTrigger(
                query=query.to_json(),
                project_id=self.project_id,
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
                poll_interval=number("poll_interval", self.poll_interval) or 900.0,
            ),
            method_name="execute_with_imagery",
            timeout=self.execution_timeout,
        )


def _summary(
    series: TimeSeries, groups: Sequence[ImageGroup], made: Sequence[GroupResult], rows: int
) -> dict[str, Any]:
    rasters = [item.raster for item in made if item.raster]
    return {
        "region_id": series.regions_key,
        "regions": len(series.regions),
        "images_unchanged": sum(len(group.images) for group, item in zip(groups, made, strict=True) if item.unchanged),
        "rows_written": sum(item.rows for item in made),
        "table_rows": rows,
        "table_uris": [file.url for file in series.table.files] if series.table else [],
        "cube_uri": series.cube.place.url if series.cube else None,
        "rasters": rasters[:MAXIMUM_LISTED],
        "raster_count": len(rasters),
        "bytes": sum(item.bytes for item in made),
    }
