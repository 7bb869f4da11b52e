"""Exports of images: as GeoTIFF or TFRecord files, or as an asset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_ee.core.batch import ExportImageRequest
from airflow_ee.core.destination import Destination
from airflow_ee.core.export_options import image_asset_options, image_file_options
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.grid_choice import choose_grid
from airflow_ee.operators.arguments import integer, number, read_boolean, text_or_none
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.export_base import EarthEngineExportBaseOperator
from airflow_ee.operators.export_destinations import chosen_destination, refuse, rest_options
from airflow_ee.operators.export_outputs import StoredObject, check_rasters, write_stac_item
from airflow_ee.operators.locations import connection_for, read_region

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.resources import Operation

__all__ = ["EarthEngineExportImageOperator", "image_options"]

# Side of the tiles that the service writes a GeoTIFF in; the size of a file is a multiple of it.
GEOTIFF_TILE_SIDE = 256


class EarthEngineExportImageOperator(EarthEngineExportBaseOperator):
    """
    Export an image to Cloud Storage, Drive or an asset.

    The operation runs at Earth Engine, for days if need be; the task starts it once, waits in the worker or the
    triggerer, and returns ``operation, state, description, uris, uri_count, manifest_uri, bytes, eecu_seconds, attempt,
    start, end``. ``uris`` are those that the operation tells; where these are nothing, or only the folder around it, the
    destination that was asked for. Names of files begin with it: ``gs://bucket/prefix`` becomes ``prefix.tif``, or
    ``prefix-<row>-<column>.tif`` when the service splits a large image.

    The grid has to be given: as ``grid``, exactly as it is, or as ``region`` with ``crs`` and one of ``scale``,
    ``crs_transform`` and ``dimensions``. A computed image has no grid of its own worth exporting.

    :param expression: REST graph, JSON text, a ``.json`` file, an ``ee`` object, or a callable
        ``f(context, **expression_kwargs)`` that returns one of these.
    :param expression_kwargs: Arguments of the callable.
    :param destination_uri: ``gs://bucket/prefix``, ``drive://folder/prefix`` or ``projects/{project}/assets/{path}``.
    :param file_export_options: Instead: ``fileExportOptions`` as the REST reference has it.
    :param asset_export_options: Instead: ``assetExportOptions`` as the REST reference has it.
    :param grid: ``PixelGrid`` or the REST object.
    :param region: ``[west, south, east, north]``, GeoJSON, the text of either, or a ``.geojson`` file.
    :param scale: Metres along one side of a pixel.
    :param crs: Code such as ``EPSG:32633``, or WKT.
    :param crs_transform: Six numbers: x scale, x shear, x, y shear, y scale, y.
    :param dimensions: ``[width, height]`` in pixels.
    :param max_pixels: Most pixels to export; None: the service's own 100 million.
    :param file_format: ``GEO_TIFF`` or ``TF_RECORD_IMAGE``; for files.
    :param cloud_optimized: Whether GeoTIFFs are cloud optimized.
    :param no_data: Value of masked pixels in GeoTIFFs; None: the service writes them as 0, like any other 0.
    :param file_dimensions: ``[width, height]`` of each GeoTIFF of a large export, multiples of 256.
    :param skip_empty_files: Whether GeoTIFFs that are masked throughout are left out.
    :param tf_record_options: ``tfRecordOptions`` as the REST reference has it: patch and margin dimensions, compression
        and so on; for TFRecords.
    :param pyramiding_policy: How an asset's lower resolutions are made: MEAN, SAMPLE, MIN, MAX, MODE or MEDIAN.
    :param pyramiding_policy_overrides: The same for single bands, by name.
    :param overwrite: Whether an asset that exists is replaced. Files always are.
    :param stac_item: Whether a STAC item, ``<prefix>.stac.json``, is written beside GeoTIFFs in Cloud Storage; its time is the
        params' ``start`` and ``end`` or the data interval.
    """

    template_fields: Sequence[str] = (
        *EarthEngineExportBaseOperator.template_fields,
        "expression",
        "expression_kwargs",
        "destination_uri",
        "file_export_options",
        "asset_export_options",
        "grid",
        "region",
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
        "stac_item",
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
        expression: Any,
        expression_kwargs: Mapping[str, Any] | None = None,
        destination_uri: str | None = None,
        file_export_options: Mapping[str, Any] | None = None,
        asset_export_options: Mapping[str, Any] | None = None,
        grid: PixelGrid | Mapping[str, Any] | str | None = None,
        region: Any = None,
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
        stac_item: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expression = expression
        self.expression_kwargs = expression_kwargs
        self.destination_uri = destination_uri
        self.file_export_options = file_export_options
        self.asset_export_options = asset_export_options
        self.grid = grid
        self.region = region
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
        self.stac_item = stac_item

    def build_request(self, context: Context) -> ExportImageRequest:
        """
        Return the request: everything that can be checked is checked here, before anything is sent.

        :param context: Airflow's context.
        """
        options = image_options(self)
        return ExportImageRequest(
            expression=self.resolve_expression(self.expression, self.expression_kwargs, context),
            description="unnamed",
            grid=self._grid(),
            max_pixels=integer("max_pixels", self.max_pixels),
            priority=integer("priority", self.priority),
            workload_tag=self.effective_workload_tag(context),
            **options,
        )

    def requested_destination(self) -> Destination:
        """Return where the export was told to write."""
        return chosen_destination(self, _BODIES)

    def verify(self, objects: Sequence[StoredObject], operation: Operation, conn_id: str | None) -> None:
        """
        See GeoTIFFs opened, and on the grid that was asked for.

        :param objects: All of them, none of them empty.
        :param operation: What has written them.
        :param conn_id: Airflow connection of the bucket.
        """
        rasters = [item for item in objects if item.uri.endswith(".tif")]
        if rasters:
            complete = not read_boolean("skip_empty_files", self.skip_empty_files) and not self.file_export_options
            check_rasters(rasters, self._grid(), operation, conn_id, complete=complete)

    def describe(
        self, context: Context, objects: Sequence[StoredObject], operation: Operation, conn_id: str | None
    ) -> None:
        """
        Write a STAC item beside GeoTIFFs, if it is wished for.

        :param context: Airflow's context.
        :param objects: All that the export has left.
        :param operation: What has written them.
        :param conn_id: Airflow connection of the bucket.
        """
        rasters = [item for item in objects if item.uri.endswith(".tif")]
        if read_boolean("stac_item", self.stac_item) and rasters:
            tags = {"operation": operation.name, "simulated": str(self.client.simulated).lower()}
            interval = resolve_interval(cast("Mapping[str, Any]", context))
            write_stac_item(self.requested_destination(), rasters, self._grid(), interval, conn_id, tags)

    def _grid(self) -> PixelGrid:
        return choose_grid(
            grid=self.grid,
            region=read_region(self.region, connection_for(self.region, None, self.gcp_conn_id)),
            scale=self.scale,
            crs=self.crs,
            crs_transform=self.crs_transform,
            dimensions=self.dimensions,
        )


def image_options(arguments: Any) -> dict[str, Any]:
    """The destination's options, by the name that the request has for them.

    :param arguments: Has those of :class:`EarthEngineExportImageOperator` that tell where an image goes, and in which form.
    """
    name, options = rest_options(arguments, _BODIES)
    if options is not None:
        why = f"{name} says it already"
        names = ("file_format", "cloud_optimized", "tf_record_options", *_GEOTIFF, *_ASSET)
        refuse(arguments, _DEFAULTS, *names, why=why)
        return {name: options}
    destination = Destination.parse(arguments.destination_uri or "")
    if destination.kind == "asset":
        return {"asset_export_options": _asset_options(arguments, destination)}
    return {"file_export_options": _file_options(arguments, destination)}


_BODIES = ("file_export_options", "asset_export_options")
_GEOTIFF = ("no_data", "file_dimensions", "skip_empty_files")
_ASSET = ("pyramiding_policy", "pyramiding_policy_overrides", "overwrite")
_DEFAULTS: dict[str, Sequence[Any]] = {
    "file_format": ("GEO_TIFF",),
    "cloud_optimized": (True, "True"),
    "skip_empty_files": (False, "False"),
    "overwrite": (False, "False"),
}


def _file_options(arguments: Any, destination: Destination) -> dict[str, Any]:
    refuse(arguments, _DEFAULTS, *_ASSET, why="it is for assets; files that exist are always replaced")
    if arguments.file_format != "GEO_TIFF":
        why = f"it is for GEO_TIFF, not for {arguments.file_format}"
        refuse(arguments, _DEFAULTS, "cloud_optimized", *_GEOTIFF, why=why)
    if arguments.file_format != "TF_RECORD_IMAGE":
        refuse(
            arguments, _DEFAULTS, "tf_record_options", why=f"it is for TF_RECORD_IMAGE, not for {arguments.file_format}"
        )
    return image_file_options(
        destination,
        file_format=arguments.file_format,
        cloud_optimized=read_boolean("cloud_optimized", arguments.cloud_optimized),
        no_data=_no_data(arguments.no_data),
        file_dimensions=_file_dimensions(arguments.file_dimensions),
        skip_empty_files=read_boolean("skip_empty_files", arguments.skip_empty_files),
        tf_record_options=arguments.tf_record_options,
    )


def _asset_options(arguments: Any, destination: Destination) -> dict[str, Any]:
    names = ("file_format", "cloud_optimized", "tf_record_options", *_GEOTIFF)
    refuse(arguments, _DEFAULTS, *names, why="it is for files, and the destination is an asset")
    return image_asset_options(
        destination,
        overwrite=read_boolean("overwrite", arguments.overwrite),
        pyramiding_policy=arguments.pyramiding_policy or None,
        pyramiding_policy_overrides=arguments.pyramiding_policy_overrides,
    )


def _no_data(value: float | str | None) -> float | None:
    found = number("no_data", value)
    if found is not None and not math.isfinite(found):
        raise ValueError(f"no_data must be a finite number, got {value!r}")
    return found


def _file_dimensions(value: Sequence[int] | str | None) -> tuple[int, int] | None:
    if value is None or text_or_none(value) is None:
        return None
    parts = value.lower().split("x") if isinstance(value, str) else list(value)
    sides = [integer("file_dimensions", part) or 0 for part in parts]
    if len(sides) != 2 or any(side < 1 or side % GEOTIFF_TILE_SIDE for side in sides):
        raise ValueError(f"file_dimensions must be [width, height] in multiples of {GEOTIFF_TILE_SIDE}, got {value!r}")
    return sides[0], sides[1]
