"""One image over one grid as one file: made by the service where it can be, else put together from tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from airflow_ee.core.canvas import Canvas
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.expression import clip, load_image
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.pictures import describe_png, mark_simulated
from airflow_ee.core.pixels import PixelSource, fetch_canvas, provenance_tags
from airflow_ee.core.region import Region
from airflow_ee.core.sinks.geotiff import MaskMode, choose_nodata, write_geotiff

__all__ = ["FILE_FORMATS", "MASK_MODES", "PICTURE_FORMATS", "ImageFile"]

PICTURE_FORMATS = ("PNG", "JPEG", "AUTO_JPEG_PNG")
FILE_FORMATS = ("COG", "GEO_TIFF", "NPY", *PICTURE_FORMATS)
MASK_MODES: tuple[MaskMode, ...] = ("nodata", "band", "none")


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """How the file shall be.

    >>> ImageFile(file_format="TIFF")
    Traceback (most recent call last):
    ValueError: file_format must be one of COG, GEO_TIFF, NPY, PNG, JPEG, AUTO_JPEG_PNG, got 'TIFF'
    """

    file_format: str = "COG"
    mask: MaskMode = "nodata"
    """``nodata``: masked pixels hold a value of their own; ``band``: a mask tells them; ``none``: they are what the
    service writes, 0."""
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

    @property
    def is_picture(self) -> bool:
        """Whether the service renders it, with a transparency of its own."""
        return self.file_format in PICTURE_FORMATS

    @property
    def needs_masks(self) -> bool:
        """Whether validity has to be asked for with the pixels."""
        return self.mask != "none" and not self.is_picture

    def write(
        self,
        client: EarthEngineClient,
        source: PixelSource,
        grid: PixelGrid,
        file: Path,
        *,
        max_concurrency: int | None = None,
    ) -> dict[str, Any]:
        """Write ``file``, a scratch file that the caller publishes; tell the number of requests and what is valid."""
        if self.is_picture or self._served_whole(client, source, grid):
            body = self._ask_for_file(client, source, grid)
            if self.is_picture:
                body = describe_png(
                    mark_simulated(body) if client.simulated else body, provenance_tags(source, grid, client)
                )
            file.write_bytes(body)
            return {"requests": 1, "valid_fraction": None}
        canvas = Canvas(grid, source.names, file.parent)
        requests = fetch_canvas(client, source, canvas, max_concurrency=max_concurrency)
        if self.clip_to is not None and source.masked:
            canvas.clip(self.clip_to)
        if self.file_format == "NPY":
            _write_npy(file, canvas, self.mask, self.nodata)
        else:
            write_geotiff(
                file,
                canvas,
                cloud_optimized=self.file_format == "COG",
                mask=self.mask,
                nodata=self.nodata,
                tags=provenance_tags(source, grid, client),
            )
        return {"requests": requests, "valid_fraction": canvas.valid_fraction if source.masked else None}

    def _served_whole(self, client: EarthEngineClient, source: PixelSource, grid: PixelGrid) -> bool:
        """Without masks, what the service makes is kept byte for byte, if one request can carry it."""
        fits = grid.pixels * source.bytes_per_pixel <= client.settings.limits.max_request_bytes
        return self.mask == "none" and self.file_format in {"GEO_TIFF", "NPY"} and fits

    def _ask_for_file(self, client: EarthEngineClient, source: PixelSource, grid: PixelGrid) -> bytes:
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


def _write_npy(file: Path, canvas: Canvas, mask: MaskMode, nodata: float | None) -> None:
    """One structured array as Earth Engine makes them; with ``mask="band"`` a uint8 field more for each band."""
    fields: list[tuple[str, Any]] = [
        (band, values.dtype) for band, values in zip(canvas.bands, canvas.values, strict=True)
    ]
    if mask == "band":
        fields += [(f"{band}_mask", np.dtype("uint8")) for band in canvas.bands]
    array = np.zeros(canvas.grid.shape, fields)
    for band in canvas.bands:
        values, valid = canvas.band(band)
        array[band] = values
        if mask == "nodata" and not valid.all():
            array[band][~valid] = choose_nodata(canvas.only(band), values.dtype, nodata)
        if mask == "band":
            array[f"{band}_mask"] = valid
    with file.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
