"""Operators that write the pixels of one image over one grid to one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import integer, names, number, read_boolean, refuse_unless, text_or_none
from airflow_ee.operators.dates import data_interval
from airflow_ee.operators.engines import Engine, read_engine
from airflow_ee.operators.locations import connection_for, location, read_region
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.decode import MaskKind
    from airflow_ee.core.estimate import Budget, Estimate
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.image_file import ImageFile
    from airflow_ee.core.job import RasterWork
    from airflow_ee.core.pixels import PixelSource
    from airflow_ee.core.raster import RasterJob, RasterResult
    from airflow_ee.core.region import Region
    from airflow_ee.core.resources import Asset

__all__ = ["EarthEngineRasterBaseOperator"]

OVERWRITE = ("if_changed", "always", "never")


class EarthEngineRasterBaseOperator(EarthEnginePixelBaseOperator):
    """
    Base of operators that make one raster; their arguments are those of
    :class:`~airflow_ee.operators.pixels.EarthEngineGetPixelsOperator`.
    """

    asset_id: str | None = None
    expression: Any = None
    expression_kwargs: Mapping[str, Any] | None = None

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
        "engine",
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
        engine: Any = None,
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
        self.engine = engine

    def execute(self, context: Context) -> Any:
        """Write the file; tell where it is and what is in it."""
        with fail_fast():
            refuse_unless("overwrite", self.overwrite, OVERWRITE)
            engine = read_engine(self.engine)
            with self.pixel_client(high_volume=self.high_volume) as client:
                work = self.work(client, context)
                job, estimate = work.job, self.checked_estimate(client, work)
                if read_boolean("estimate_only", self.estimate_only):
                    return {"estimate": estimate.to_json(), "uri": None, "simulated": client.simulated}
                result = self._kept(job)
                if result is None and engine is not None:
                    return self._run(engine, client, work, estimate)
                result = result or work.file.make(client, job)
        return self._told(client, job, estimate, result)

    def checked_estimate(self, client: EarthEngineClient, work: RasterWork) -> Estimate:
        """
        What the work will ask for; refused when it is more than it may.

        :param client: Of the work.
        :param work: What is to be done.
        """
        estimate = work.estimate(client)
        self.log.info("%s: %s", work.target.url, estimate)
        self._budget().check(estimate)
        return estimate

    def work(self, client: EarthEngineClient, context: Context) -> RasterWork:
        """
        The work, checked as far as it can be before a pixel is asked for.

        :param client: Asks for what has to be known of the image.
        :param context: Airflow's context.
        """
        # Numpy, rasterio and their kin are for workers; parsing a DAG file must not load them.
        from airflow_ee.core.job import RasterWork
        from airflow_ee.core.pixels import check_request

        region = read_region(self.region, connection_for(self.region, self.output_conn_id, self.gcp_conn_id))
        form = self._file(region)
        target = location(self.output_uri, connection_for(self.output_uri, self.output_conn_id, self.gcp_conn_id))
        (target / "zarr.json" if form.file_format == "ZARR" else target).check_writable()
        asset = self._asset(client)
        grid = self._choose_grid(client, region, asset)
        source = self._source(client, asset, form.mask_kind, context)
        smooth = source.resampled(self.resampling)
        if smooth is not source and smooth.expression is not None:
            # What lies between two whole numbers is of another type.
            source = smooth.retyped([band.dtype.name for band in client.compute_bands(smooth.expression)])
        check_request(client, source, grid, None)
        start, end = (asset.start_time, asset.end_time) if asset else data_interval(context)
        return RasterWork(
            target=target,
            source=source,
            grid=grid,
            file=form,
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

        simulated = client.simulated or result.simulated
        if simulated:
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
            "simulated": simulated,
        }

    def _run(self, engine: Engine, client: EarthEngineClient, work: RasterWork, estimate: Estimate) -> dict[str, Any]:
        """Have an engine do the work."""
        from airflow_ee.core.raster import RasterResult
        from airflow_ee.core.sinks.layout import Output

        report = self.run_job(engine, client, work.target.url, work)
        made = report.summary
        result = RasterResult(
            outputs=(Output(url=made["uri"], bytes=made["bytes"]),),
            summary=report.counts(),
            valid_fraction=made["valid_fraction"],
            simulated=made["simulated"],
        )
        return self._told(client, work.job, estimate, result)

    def _asset(self, client: EarthEngineClient) -> Asset | None:
        """The stored image that is asked for, if it is one."""
        if self.asset_id is None:
            return None
        asset = client.get_asset(self.asset_id)
        if asset.type != "IMAGE":
            raise ValueError(f"asset_id must be an image, {asset.id} is of type {asset.type}")
        return asset

    def _source(self, client: EarthEngineClient, asset: Asset | None, masks: MaskKind, context: Context) -> PixelSource:
        """What is asked for."""
        from airflow_ee.core.pixels import PixelSource

        tag = self.effective_workload_tag(context)
        if asset:
            expression, found = None, asset.bands
        else:
            expression = self.resolve_expression(self.expression, self.expression_kwargs, context)
            found = client.compute_bands(expression, workload_tag=tag)
        bands = {band.id: band for band in found}
        chosen = names("bands", self.bands) or list(bands)
        missing = [name for name in chosen if name not in bands]
        if missing:
            what = asset.id if asset else "the expression"
            raise ValueError(f"bands: {what} has no band {', '.join(missing)}; it has {', '.join(bands) or 'none'}")
        return PixelSource(
            asset_id=self.asset_id,
            expression=expression,
            bands=tuple(bands[name] for name in chosen),
            masks=masks,
            min_mask=number("min_mask", self.min_mask),
            workload_tag=tag,
        )

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


def _native_grid(asset: Asset, bands: Sequence[str] | None) -> PixelGrid | None:
    if not asset.bands:
        raise ValueError(f"{asset.id} is of type {asset.type} and has no grid")
    return asset.band(bands[0]).grid if bands else asset.bands[0].grid
