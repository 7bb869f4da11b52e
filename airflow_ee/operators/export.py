"""Exports: batch operations of Earth Engine that write files or assets by themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_ee.core import wire
from airflow_ee.core.destination import Destination
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.grid_choice import choose_grid
from airflow_ee.core.resources import ExportImageRequest
from airflow_ee.operators.arguments import integer, number, text_or_none
from airflow_ee.operators.export_base import EarthEngineExportBaseOperator, read_boolean
from airflow_ee.operators.locations import connection_for, read_region

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["EarthEngineExportImageOperator"]

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
    :param pyramiding_policy: How an asset's lower resolutions are made: MEAN, SAMPLE, MIN, MAX, MODE or MEDIAN.
    :param pyramiding_policy_overrides: The same for single bands, by name.
    :param overwrite: Whether an asset that exists is replaced. Files always are.
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
        "pyramiding_policy",
        "pyramiding_policy_overrides",
        "overwrite",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "expression": "json",
        "expression_kwargs": "json",
        "file_export_options": "json",
        "asset_export_options": "json",
        "grid": "json",
        "region": "json",
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
        pyramiding_policy: str | None = None,
        pyramiding_policy_overrides: Mapping[str, str] | None = None,
        overwrite: bool | str = False,
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
        self.pyramiding_policy = pyramiding_policy
        self.pyramiding_policy_overrides = pyramiding_policy_overrides
        self.overwrite = overwrite

    def build_request(self, context: Context) -> ExportImageRequest:
        """
        Return the request: everything that can be checked is checked here, before anything is sent.

        :param context: Airflow's context.
        """
        file_options, asset_options = self._options()
        grid = choose_grid(
            grid=self.grid,
            region=read_region(self.region, connection_for(self.region, None, self.gcp_conn_id)),
            scale=self.scale,
            crs=self.crs,
            crs_transform=self.crs_transform,
            dimensions=self.dimensions,
        )
        return ExportImageRequest(
            expression=self.resolve_expression(self.expression, self.expression_kwargs, context),
            description="unnamed",
            grid=grid,
            max_pixels=integer("max_pixels", self.max_pixels),
            priority=integer("priority", self.priority),
            workload_tag=self.effective_workload_tag(context),
            file_export_options=file_options,
            asset_export_options=asset_options,
        )

    def requested_uri(self) -> str:
        """Return where the export was told to write."""
        options = self.file_export_options or self.asset_export_options
        return wire.destination_of(options).uri if options else Destination.parse(self.destination_uri or "").uri

    def _options(self) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
        """The REST bodies of the destination: file options and asset options, one of them None."""
        given = [
            name for name in ("destination_uri", "file_export_options", "asset_export_options") if getattr(self, name)
        ]
        if len(given) != 1:
            raise ValueError(
                "an export needs exactly one destination: destination_uri, file_export_options or asset_export_options, got "
                f"{' and '.join(given) or 'none'}"
            )
        if self.destination_uri:
            destination = Destination.parse(self.destination_uri)
            if destination.kind == "asset":
                return None, self._asset_options(destination)
            return self._file_options(destination), None
        wire.destination_of(self.file_export_options or self.asset_export_options or {})
        self._refuse("file_format", "cloud_optimized", *_GEOTIFF, *_ASSET, why=f"{given[0]} says it already")
        return self.file_export_options or None, self.asset_export_options or None

    def _file_options(self, destination: Destination) -> dict[str, Any]:
        self._refuse(*_ASSET, why="it is for assets; files that exist are always replaced")
        if self.file_format != "GEO_TIFF":
            self._refuse("cloud_optimized", *_GEOTIFF, why=f"it is for GEO_TIFF, not for {self.file_format}")
        return wire.file_export_options(
            destination,
            file_format=self.file_format,
            cloud_optimized=read_boolean("cloud_optimized", self.cloud_optimized),
            no_data=_no_data(self.no_data),
            file_dimensions=_file_dimensions(self.file_dimensions),
            skip_empty_files=read_boolean("skip_empty_files", self.skip_empty_files),
        )

    def _asset_options(self, destination: Destination) -> dict[str, Any]:
        self._refuse(
            "file_format", "cloud_optimized", *_GEOTIFF, why="it is for files, and the destination is an asset"
        )
        return wire.asset_export_options(
            destination,
            overwrite=read_boolean("overwrite", self.overwrite),
            pyramiding_policy=self.pyramiding_policy or None,
            pyramiding_policy_overrides=self.pyramiding_policy_overrides,
        )

    def _refuse(self, *names: str, why: str) -> None:
        """Refuse arguments that were given and would change nothing."""
        for name in names:
            if getattr(self, name) not in _UNTOUCHED.get(name, (None, "", "None")):
                raise ValueError(f"{name} must be left out: {why}")


_GEOTIFF = ("no_data", "file_dimensions", "skip_empty_files")
_ASSET = ("pyramiding_policy", "pyramiding_policy_overrides", "overwrite")
_UNTOUCHED: dict[str, tuple[Any, ...]] = {
    "file_format": ("GEO_TIFF",),
    "cloud_optimized": (True, "True"),
    "skip_empty_files": (False, "False"),
    "overwrite": (False, "False"),
    "pyramiding_policy_overrides": (None, {}, "", "None"),
}


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
