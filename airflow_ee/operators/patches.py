"""An operator that cuts training patches around points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import integer, names, number, refuse_unless, text_or_none
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.engines import Engine, read_engine
from airflow_ee.operators.locations import connection_for, location
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator
from airflow_ee.operators.point_arguments import resolve_points

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.patch_fetch import PatchSource
    from airflow_ee.core.patch_plan import PatchEstimate
    from airflow_ee.core.patches import PatchDataset, PatchSummary
    from airflow_ee.core.points import Points
    from airflow_ee.core.resources import Asset

__all__ = ["EarthEnginePatchesOperator"]

MAXIMUM_LISTED = 20
# Around a single point, so that a box of all points has an area.
MARGIN_DEGREES = 0.001


class EarthEnginePatchesOperator(EarthEnginePixelBaseOperator):
    """Cut patches of pixels around points, for training, and write them as shards in the points' order.

    Every point has one patch of each image, with its labels and the mask of every band. The shards, a manifest and ``dataset.json``,
    which tells a reader all about them, lie in one folder. A task that was killed fetches only the shards that are missing, and equal arguments make equal
    bytes; other points, images or arguments make the dataset anew.

    With ``scale``, patches lie on the lattice of ``scale`` and ``crs``, without on the images' own, so that pixels are not resampled. A patch's
    centre is within half a pixel of its point; with ``snap=False`` it is the point.

    :param points: ``.geojson``, ``.csv`` or ``.parquet`` file (path or URL); GeoJSON; a table asset; or
        ``{"count": 500, "region": ..., "seed": 7}`` for points drawn evenly over an area
    :param images: image ids, and collections, of which all images in the interval are taken; or:
    :param expression: a computed image, as of :class:`~airflow_ee.operators.pixels.EarthEngineComputePixelsOperator`
    :param expression_kwargs: for a callable
    :param start: first day or moment (UTC) for images of a collection; else the params', else the data interval's
    :param end: day or moment after the last (UTC)
    :param bands: names; None: all
    :param patch_size: pixels along a side, or ``[width, height]``
    :param scale: metres along one side of a pixel
    :param crs: code or WKT, with ``scale``; None: each point's own UTM zone
    :param grid_from_asset: image on whose native lattice patches lie
    :param snap: whether pixels lie on a lattice
    :param output_uri: folder to write to: a local path or an object store's URL
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``
    :param file_format: ``TF_RECORD``, ``NPZ`` or ``ZARR``
    :param compression: ``GZIP`` or ``NONE``; Zarr has a codec of its own
    :param label_properties: properties or columns of the points that go into every patch
    :param shards: how many shards
    :param points_per_shard: points of a shard, instead; with neither, shards have about 128 MiB of pixels
    :param mask: ``band``: a mask for each band, asked for with the pixels; ``none``: stored images are read by plain getPixels, and masked pixels are 0
    :param min_mask: lowest mask, a fraction of 1, that is valid; None: any above 0
    :param on_masked: what becomes of a patch that has too few pixels that are valid in every band: ``keep``, ``skip`` or ``fail``
    :param min_valid_fraction: how many pixels, a fraction of 1, are enough; a patch without any never has enough
    :param on_empty: no image in the interval: ``skip`` the task or ``fail``
    :param high_volume: whether pixels come from the high-volume host; None: as the connection says
    :param max_pixels: refuse more pixels in all patches
    :param max_requests: refuse more requests
    :param max_bytes: refuse more bytes of answers
    :param max_concurrency: requests at once; None: the connection's
    :param estimate_only: tell what it would take, and fetch nothing
    :param engine: where the work is done: None or ``threads``, in threads of this task; ``processes``, ``dask``, ``spark``, ``beam`` or an
        engine of :mod:`airflow_ee.engines`; the output is the same
    """

    template_fields: Sequence[str] = (
        *EarthEnginePixelBaseOperator.template_fields,
        "points",
        "images",
        "expression",
        "expression_kwargs",
        "start",
        "end",
        "bands",
        "patch_size",
        "scale",
        "crs",
        "grid_from_asset",
        "output_uri",
        "output_conn_id",
        "file_format",
        "compression",
        "label_properties",
        "shards",
        "points_per_shard",
        "mask",
        "min_mask",
        "on_masked",
        "min_valid_fraction",
        "on_empty",
        "max_pixels",
        "max_requests",
        "max_bytes",
        "max_concurrency",
        "engine",
    )
    template_fields_renderers = {"points": "json", "expression": "json", "expression_kwargs": "json"}

    def __init__(
        self,
        *,
        points: Any,
        images: str | Sequence[str] | None = None,
        expression: Any = None,
        expression_kwargs: Mapping[str, Any] | None = None,
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        bands: Sequence[str] | None = None,
        patch_size: int | str | Sequence[int],
        scale: float | str | None = None,
        crs: str | None = None,
        grid_from_asset: str | None = None,
        snap: bool = True,
        output_uri: str,
        output_conn_id: str | None = None,
        file_format: str = "TF_RECORD",
        compression: str = "GZIP",
        label_properties: Sequence[str] = (),
        shards: int | None = None,
        points_per_shard: int | None = None,
        mask: str = "band",
        min_mask: float | None = None,
        on_masked: str = "keep",
        min_valid_fraction: float = 0.0,
        on_empty: str = "skip",
        high_volume: bool | None = None,
        max_pixels: int | None = 100_000_000,
        max_requests: int | None = None,
        max_bytes: int | None = None,
        estimate_only: bool = False,
        engine: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.points = points
        self.images = images
        self.expression = expression
        self.expression_kwargs = expression_kwargs
        self.start = start
        self.end = end
        self.bands = bands
        self.patch_size = patch_size
        self.scale = scale
        self.crs = crs
        self.grid_from_asset = grid_from_asset
        self.snap = snap
        self.output_uri = output_uri
        self.output_conn_id = output_conn_id
        self.file_format = file_format
        self.compression = compression
        self.label_properties = label_properties
        self.shards = shards
        self.points_per_shard = points_per_shard
        self.mask = mask
        self.min_mask = min_mask
        self.on_masked = on_masked
        self.min_valid_fraction = min_valid_fraction
        self.on_empty = on_empty
        self.high_volume = high_volume
        self.max_pixels = max_pixels
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.estimate_only = estimate_only
        self.engine = engine

    def execute(self, context: Context) -> Any:
        """Make the dataset; tell where it is and what is in it."""
        with fail_fast():
            engine = read_engine(self.engine)
            with self.pixel_client(high_volume=self.high_volume) as client:
                dataset = self.checked_dataset(client, context)
                if self.estimate_only:
                    return {"estimate": asdict(dataset.plan.estimate(client.settings.requests_per_second))}
                made = self._make(engine, client, dataset)
        summary = {**_summary(dataset, made), **self.count(made.fetched)}
        if summary["simulated"]:
            self.log.warning("These patches are simulated: their pixels are an emulator's, not a satellite's")
        return summary

    def checked_dataset(self, client: EarthEngineClient, context: Context) -> PatchDataset:
        """
        The dataset, checked as far as it can be before a pixel is asked for.

        :param client: Asks for what has to be known of the images.
        :param context: Airflow's context.
        """
        self._check_arguments()
        dataset = self._dataset(client, context)
        estimate = dataset.plan.estimate(client.settings.requests_per_second)
        self.log.info("%s", estimate)
        self._check_estimate(estimate)
        return dataset

    def _make(self, engine: Engine | None, client: EarthEngineClient, dataset: PatchDataset) -> PatchSummary:
        from airflow_ee.core.job import PatchWork

        concurrency = integer("max_concurrency", self.max_concurrency)
        if engine is None:
            return dataset.make(client, max_concurrency=concurrency)
        work = PatchWork(dataset=dataset, max_concurrency=concurrency)
        report = self.run_job(engine, client, dataset.folder.url, work)
        return replace(dataset.finish(), made=report.units - report.resumed, fetched=report.counts())

    def _check_arguments(self) -> None:
        from airflow_ee.core.patches import ON_MASKED
        from airflow_ee.core.sinks.shard_arrays import SHARD_FORMATS

        refuse_unless("file_format", self.file_format, SHARD_FORMATS)
        refuse_unless("compression", self.compression, ("GZIP", "NONE"))
        refuse_unless("mask", self.mask, ("band", "none"))
        refuse_unless("on_masked", self.on_masked, ON_MASKED)
        refuse_unless("on_empty", self.on_empty, ("skip", "fail"))
        if (text_or_none(self.images) is None) == (text_or_none(self.expression) is None):
            raise ValueError("give either images or expression")
        if text_or_none(self.grid_from_asset) and (text_or_none(self.scale) or text_or_none(self.crs)):
            raise ValueError("grid_from_asset excludes scale and crs")
        if text_or_none(self.scale) is None and text_or_none(self.crs) is not None:
            raise ValueError("crs needs a scale: they make a lattice together")
        self._size()

    def _size(self) -> tuple[int, int]:
        """Width and height of a patch."""
        value = self.patch_size
        parts: Sequence[Any] = [value] if isinstance(value, int | float) else value
        if isinstance(value, str):
            parts = value.lower().replace("x", ",").strip("[]() ").split(",")
        sides = [integer("patch_size", part) for part in parts]
        if len(sides) not in {1, 2} or any(side is None or side < 1 for side in sides):
            raise ValueError(f"patch_size must be a whole number of pixels or [width, height], got {value!r}")
        return sides[0] or 0, sides[-1] or 0

    def _dataset(self, client: EarthEngineClient, context: Context) -> PatchDataset:
        from airflow_ee.core.patch_grids import place_patches
        from airflow_ee.core.patch_plan import PatchPlan
        from airflow_ee.core.patch_sources import patch_rule
        from airflow_ee.core.patches import DESCRIPTION, PatchDataset, patch_layout
        from airflow_ee.core.presets import find_preset
        from airflow_ee.core.sinks.shard_arrays import shard_format

        folder = location(self.output_uri, connection_for(self.output_uri, self.output_conn_id, self.gcp_conn_id))
        (folder / DESCRIPTION).check_writable()
        points = self._points(client, context)
        assets = self._assets(client, points, context)
        source = self._source(client, assets, context)
        native = self._native(client, assets, source.bands[0].id)
        scale, crs = number("scale", self.scale), text_or_none(self.crs)
        rule = patch_rule(self._size(), scale=scale, crs=crs, native=native, snap=self.snap)
        preset = find_preset(assets[0].id.rpartition("/")[0]) if assets else None
        layout = patch_layout(points, rule, source, preset.bands if preset else None)
        return PatchDataset(
            points=points,
            plan=PatchPlan(
                grids=place_patches(points, rule),
                source=source,
                limits=client.settings.limits,
                shards=integer("shards", self.shards),
                points_per_shard=integer("points_per_shard", self.points_per_shard),
            ),
            layout=layout,
            form=shard_format(self.file_format, layout, gzip=self.compression == "GZIP"),
            form_name=self.file_format,
            folder=folder,
            on_masked=self.on_masked,
            min_valid_fraction=number("min_valid_fraction", self.min_valid_fraction) or 0.0,
            provenance=_provenance(points, assets, source),
        )

    def _points(self, client: EarthEngineClient, context: Context) -> Points:
        labels = names("label_properties", self.label_properties) if self.label_properties else None
        return resolve_points(
            self.points,
            labels or (),
            client=client,
            output_conn_id=self.output_conn_id,
            gcp_conn_id=self.gcp_conn_id,
            workload_tag=self.effective_workload_tag(context),
        )

    def _assets(self, client: EarthEngineClient, points: Points, context: Context) -> list[Asset]:
        """The stored images, in the order given, those of a collection in the order of time."""
        found: list[Asset] = []
        for name in names("images", self.images) or ():
            found += self._images_of(client, name, points, context)
        if text_or_none(self.images) is not None and not found:
            self._stop_empty()
        return found

    def _images_of(self, client: EarthEngineClient, name: str, points: Points, context: Context) -> list[Asset]:
        from airflow_ee.core.presets import find_preset
        from airflow_ee.core.region import Region

        preset = find_preset(name)
        asset = client.get_asset(preset.collection if preset else name)
        if asset.type == "IMAGE":
            return [asset]
        if asset.type != "IMAGE_COLLECTION":
            raise ValueError(f"images must be images or collections, {asset.id} is of type {asset.type}")
        start, end = resolve_interval(context, start=self.start, end=self.end)
        west, south, east, north = points.bounds
        box = [
            max(west - MARGIN_DEGREES, -180), max(south - MARGIN_DEGREES, -90),
            min(east + MARGIN_DEGREES, 180), min(north + MARGIN_DEGREES, 90),
        ]  # fmt: skip
        images = client.list_images(asset.id, start=start, end=end, region=Region.parse(box))
        self.log.info("%s has %d images in [%s, %s)", asset.id, len(images), start.isoformat(), end.isoformat())
        return images

    def _stop_empty(self) -> None:
        message = f"{self.images} has no image in the interval; products come days to weeks late"
        if self.on_empty == "fail":
            raise AirflowFailException(message)
        raise AirflowSkipException(message)

    def _source(self, client: EarthEngineClient, assets: Sequence[Asset], context: Context) -> PatchSource:
        from airflow_ee.core.patch_sources import computed_source, stored_source

        common: dict[str, Any] = {
            "masked": self.mask == "band",
            "min_mask": number("min_mask", self.min_mask),
            "workload_tag": self.effective_workload_tag(context),
        }
        bands = names("bands", self.bands)
        if assets:
            return stored_source(assets, bands, **common)
        expression = self.resolve_expression(self.expression, self.expression_kwargs, context)
        return computed_source(client, expression, bands, **common)

    def _native(self, client: EarthEngineClient, assets: Sequence[Asset], band: str) -> PixelGrid | None:
        from airflow_ee.core.patch_sources import native_lattice

        if text_or_none(self.grid_from_asset) is not None:
            return native_lattice([client.get_asset(str(self.grid_from_asset))], None)
        if text_or_none(self.scale) is not None or not assets:
            return None
        return native_lattice(assets, band)

    def _check_estimate(self, estimate: PatchEstimate) -> None:
        for name, found in (("pixels", estimate.pixels), ("requests", estimate.requests), ("bytes", estimate.bytes)):
            limit = integer(f"max_{name}", getattr(self, f"max_{name}"))
            if limit is not None and found > limit:
                raise ValueError(
                    f"max_{name}: {estimate}, more {name} than {limit}; take fewer points or images, or smaller patches, or raise "
                    f"max_{name}"
                )


def _provenance(points: Points, assets: Sequence[Asset], source: PatchSource) -> dict[str, Any]:
    images = [
        {
            "id": asset.id,
            "start_time": asset.start_time.isoformat() if asset.start_time else None,
            "update_time": asset.update_time,
        }
        for asset in assets
    ]
    expression = source.expression.digest if source.expression else None
    return {"points_digest": points.digest, "images": images, "expression_digest": expression}


def _summary(dataset: PatchDataset, made: PatchSummary) -> dict[str, Any]:
    from airflow_ee.core.patches import DESCRIPTION

    return {
        "uri": dataset.folder.url,
        "dataset_uri": (dataset.folder / DESCRIPTION).url,
        "shard_uris": [(dataset.folder / shard.file).url for shard in made.shards[:MAXIMUM_LISTED]],
        "shard_count": len(made.shards),
        "shards_unchanged": len(made.shards) - made.made,
        "points": len(dataset.points),
        **{name: made.total(name) for name in ("patches", "fully_masked", "partly_masked", "left_out", "bytes")},
        "request_digest": made.digest,
        "simulated": any(shard.simulated for shard in made.shards),
    }
