"""One image over one grid as one file: made by the service where it can be, else put together from tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.decode import AnswerForm, MaskKind
from airflow_ee.core.estimate import Estimate
from airflow_ee.core.expression import clip, load_image
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.pictures import describe_png, mark_simulated
from airflow_ee.core.pixels import PixelSource, provenance_tags
from airflow_ee.core.progress import Progress
from airflow_ee.core.raster import RasterJob, RasterResult
from airflow_ee.core.region import Region
from airflow_ee.core.settings import Limits
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.geotiff import GeoTiffForm, check_layout
from airflow_ee.core.sinks.layout import (
    COG_MEDIA_TYPE,
    MASK_MODES,
    BandLayout,
    MaskMode,
    Output,
    RasterLayout,
    RasterSink,
)
from airflow_ee.core.sinks.nodata import default_nodata
from airflow_ee.core.sinks.npy import assemble_npy, assemble_npz
from airflow_ee.core.sinks.parts import BLOCK, PartForm, PartsSink, RawForm
from airflow_ee.core.sinks.tfrecord_image import PATCH, assemble_tfrecord, mixer

__all__ = ["FILE_FORMATS", "PICTURE_FORMATS", "ImageFile"]

PICTURE_FORMATS = ("PNG", "JPEG", "AUTO_JPEG_PNG")
FILE_FORMATS = ("COG", "GEO_TIFF", "ZARR", "NPY", "NPZ", "TF_RECORD", *PICTURE_FORMATS)
FRACTION_FORMATS = ("ZARR", "NPY", "NPZ", "TF_RECORD")
_MEDIA_TYPES = {
    "COG": COG_MEDIA_TYPE,
    "GEO_TIFF": "image/tiff; application=geotiff",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
}


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """How the file shall be.

    >>> ImageFile(file_format="TIFF")
    Traceback (most recent call last):
    ValueError: file_format must be one of COG, GEO_TIFF, ZARR, NPY, NPZ, TF_RECORD, PNG, JPEG, AUTO_JPEG_PNG, got 'TIFF'
    """

    file_format: str = "COG"
    mask: MaskMode = "nodata"
    """``nodata``: masked pixels hold a value of their own; ``band``: a mask tells them; ``fraction``: a float32 mask of 0 to 1 does;
    ``none``: they are what the service writes, 0."""
    nodata: float | None = None
    """None: chosen by the type."""
    clip_to: Region | None = None
    """Pixels whose centre lies outside become masked."""
    visualization_options: Mapping[str, Any] | None = None
    """For pictures."""

    def __post_init__(self) -> None:
        if self.file_format not in FILE_FORMATS:
            raise ValueError(f"file_format must be one of {', '.join(FILE_FORMATS)}, got {self.file_format!r}")
        if self.mask not in MASK_MODES:
            raise ValueError(f"mask must be one of {', '.join(MASK_MODES)}, got {self.mask!r}")
        if self.visualization_options and not self.is_picture:
            raise ValueError(
                f"visualization_options make a picture: file_format must be one of {', '.join(PICTURE_FORMATS)}, "
                f"got {self.file_format!r}"
            )
        if self.nodata is not None and (self.mask != "nodata" or self.is_picture):
            raise ValueError(f"nodata is only for mask='nodata' of a raster, got {self.mask!r} of {self.file_format}")
        if self.mask == "fraction" and self.file_format not in FRACTION_FORMATS:
            raise ValueError(
                f"mask='fraction' is kept by {', '.join(FRACTION_FORMATS)}, not by {self.file_format}, whose masks are 0 or 1"
            )

    @property
    def is_picture(self) -> bool:
        """Whether the service renders it, with a transparency of its own."""
        return self.file_format in PICTURE_FORMATS

    @property
    def mask_kind(self) -> MaskKind:
        """How validity has to be asked for with the pixels."""
        if self.mask == "none" or self.is_picture:
            return "none"
        return "fraction" if self.mask == "fraction" else "each"

    def job(
        self,
        source: PixelSource,
        grid: PixelGrid,
        target: Location,
        *,
        source_version: str = "",
        start: datetime | None = None,
        end: datetime | None = None,
        max_concurrency: int | None = None,
    ) -> RasterJob:
        """The work that makes a raster; pictures are the service's own.

        Parameters
        ----------
        source_version
            When the source last changed, where it tells.
        start, end
            The time that the pixels are from, with a zone; None: not known.

        Raises
        ------
        ValueError
            When the format cannot hold the bands, or nodata is no value of theirs.
        """
        bands = tuple(BandLayout(name=band.id, dtype=band.dtype) for band in source.bands)
        layout = RasterLayout(grid=grid, bands=bands, mask=self.mask, nodata=self.nodata)
        if self.file_format in {"COG", "GEO_TIFF"}:
            check_layout(layout)
        if self.file_format == "TF_RECORD" and self._block(layout) < PATCH:
            raise ValueError(
                f"bands: {len(bands)} are too many for TF_RECORD, whose patches of {PATCH} pixels a side come whole"
            )
        return RasterJob(
            source=source,
            layout=layout,
            target=target,
            sink_for=partial(self._sink, target, start),
            nodata_of=self._nodata,
            form={
                "file_format": self.file_format,
                "visualization_options": self.visualization_options,
                "time": [str(start), str(end)],
            },
            start=start,
            end=end,
            clip_to=self.clip_to if source.masked or self.is_picture else None,
            source_version=source_version,
            max_concurrency=max_concurrency,
        )

    def estimate(self, client: EarthEngineClient, job: RasterJob) -> Estimate:
        """What the file will ask for."""
        return job.estimate(client, requests=1 if self.is_served_whole(client, job) else None)

    def make(self, client: EarthEngineClient, job: RasterJob) -> RasterResult:
        """Make the file.

        Raises
        ------
        EarthEngineError, ValueError, OSError
            As :meth:`airflow_ee.core.raster.RasterJob.run`.
        """
        return self._ask_for_whole(client, job) if self.is_served_whole(client, job) else job.run(client)

    def is_served_whole(self, client: EarthEngineClient, job: RasterJob) -> bool:
        """Whether one answer of the service is the file: a picture, or what is kept byte for byte because it has no masks."""
        size_bytes = job.layout.grid.pixels * job.source.bytes_per_pixel
        fits = size_bytes <= client.settings.limits.max_request_bytes
        return self.is_picture or (self.mask == "none" and self.file_format in {"GEO_TIFF", "NPY"} and fits)

    def _sink(self, target: Location, time: datetime | None, layout: RasterLayout) -> RasterSink:
        if self.file_format == "ZARR":
            # Needs zarr and numcodecs, which only those have who want it.
            from airflow_ee.core.sinks.zarr import ZarrSink

            moment = time.replace(microsecond=0) if time else None
            return ZarrSink(location=target, layout=layout, time=moment, chunk=self._block(layout))
        forms: dict[str, PartForm] = {
            "COG": GeoTiffForm(cloud_optimized=True),
            "GEO_TIFF": GeoTiffForm(cloud_optimized=False),
            "NPY": RawForm(assemble_npy),
            "NPZ": RawForm(assemble_npz),
            "TF_RECORD": RawForm(assemble_tfrecord),
        }
        sidecar = (".mixer.json", mixer) if self.file_format == "TF_RECORD" else None
        media_type = _MEDIA_TYPES.get(self.file_format, "application/octet-stream")
        return PartsSink(
            target=target,
            layout=layout,
            form=forms[self.file_format],
            sidecar=sidecar,
            media_type=media_type,
            block=self._block(layout),
            whole_blocks=self.file_format in {"TF_RECORD", "COG", "GEO_TIFF"},
        )

    def _block(self, layout: RasterLayout) -> int:
        """Rows and columns of what is written whole, of which one request has to hold at least one: fewer where bands are many."""
        dtypes = tuple(band.dtype for band in layout.bands)
        bytes_per_pixel, side = AnswerForm(layout.names, dtypes, self.mask_kind).bytes_per_pixel, BLOCK
        while side > 1 and side**2 * bytes_per_pixel > Limits().max_request_bytes:
            side //= 2
        return side

    def _nodata(self, layout: RasterLayout) -> dict[str, float]:
        """Values that mark masked pixels: a GeoTIFF has one for all bands."""
        if self.mask != "nodata":
            return {}
        one = np.result_type(*(band.dtype for band in layout.bands))
        types = {band.name: one if self.file_format in {"COG", "GEO_TIFF"} else band.dtype for band in layout.bands}
        return {name: default_nodata(kind) if self.nodata is None else self.nodata for name, kind in types.items()}

    def _ask_for_whole(self, client: EarthEngineClient, job: RasterJob) -> RasterResult:
        progress = Progress(total=1)
        body = self._ask(client, job.source, job.layout.grid)
        progress.answered(1, len(body))
        progress.finished()
        if self.is_picture:
            tags = provenance_tags(job.source, job.layout.grid, simulated=client.simulated)
            body = describe_png(mark_simulated(body) if client.simulated else body, tags)
        job.target.write_bytes(body)
        output = Output(
            url=job.target.url,
            bytes=len(body),
            media_type=_MEDIA_TYPES.get(self.file_format, "application/octet-stream"),
        )
        job.tell((output,), (), None, simulated=client.simulated)
        return RasterResult(
            outputs=(output,), summary=progress.summary(), valid_fraction=None, simulated=client.simulated
        )

    def _ask(self, client: EarthEngineClient, source: PixelSource, grid: PixelGrid) -> bytes:
        expression = source.expression
        if self.is_picture and self.clip_to is not None:
            expression = clip(expression or load_image(str(source.asset_id)), self.clip_to)
        if expression is None:
            return client.get_pixels(
                str(source.asset_id),
                file_format=self.file_format,
                grid=grid,
                band_ids=source.names,
                visualization_options=self.visualization_options,
            )
        return client.compute_pixels(
            expression,
            file_format=self.file_format,
            grid=grid,
            band_ids=source.names,
            visualization_options=self.visualization_options,
            workload_tag=source.workload_tag,
        )
