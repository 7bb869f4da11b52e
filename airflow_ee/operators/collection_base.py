"""Which images of a collection an operator works on, and what is exported of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_ee.operators.arguments import integer, refuse_unless, text_or_none
from airflow_ee.operators.base import EarthEngineBaseOperator
from airflow_ee.operators.collection_plan import CollectionPlan, placed
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.export_identity import ExportIdentity
from airflow_ee.operators.locations import connection_for, read_region
from airflow_ee.operators.starting import instance_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.batch import ExportImageRequest
    from airflow_ee.core.expression import Expression
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.image_query import ImageQuery
    from airflow_ee.core.region import Region
    from airflow_ee.core.resources import Asset
    from airflow_ee.operators.collection_plan import ImageExport

__all__ = ["EarthEngineCollectionBaseOperator"]

ON_EMPTY = ("skip", "fail")


class EarthEngineCollectionBaseOperator(EarthEngineBaseOperator):
    """
    The arguments of an export of many images that tell which, what of them, and where to.

    :param collection: Asset id, or the name of a preset such as ``MOD13Q1``.
    :param start: First day or moment (UTC).
    :param end: Day or moment after the last (UTC).
    :param lookback: Days or timedelta by which the start is moved back, for images that come late.
    :param filters: Conditions on properties of images, such as ``CLOUDY_PIXEL_PERCENTAGE<40``; all have to hold.
    :param region: Box, GeoJSON, text of either, or a ``.geojson`` file: images that meet it, cut to it.
    :param bands: Bands to export; None: all.
    :param expression: What is exported of an image; None: itself. A function ``f(context, image_id, **expression_kwargs)``
        that returns a graph or an ``ee`` object, the same each time; or a REST graph, its JSON text, a ``.json`` file or an
        ``ee`` object with ``{image_id}`` in the place of an image's id.
    :param expression_kwargs: Arguments of the function.
    :param destination_uri: ``gs://bucket/prefix``, ``drive://folder/prefix`` or ``projects/{project}/assets/{path}``, as a
        template in which ``{index}`` is the last part of an image's id, ``{image_id}`` all of it with ``_`` for ``/``, and
        ``{date}`` its day, also as ``{date:%Y/%m}``. Each image must get a place of its own.
    :param file_export_options: Instead: ``fileExportOptions`` as the REST reference has it, with such templates in it.
    :param asset_export_options: Instead: ``assetExportOptions`` as the REST reference has it, with such templates in it.
    :param grid: ``PixelGrid`` or the REST object, for all images. None of grid, scale, crs_transform and dimensions given:
        each image's own, the finest of its bands, cut to the region.
    :param scale: Metres along one side of a pixel; with ``region`` and ``crs``.
    :param crs: Code such as ``EPSG:32633``, or WKT.
    :param crs_transform: Six numbers: x scale, x shear, x, x shear, y scale, y.
    :param dimensions: ``[width, height]`` in pixels.
    :param max_pixels: Most pixels of an image to export; None: the service's own 100 million.
    :param file_format: ``GEO_TIFF`` or ``TF_RECORD_IMAGE``; for files.
    :param cloud_optimized: Whether GeoTIFFs are cloud optimized.
    :param no_data: Value of masked pixels in GeoTIFFs; None: the service writes them as 0, like any other 0.
    :param file_dimensions: ``[width, height]`` of each GeoTIFF of a large export, multiples of 256.
    :param skip_empty_files: Whether GeoTIFFs that are masked throughout are left out.
    :param tf_record_options: ``tfRecordOptions`` as the REST reference has it; for TFRecords.
    :param pyramiding_policy: How an asset's lower resolutions are made: MEAN, SAMPLE, MIN, MAX, MODE or MEDIAN.
    :param pyramiding_policy_overrides: The same for single bands, by name.
    :param overwrite: Whether assets that exist are replaced. Files always are.
    :param max_images: More images are refused, before anything is started.
    :param on_empty: No image in the interval: ``skip`` the task or ``fail``.
    """

    template_fields: Sequence[str] = (
        *EarthEngineBaseOperator.template_fields,
        "collection",
        "start",
        "end",
        "lookback",
        "filters",
        "region",
        "bands",
        "expression",
        "expression_kwargs",
        "destination_uri",
        "file_export_options",
        "asset_export_options",
        "grid",
        "scale",
        "crs",
        "crs_transform",
        "dimensions",
        "max_pixels",
        "file_format",
        "cloud_optimized",
        "no_data",
        "file_dimensions",
        "skip_empty_files",
        "tf_record_options",
        "pyramiding_policy",
        "pyramiding_policy_overrides",
        "overwrite",
        "max_images",
        "on_empty",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "expression": "json",
        "expression_kwargs": "json",
        "file_export_options": "json",
        "asset_export_options": "json",
        "grid": "json",
        "region": "json",
        "tf_record_options": "json",
        "pyramiding_policy_overrides": "json",
    }

    def __init__(
        self,
        *,
        collection: str,
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        lookback: timedelta | int | str | None = None,
        filters: str | Sequence[str] | None = None,
        region: Any = None,
        bands: Sequence[str] | str | None = None,
        expression: Any = None,
        expression_kwargs: Mapping[str, Any] | None = None,
        destination_uri: str | None = None,
        file_export_options: Mapping[str, Any] | None = None,
        asset_export_options: Mapping[str, Any] | None = None,
        grid: PixelGrid | Mapping[str, Any] | str | None = None,
        scale: float | str | None = None,
        crs: str | None = None,
        crs_transform: Sequence[float] | str | None = None,
        dimensions: Sequence[int] | str | None = None,
        max_pixels: int | str | None = None,
        file_format: str = "GEO_TIFF",
        cloud_optimized: bool | str = True,
        no_data: float | str | None = None,
        file_dimensions: Sequence[int] | str | None = None,
        skip_empty_files: bool | str = False,
        tf_record_options: Mapping[str, Any] | None = None,
        pyramiding_policy: str | None = None,
        pyramiding_policy_overrides: Mapping[str, str] | None = None,
        overwrite: bool | str = False,
        max_images: int | str = 10_000,
        on_empty: str = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.collection = collection
        self.start = start
        self.end = end
        self.lookback = lookback
        self.filters = filters
        self.region = region
        self.bands = bands
        self.expression = expression
        self.expression_kwargs = expression_kwargs
        self.destination_uri = destination_uri
        self.file_export_options = file_export_options
        self.asset_export_options = asset_export_options
        self.grid = grid
        self.scale = scale
        self.crs = crs
        self.crs_transform = crs_transform
        self.dimensions = dimensions
        self.max_pixels = max_pixels
        self.file_format = file_format
        self.cloud_optimized = cloud_optimized
        self.no_data = no_data
        self.file_dimensions = file_dimensions
        self.skip_empty_files = skip_empty_files
        self.tf_record_options = tf_record_options
        self.pyramiding_policy = pyramiding_policy
        self.pyramiding_policy_overrides = pyramiding_policy_overrides
        self.overwrite = overwrite
        self.max_images = max_images
        self.on_empty = on_empty

    def count(self, name: str) -> int:
        """
        Return a whole number that has to be given.

        :param name: The argument.
        """
        found = integer(name, getattr(self, name))
        if found is None:
            raise ValueError(f"{name} must be a whole number, got nothing")
        return found

    def exports(self, context: Context) -> list[ImageExport]:
        """
        Return one export for each image of the interval, checked, in the order in which they are started.

        :param context: Airflow's context.
        """
        region = read_region(self.region, connection_for(self.region, None, self.gcp_conn_id))
        plan = CollectionPlan(
            self, region=region, make=self._expressions(context), workload_tag=self.effective_workload_tag(context)
        )
        refuse_unless("on_empty", self.on_empty, ON_EMPTY)
        query = self._query(context, region)
        images = query.find(self.client)
        self.log.info("%s has %d images in %s", query.collection, len(images), query.told_interval)
        self._refuse_numbers(images, query)
        project, namespace = self.client.settings.project, self.hook.options.request_namespace

        def identify(request: ExportImageRequest) -> ExportIdentity:
            # How soon it runs, under which tag and description, does not tell one export from another.
            content = {"method": request.method, **request.content(), "project": project}
            return ExportIdentity.of(namespace, instance_of(context), content)

        exports = plan.exports(images, identify)
        if plan.outside:
            self.log.warning(
                "%d images have no pixel in the region, %s for example", len(plan.outside), plan.outside[0]
            )
        return exports

    def _expressions(self, context: Context) -> Callable[[str], Expression] | None:
        """What makes an image's expression of its id; None where it is the image itself."""
        if self.expression is None:
            if self.expression_kwargs:
                raise ValueError("expression_kwargs are given, but no expression that could take them")
            return None
        if callable(self.expression) and not hasattr(self.expression, "serialize"):
            arguments = dict(self.expression_kwargs or {})
            return lambda image_id: self.resolve_expression(
                self.expression, {"image_id": image_id, **arguments}, context
            )
        template = self.resolve_expression(self.expression, self.expression_kwargs, context)
        return lambda image_id: placed(template, image_id)

    def _query(self, context: Context, region: Region | None) -> ImageQuery:
        # Here and not above: they bring shapely, and DAG files are to be parsed quickly.
        from airflow_ee.core.filters import parse_filters
        from airflow_ee.core.image_query import ImageQuery
        from airflow_ee.core.presets import find_preset

        start, end = resolve_interval(context, start=self.start, end=self.end, lookback=self.lookback)
        preset, filters = find_preset(self.collection), text_or_none(self.filters) or ()
        return ImageQuery(
            collection=preset.collection if preset else self.collection,
            start=start,
            end=end,
            region=region,
            filters=parse_filters([filters] if isinstance(filters, str) else list(filters)),
        )

    def _refuse_numbers(self, images: Sequence[Asset], query: ImageQuery) -> None:
        if len(images) > self.count("max_images"):
            raise ValueError(
                f"{query.collection} has {len(images)} images in {query.told_interval}, more than max_images={self.max_images}"
            )
        if not images:
            words = f"{query.collection} has no image in {query.told_interval}"
            raise AirflowSkipException(words) if self.on_empty == "skip" else AirflowFailException(words)
