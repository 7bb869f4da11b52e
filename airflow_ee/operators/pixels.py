"""Operators that write the pixels of one image over one grid to one file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import integer, names, number, read_boolean, refuse_unless, text_or_none
from airflow_ee.operators.dates import data_interval
from airflow_ee.operators.locations import connection_for, location, read_region
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.decode import MaskKind
    from airflow_ee.core.estimate import Budget, Estimate
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.image_file import ImageFile
    from airflow_ee.core.pixels import PixelSource
    from airflow_ee.core.raster import RasterJob, RasterResult
    from airflow_ee.core.region import Region
    from airflow_ee.core.resources import Asset
    from airflow_ee.core.sinks.base import Location

__all__ = ["EarthEngineComputePixelsOperator", "EarthEngineGetPixelsOperator"]

OVERWRITE = ("if_changed", "always", "never")


class _PixelsOperator(EarthEnginePixelBaseOperator):
    """What getting stored pixels and computing them have in common: grid, format, mask, file."""

    template_fields: Sequence[str] = (
        *EarthEnginePixelBaseOperator.template_fields,
        "output_uri",
        "output_conn_id",
        "grid",
        "grid_from_asset",
        "region",
        "scale",
        "crs",
        "crs_transform",
        "dimensions",
        "bands",
        "file_format",
        "visualization_options",
        "mask",
        "nodata",
        "min_mask",
        "resampling",
        "overwrite",
        "max_pixels",
        "max_requests",
        "max_bytes",
        "max_concurrency",
        "estimate_only",
    )
    template_fields_renderers = {"grid": "json", "region": "json", "visualization_options": "json"}

    def __init__(
        self,
        *,
        output_uri: str,
        output_conn_id: str | None = None,
        grid: PixelGrid | Mapping[str, Any] | str | None = None,
        grid_from_asset: str | None = None,
        region: Any = None,
        scale: float | str | None = None,
        crs: str | None = None,
        crs_transform: Sequence[float] | str | None = None,
        dimensions: Sequence[int] | str | None = None,
        clip_to_region: bool = True,
        bands: Sequence[str] | None = None,
        file_format: str = "COG",
        visualization_options: Mapping[str, Any] | None = None,
        mask: str = "nodata",
        nodata: float | None = None,
        min_mask: float | None = None,
        resampling: str = "nearest",
        overwrite: str = "if_changed",
        high_volume: bool | None = None,
        max_pixels: int | None = 100_000_000,
        max_requests: int | None = None,
        max_bytes: int | None = None,
        estimate_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_uri = output_uri
        self.output_conn_id = output_conn_id
        self.grid = grid
        self.grid_from_asset = grid_from_asset
        self.region = region
        self.scale = scale
        self.crs = crs
        self.crs_transform = crs_transform
        self.dimensions = dimensions
        self.clip_to_region = clip_to_region
        self.bands = bands
        self.file_format = file_format
        self.visualization_options = visualization_options
        self.mask = mask
        self.nodata = nodata
        self.min_mask = min_mask
        self.resampling = resampling
        self.overwrite = overwrite
        self.high_volume = high_volume
        self.max_pixels = max_pixels
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.estimate_only = estimate_only

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the file; tell where it is and what is in it."""
        with fail_fast():
            refuse_unless("overwrite", self.overwrite, OVERWRITE)
            region = read_region(self.region, connection_for(self.region, self.output_conn_id, self.gcp_conn_id))
            form = self._file(region)
            target = location(self.output_uri, connection_for(self.output_uri, self.output_conn_id, self.gcp_conn_id))
            (target / "zarr.json" if form.file_format == "ZARR" else target).check_writable()
            with self.pixel_client(high_volume=self.high_volume) as client:
                job = self._job(client, form, region, target, context)
                estimate = form.estimate(client, job)
                self.log.info("%s: %s", target.url, estimate)
                self._budget().check(estimate)
                if read_boolean("estimate_only", self.estimate_only):
                    return {"estimate": estimate.to_json(), "uri": None, "simulated": client.simulated}
                result = self._kept(job) or form.make(client, job)
        return self._told(client, job, estimate, result)

    def _job(
        self, client: EarthEngineClient, form: ImageFile, region: Region | None, target: Location, context: Context
    ) -> RasterJob:
        """The work, checked as far as it can be before a pixel is asked for."""
        # Numpy, rasterio and their kin are for workers; parsing a DAG file must not load them.
        from airflow_ee.core.pixels import check_request

        asset = self._asset(client)
        grid = self._choose_grid(client, region, asset)
        source = self._source(client, asset, form.mask_kind, context)
        smooth = source.resampled(self.resampling)
        if smooth is not source and smooth.expression is not None:
            # What lies between two whole numbers is of another type.
            source = smooth.retyped([band.dtype.name for band in client.compute_bands(smooth.expression)])
        check_request(client, source, grid, None)
        start, end = (asset.start_time, asset.end_time) if asset else data_interval(context)
        return form.job(
            source,
            grid,
            target,
            source_version=(asset.update_time or "") if asset else "",
            start=start,
            end=end,
            max_concurrency=integer("max_concurrency", self.max_concurrency),
        )

    def _budget(self) -> Budget:
        from airflow_ee.core.estimate import Budget

        return Budget(
            max_pixels=integer("max_pixels", self.max_pixels),
            max_bytes=integer("max_bytes", self.max_bytes),
            max_requests=integer("max_requests", self.max_requests),
        )

    def _kept(self, job: RasterJob) -> RasterResult | None:
        """What is there already and stays."""
        if self.overwrite == "always":
            return None
        there = job.finished()
        if there is not None:
            self.log.info("%s is there, from the same request; overwrite='always' makes it anew", job.target.url)
        elif self.overwrite == "never" and job.target.exists():
            raise ValueError(
                f"overwrite='never': {job.target.url} is there, and was not made from this request; choose another output_uri, or "
                "overwrite='if_changed'"
            )
        return there

    def _told(
        self, client: EarthEngineClient, job: RasterJob, estimate: Estimate, result: RasterResult
    ) -> dict[str, Any]:
        from airflow_ee.core.pixels import request_digest

        if client.simulated:
            self.log.warning(
                "These are simulated pixels: they come from an emulator's own imagery, not from a satellite"
            )
        (output,), grid = result.outputs, job.layout.grid
        self.count(result.summary)
        self.log.info(
            "%s: %d bytes, %dx%d pixels; %s", output.url, output.bytes, grid.width, grid.height, result.summary
        )
        return {
            "uri": output.url,
            "bytes": output.bytes,
            "width": grid.width,
            "height": grid.height,
            "crs": grid.crs,
            "bands": list(job.source.names),
            **result.summary,
            "valid_fraction": result.valid_fraction,
            "unchanged": result.unchanged,
            "estimate": estimate.to_json(),
            "manifest_uri": job.manifest_url,
            "request_digest": request_digest(job.source, grid),
            "simulated": client.simulated,
        }

    @abstractmethod
    def _source(self, client: EarthEngineClient, asset: Asset | None, masks: MaskKind, context: Context) -> PixelSource:
        """What is asked for."""

    def _asset(self, client: EarthEngineClient) -> Asset | None:  # noqa: ARG002
        """The stored image that is asked for, if it is one."""
        return None

    def _file(self, region: Region | None) -> ImageFile:
        from airflow_ee.core.image_file import ImageFile

        return ImageFile(
            file_format=self.file_format,
            mask=self.mask,  # type: ignore[arg-type] # checked by the value
            nodata=number("nodata", self.nodata),
            clip_to=region if self.clip_to_region else None,
            visualization_options=self.visualization_options,
        )

    def _choose_grid(self, client: EarthEngineClient, region: Region | None, asset: Asset | None) -> PixelGrid:
        from airflow_ee.core.grid_choice import choose_grid

        arguments = {
            "grid": self.grid,
            "scale": self.scale,
            "crs": self.crs,
            "crs_transform": self.crs_transform,
            "dimensions": self.dimensions,
        }
        given = [name for name, value in arguments.items() if text_or_none(value) is not None]
        if self.grid_from_asset and given:
            raise ValueError(f"grid_from_asset excludes {', '.join(given)}")
        if self.grid_from_asset:
            native = _native_grid(client.get_asset(self.grid_from_asset), None)
        else:
            native = _native_grid(asset, names("bands", self.bands)) if asset else None
        return choose_grid(**arguments, region=region, native=native)  # type: ignore[arg-type]


class EarthEngineGetPixelsOperator(_PixelsOperator):
    """Write pixels of a stored image to a file.

    Masked pixels are told apart from zeros: unless ``mask="none"``, the mask is asked for with the pixels, which goes
    through computePixels and needs ``earthengine.computations.create`` besides ``earthengine.assets.get``. With
    ``mask="none"`` plain getPixels is called, and masked pixels are 0.

    Without ``grid``, ``grid_from_asset`` or ``scale``, ``crs_transform`` or ``dimensions``, the image's own grid is used,
    cut to ``region``.

    :param asset_id: image, such as ``MODIS/061/MOD13Q1/2020_06_09``
    :param output_uri: file to write: a local path or an object store's URL
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``
    :param grid: :class:`~airflow_ee.core.grid.PixelGrid` or the REST object, used exactly as it is
    :param grid_from_asset: image whose native grid is used, cut to ``region``
    :param region: ``[west, south, east, north]``, GeoJSON, the text of either, or a ``.geojson`` file
    :param scale: metres along one side of a pixel; snapped as Earth Engine does
    :param crs: code or WKT
    :param crs_transform: six numbers: scale x, shear x, x, shear y, scale y, y
    :param dimensions: ``[width, height]`` or ``"WIDTHxHEIGHT"``
    :param clip_to_region: pixels whose centre lies outside the region become masked; with ``mask="none"`` there is no mask,
        and nothing is clipped
    :param bands: names; None: all
    :param file_format: ``COG``, ``GEO_TIFF``, ``ZARR``, ``NPY``, ``NPZ``, ``TF_RECORD``, or a picture by the service: ``PNG``, ``JPEG``, ``AUTO_JPEG_PNG``
    :param visualization_options: for pictures: ``{"ranges": [{"min", "max"}], "paletteColors": [...], ...}``
    :param mask: ``nodata``, ``band``, ``fraction`` (a float32 mask of 0 to 1 for each band, in ZARR, NPY, NPZ and TF_RECORD) or ``none``; pictures
        have the service's own transparency
    :param nodata: value of masked pixels; None: NaN, the lowest of a signed or the highest of an unsigned type
    :param min_mask: lowest mask, a fraction of 1, that is valid; None: any above 0
    :param resampling: ``nearest``, ``bilinear`` or ``bicubic``; bands of codes, bits and days are always nearest
    :param overwrite: ``if_changed``: an output from the same request, of the image as it was last changed, stays; ``always``; or
        ``never``: an output from another request is an error
    :param high_volume: whether pixels come from the high-volume host; None: as the connection says
    :param max_pixels: refuse a larger grid
    :param max_requests: refuse what needs more requests
    :param max_bytes: refuse what needs more bytes of pixels and masks, as they travel
    :param max_concurrency: requests at once; None: the connection's
    :param estimate_only: tell what would be asked for, and ask for nothing
    """

    template_fields: Sequence[str] = ("asset_id", *_PixelsOperator.template_fields)

    def __init__(self, *, asset_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asset_id = asset_id

    def _asset(self, client: EarthEngineClient) -> Asset:
        asset = client.get_asset(self.asset_id)
        if asset.type != "IMAGE":
            raise ValueError(f"asset_id must be an image, {asset.id} is of type {asset.type}")
        return asset

    def _source(self, client: EarthEngineClient, asset: Asset | None, masks: MaskKind, context: Context) -> PixelSource:  # noqa: ARG002
        from airflow_ee.core.pixels import PixelSource

        image = cast("Asset", asset)
        chosen = names("bands", self.bands) or [band.id for band in image.bands]
        return PixelSource(
            asset_id=self.asset_id,
            bands=tuple(image.band(name) for name in chosen),
            masks=masks,
            min_mask=number("min_mask", self.min_mask),
            workload_tag=self.effective_workload_tag(context),
        )


class EarthEngineComputePixelsOperator(_PixelsOperator):
    """Write pixels of a computed image to a file.

    Takes all of :class:`EarthEngineGetPixelsOperator`'s arguments but ``asset_id``, and:

    :param expression: REST graph, its JSON text, a ``.json`` file, an ``ee`` object, or a callable
        ``f(context, **expression_kwargs)`` that returns any of these; a callable runs after ``ee`` has been initialised
    :param expression_kwargs: for a callable
    """

    template_fields: Sequence[str] = ("expression", "expression_kwargs", *_PixelsOperator.template_fields)
    template_ext: Sequence[str] = (".json",)
    template_fields_renderers = {
        **_PixelsOperator.template_fields_renderers,
        "expression": "json",
        "expression_kwargs": "json",
    }

    def __init__(self, *, expression: Any, expression_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.expression = expression
        self.expression_kwargs = expression_kwargs

    def _source(self, client: EarthEngineClient, asset: Asset | None, masks: MaskKind, context: Context) -> PixelSource:  # noqa: ARG002
        from airflow_ee.core.pixels import PixelSource

        expression = self.resolve_expression(self.expression, self.expression_kwargs, context)
        tag = self.effective_workload_tag(context)
        bands = {band.id: band for band in client.compute_bands(expression, workload_tag=tag)}
        chosen = names("bands", self.bands) or list(bands)
        missing = [name for name in chosen if name not in bands]
        if missing:
            raise ValueError(
                f"bands: the expression has no band {', '.join(missing)}; it has {', '.join(bands) or 'none'}"
            )
        return PixelSource(
            expression=expression,
            bands=tuple(bands[name] for name in chosen),
            masks=masks,
            min_mask=number("min_mask", self.min_mask),
            workload_tag=tag,
        )


def _native_grid(asset: Asset, bands: Sequence[str] | None) -> PixelGrid | None:
    if not asset.bands:
        raise ValueError(f"{asset.id} is of type {asset.type} and has no grid")
    return asset.band(bands[0]).grid if bands else asset.bands[0].grid
