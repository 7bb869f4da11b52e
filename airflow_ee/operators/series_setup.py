"""From the arguments of the series operator to the query, the groups and the series that they mean.

Numpy, rasterio and their kin are imported where they are used: operators import this module while Airflow parses DAG files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from airflow_ee.operators.arguments import names, number, text_or_none
from airflow_ee.operators.locations import connection_for, location, read_region

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.expression import Expression
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.grouping import Companions, ImageGroup
    from airflow_ee.core.image_query import ImageQuery
    from airflow_ee.core.observations import SeriesBand
    from airflow_ee.core.quality import QualityRule
    from airflow_ee.core.region_file import NamedRegion
    from airflow_ee.core.resources import Asset
    from airflow_ee.core.series import SeriesTable
    from airflow_ee.core.series_cube import SeriesCube
    from airflow_ee.core.sinks.base import Location
    from airflow_ee.core.timeseries import TimeSeries
    from airflow_ee.operators.series import EarthEngineTimeSeriesOperator

__all__ = ["FeatureSource", "SeriesSetup"]

FILE_SUFFIXES = (".geojson", ".json", ".parquet", ".geoparquet", ".csv")
FEATURES_PAGE_SIZE = 1000


class FeatureSource(Protocol):
    """A client that lists the features of a table."""

    def compute_features(self, expression: Expression, *, page_size: int) -> Iterator[dict[str, Any]]:
        """``projects.table.computeFeatures``: GeoJSON features, page by page."""


class SeriesSetup:
    """
    What an operator's rendered arguments mean.

    :param operator: The operator, its arguments checked and rendered.
    """

    def __init__(self, operator: EarthEngineTimeSeriesOperator) -> None:
        from airflow_ee.core.presets import find_preset
        from airflow_ee.core.series_sources import refuse_collection

        self._operator = operator
        self._table, self._rasters = self._outputs()
        self._preset = find_preset(operator.collection)
        self._collection = self._preset.collection if self._preset else operator.collection
        refuse_collection(self._collection)
        self._bands = self._series_bands()
        self._regions: tuple[NamedRegion, ...] = ()
        self._asked: tuple[datetime, datetime] | None = None
        self._hours = 0
        self.warnings: list[str] = []
        """What a user should know of the series."""

    def query(self, client: EarthEngineClient, asked: tuple[datetime, datetime]) -> ImageQuery:
        """
        The images that are looked for.

        :param client: For regions that are a table asset.
        :param asked: The interval.
        """
        from airflow_ee.core.filters import parse_filters
        from airflow_ee.core.grouping import day_hours, listing_interval
        from airflow_ee.core.image_query import ImageQuery
        from airflow_ee.core.series_grid import area_of

        self._regions = self._read_regions(client)
        area = area_of(self._regions)
        # Composites are dated by UTC; only what is seen at one moment has a local day.
        scenes = self._preset is not None and self._preset.days == 0
        self._hours, self._asked = day_hours(area) if scenes else 0, asked
        start, end = listing_interval(*asked, self._operator.group_by, self._hours)  # type: ignore[arg-type] # checked
        return ImageQuery(
            collection=self._collection,
            start=start,
            end=end,
            region=area,
            filters=parse_filters(self._filters()),
        )

    def series(
        self, client: EarthEngineClient, query: ImageQuery, images: Sequence[Asset], workload_tag: str
    ) -> tuple[TimeSeries, list[ImageGroup]]:
        """
        The series, and the groups of images that its rows are made of.

        :param client: For score images and native grids.
        :param query: What was looked for.
        :param images: What was found, at least one.
        :param workload_tag: For requests.
        """
        from airflow_ee.core.grouping import group_images
        from airflow_ee.core.series_sources import check_images, quality_rule
        from airflow_ee.core.timeseries import TimeSeries

        operator = self._operator
        rule = quality_rule(operator.quality, self._preset, self._collection, images[0])
        check_images(images, self._bands, rule)
        groups = group_images(
            images,
            by=operator.group_by,  # type: ignore[arg-type] # checked by the operator
            interval=self._asked or (query.start, query.end),
            hours=self._hours,
            image_end=self._preset.image_end if self._preset else None,
            companions=self._companions(client, query, images, rule),
        )
        grid = self._grid(client, images)
        series = TimeSeries(
            collection=self._collection,
            preset=self._preset,
            bands=self._bands,
            rule=rule,
            regions=self._regions,
            regions_key=text_or_none(operator.regions_uri) or self._regions[0].id,
            grid=grid,
            weights=operator.weights,  # type: ignore[arg-type] # checked by the operator
            group_by=operator.group_by,  # type: ignore[arg-type] # checked by the operator
            mosaic=operator.mosaic,  # type: ignore[arg-type] # checked by the operator
            day_hours=self._hours,
            rows=self._row_maker(),
            on_revised=operator.on_revised,
            table=self._table,
            rasters=self._rasters,
            cube=self._cube(grid),
            workload_tag=workload_tag,
        )
        self._warn(series.grid, images[0])
        return series, groups

    @property
    def preset_name(self) -> str | None:
        """By which the preset is found, if there is one."""
        return self._operator.collection if self._preset else None

    def _row_maker(self) -> Any:
        from airflow_ee.core.series_rows import RowMaker

        operator = self._operator
        percentiles = operator.percentiles
        if isinstance(percentiles, str):
            percentiles = [float(part) for part in names("percentiles", percentiles) or ()]
        return RowMaker(
            collection=self._collection,
            regions=self._regions,
            statistics=tuple(names("statistics", operator.statistics) or ()),
            percentiles=tuple(number("percentiles", item) or 0.0 for item in percentiles),
            min_valid_fraction=number("min_valid_fraction", operator.min_valid_fraction) or 0.0,
        )

    def _series_bands(self) -> tuple[SeriesBand, ...]:
        from airflow_ee.core.observations import series_bands

        operator = self._operator
        indices = names("index", operator.index) or []
        if indices and self._preset is None:
            raise ValueError(
                f"index needs a collection with a preset, {operator.collection} has none; give bands instead"
            )
        return series_bands(self._preset, names("bands", operator.bands) or [], indices)

    def _filters(self) -> list[str]:
        filters = text_or_none(self._operator.filters)
        if filters is None:
            return []
        return [filters] if isinstance(filters, str) else list(filters)

    def _read_regions(self, client: EarthEngineClient) -> tuple[NamedRegion, ...]:
        from airflow_ee.core.region_file import NamedRegion, read_regions, regions_of_features
        from airflow_ee.core.series_sources import region_name

        operator = self._operator
        id_property = text_or_none(operator.region_id_property)
        uri = text_or_none(operator.regions_uri)
        if uri is None:
            region = read_region(operator.region, self._connection(operator.region))
            if region is not None and region.features > 1:
                raise ValueError(
                    f"region has {region.features} features, and is one area; give the file as regions_uri to have rows for each"
                )
            return (NamedRegion(id=region_name(region, id_property), region=region),)
        if uri.lower().endswith(FILE_SUFFIXES):
            file = location(uri, self._connection(uri))
            if not file.exists():
                raise ValueError(f"regions_uri: there is no file {file.url}")
            return read_regions(uri, file.read_bytes(), id_property)
        features = cast(FeatureSource, client).compute_features(_table(uri), page_size=FEATURES_PAGE_SIZE)
        return regions_of_features(features, id_property)

    def _companions(
        self, client: EarthEngineClient, query: ImageQuery, images: Sequence[Asset], rule: QualityRule | None
    ) -> Companions:
        """Score images of the same interval, by collection and index; tells how many images have none."""
        from airflow_ee.core.series_sources import companion_collections

        found = {}
        for collection in companion_collections(rule, images[0]):
            scores = client.list_images(collection, start=query.start, end=query.end, region=query.region)
            found[collection] = {score.index: score for score in scores}
            missing = [image.id for image in images if image.index not in found[collection]]
            if missing:
                self.warnings.append(
                    f"{len(missing)} of {len(images)} images have no score image in {collection}: no pixel of theirs counts as "
                    f"clear until it is there (first {missing[0]})"
                )
        return found

    def _grid(self, client: EarthEngineClient, images: Sequence[Asset]) -> PixelGrid:
        from airflow_ee.core.series_grid import series_grid

        operator = self._operator
        band, pixel_metres = self._finest(images[0])
        from_asset = text_or_none(operator.grid_from_asset)
        return series_grid(
            grid=None if text_or_none(operator.grid) is None else operator.grid,
            scale=text_or_none(operator.scale),
            crs=text_or_none(operator.crs),
            from_asset=None if from_asset is None else client.get_asset(from_asset),
            images=images,
            band=band,
            pixel_metres=pixel_metres,
            preset=self._preset,
            regions=self._regions,
        )

    def _finest(self, image: Asset) -> tuple[str, float | None]:
        """The input with the smallest pixels, and their side where the preset knows."""
        inputs = list(dict.fromkeys(name for band in self._bands for name in band.inputs))
        for name in inputs:
            image.band(name)
        if self._preset is None:
            return inputs[0], None
        preset = self._preset
        sizes = {name: preset.band(name).pixel_metres or preset.native.pixel_metres for name in inputs}
        finest = min(inputs, key=lambda name: sizes[name])
        return finest, sizes[finest]

    def _warn(self, grid: PixelGrid, image: Asset) -> None:
        from airflow_ee.core.series_grid import resolution_warning

        for name in dict.fromkeys(name for band in self._bands for name in band.inputs):
            warning = resolution_warning(grid, image.band(name).grid, name)
            if warning is not None:
                self.warnings.append(warning)

    def _outputs(self) -> tuple[SeriesTable | None, Location | None]:
        """Where the table and the rasters go, refused here if nothing could be written there."""
        from airflow_ee.core.series import SeriesTable

        operator = self._operator
        table = rasters = None
        if text_or_none(operator.table_uri) is not None:
            formats = ("csv",) if operator.table_format == "csv" else ("parquet", "csv")
            table = SeriesTable(self._place(operator.table_uri), formats)
            for file in (*table.files, table.parts / "part"):
                file.check_writable()
        if text_or_none(operator.raster_uri) is not None:
            rasters = self._place(operator.raster_uri)
            (rasters / "raster.tif").check_writable()
        return table, rasters

    def _cube(self, grid: PixelGrid) -> SeriesCube | None:
        """The cube that the series is added to, refused here if it is another series'."""
        uri = self._operator.cube_uri
        if text_or_none(uri) is None:
            return None
        try:
            from airflow_ee.core.series_cube import SeriesCube
        except ImportError as missing:
            raise ValueError("cube_uri needs zarr and numcodecs: pip install 'airflow-ee[zarr]'") from missing

        place = self._place(uri)
        (place / "zarr.json").check_writable()
        cube = SeriesCube(place=place, grid=grid, bands=self._bands)
        self._operator.log.info("The cube %s has %d dates", place.url, len(cube.dates))
        return cube

    def _place(self, uri: Any) -> Location:
        return location(uri, self._connection(uri))

    def _connection(self, uri: Any) -> str | None:
        return connection_for(uri, self._operator.output_conn_id, self._operator.gcp_conn_id)


def _table(asset_id: str) -> Expression:
    from airflow_ee.core.expression import Expression, constant, invoke

    return Expression.parse(
        {"result": "0", "values": {"0": invoke("Collection.loadTable", tableId=constant(asset_id))}}
    )  # fmt: skip
