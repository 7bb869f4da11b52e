"""Thumbnails, downloads and filmstrips: images as files for people."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.api.grids import base_band, requested_grid
from airflow_ee.emulator.api.pixels import chosen_bands, encoded, options_applied, stretch
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.functions.visual import visualized
from airflow_ee.emulator.limits import check_thumbnail
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.formats import to_picture, to_rgba
from airflow_ee.emulator.pixels.grid import Grid, grid_fitted
from airflow_ee.emulator.pixels.raster import Raster, render
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.image import Band, Image

DEFAULT_SIDE = 512
"""Pixels of a picture's longer side where nobody says how many."""

MAX_FRAMES = 500

PICTURES = ("AUTO_JPEG_PNG", "PNG", "JPEG", "IMAGE_FILE_FORMAT_UNSPECIFIED")
_ARCHIVES = ("ZIPPED_GEO_TIFF", "ZIPPED_GEO_TIFF_PER_BAND")
_DATA = ("NPY", "GEO_TIFF")
_SIZED = "Image.clipToBoundsAndScale"
_PLACED = ("Image.reproject", "Image.setDefaultProjection")


def expression_image(call: Call, session: Session) -> Image:
    """The image of a call's expression, its bands chosen."""
    image = session.evaluate(call.body["expression"])
    if not isinstance(image, Image):
        raise invalid("Expression must evaluate to an image.")
    return chosen_bands(image, call.body.get("bandIds", []))


def pictured(image: Image, options: Mapping[str, Any] | None) -> Image:
    """One or three bands of bytes: as the options say, else the first bands stretched over the range of their types."""
    if options is not None:
        return options_applied(image, options)
    bands = image.bands[:3] if len(image.bands) >= 3 else image.bands[:1]
    if all(band.type.dtype == np.uint8 for band in bands):
        return image.with_bands(bands)
    low, high = zip(*(stretch(band) for band in bands), strict=True)
    return visualized(image.with_bands(bands), low=low, high=high, gamma=[1.0])


def check_picture(call: Call, session: Session) -> Answer:
    """Refuse a thumbnail that could not be made."""
    _format(call, (*PICTURES, *_ARCHIVES, *_DATA))
    image = expression_image(call, session)
    if call.body.get("fileFormat", PICTURES[0]) in PICTURES:
        pictured(image, call.body.get("visualizationOptions"))
    return Answer({}, session.marker)


def get_thumbnail(call: Call, session: Session) -> Answer:
    """A thumbnail, or a download."""
    image = expression_image(call, session)
    kind = call.body.get("fileFormat", PICTURES[0])
    if kind in PICTURES:
        return _picture(image, call, session)
    if call.body.get("visualizationOptions") is not None:
        image = options_applied(image, call.body["visualizationOptions"])
    if kind in _DATA:
        grid = requested_grid(image, call.body.get("grid"), None)
        _check(call, [(grid, image.bands)])
        content, content_type = encoded(image.bands, grid, kind)
        return Answer(content, session.marker, content_type)
    return _archive(image, call, session)


def _format(call: Call, served: Sequence[str]) -> None:
    kind = call.body.get("fileFormat", served[0])
    if kind not in served:
        raise field_violation("file_format", f"Unsupported file format for thumbnails: {kind}.")


def _picture(image: Image, call: Call, session: Session) -> Answer:
    grid = picture_grid(image, call.body)
    shown = pictured(image, call.body.get("visualizationOptions"))
    _check(call, [(grid, shown.bands)])
    rasters = render([band.node for band in shown.bands], grid)
    return Answer(*_encoded_picture(rasters, grid, call, session))


def _encoded_picture(rasters: Sequence[Raster], grid: Grid, call: Call, session: Session) -> tuple[bytes, str, str]:
    kind = call.body.get("fileFormat", PICTURES[0])
    if kind == "PNG":
        return to_rgba(rasters, grid), session.marker, "image/png"
    if len(rasters) == 1:
        rasters = [rasters[0]] * 3
    content, content_type = to_picture(rasters, grid, kind)
    return content, session.marker, content_type


def picture_grid(image: Image, body: Mapping[str, Any]) -> Grid:
    """The grid that the request or its expression names; else the footprint, 512 pixels on the longer side."""
    text = json.dumps(body["expression"])
    if body.get("grid") or f'"{_SIZED}"' in text:
        return requested_grid(image, body.get("grid"), None)
    base = base_band(image.bands)
    placed = base is not None and any(f'"{name}"' in text for name in _PLACED)
    crs = base.projection.crs if base is not None and placed else WGS84
    bounds = image.geometry().bounds_in(crs)
    across, down = bounds[2] - bounds[0], bounds[3] - bounds[1]
    longest = max(across, down)
    if longest <= 0:
        raise invalid("Image has no extent to make a picture of.")
    width, height = (max(1, round(DEFAULT_SIDE * side / longest)) for side in (across, down))
    return grid_fitted(crs, bounds, width=width, height=height)


def _check(call: Call, parts: Sequence[tuple[Grid, Sequence[Band]]]) -> None:
    for grid, bands in parts:
        check_thumbnail(grid.width, grid.height, bands)
        call.check_size(grid.width * grid.height)


def _archive(image: Image, call: Call, session: Session) -> Answer:
    """GeoTIFFs in a ZIP file: one of all bands, or one for each, on its own grid."""
    prefix = file_name(call.body.get("filenamePrefix")) or _name_of(image)
    if call.body["fileFormat"] == "ZIPPED_GEO_TIFF":
        parts = {f"{prefix}.tif": (requested_grid(image, call.body.get("grid"), None), image.bands)}
    else:
        singles = (image.with_bands([band]) for band in image.bands)
        parts = {
            f"{prefix}.{single.bands[0].name}.tif": (requested_grid(single, call.body.get("grid"), None), single.bands)
            for single in singles
        }
    _check(call, list(parts.values()))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, (grid, bands) in parts.items():
            archive.writestr(zipfile.ZipInfo(name), encoded(bands, grid, "GEO_TIFF")[0])
    headers = {"Content-Disposition": f'attachment; filename="{prefix}.zip"'}
    return Answer(content.getvalue(), session.marker, "application/zip", headers)


def _name_of(image: Image) -> str:
    return file_name(image.id.rsplit("/", 1)[-1]) if image.id else "download"


def file_name(text: str | None) -> str:
    """A text as the name of a file: no folders, nothing that a header could not carry."""
    kept = (letter if letter.isascii() and (letter.isalnum() or letter in "-_. ") else "_" for letter in text or "")
    return "".join(kept).strip(". ")[:200]


def check_filmstrip(call: Call, session: Session) -> Answer:
    """Refuse a filmstrip that could not be made."""
    _format(call, PICTURES)
    _frames(call, session)
    return Answer({}, session.marker)


def get_filmstrip(call: Call, session: Session) -> Answer:
    """The images of a collection as one picture, below or beside each other."""
    frames = [(pictured(image, None), picture_grid(image, call.body)) for image in _frames(call, session)]
    if len({grid.shape for _, grid in frames}) != 1 or len({len(image.bands) for image, _ in frames}) != 1:
        raise invalid("Filmstrip: all images must have the same dimensions and number of bands.")
    axis = 1 if call.body.get("orientation") == "HORIZONTAL" else 0
    height, width = frames[0][1].shape
    rows, columns = (1, len(frames)) if axis else (len(frames), 1)
    whole = replace(frames[0][1], height=height * rows, width=width * columns)
    _check(call, [(whole, frames[0][0].bands)])
    rendered = [render([band.node for band in image.bands], grid) for image, grid in frames]
    joined = [
        _joined([rasters[number] for rasters in rendered], height, width, axis) for number in range(len(rendered[0]))
    ]
    return Answer(*_encoded_picture(joined, whole, call, session))


def _joined(rasters: Sequence[Raster], height: int, width: int, axis: int) -> Raster:
    shape = (height, width)
    values = np.concatenate([np.broadcast_to(raster.values, shape) for raster in rasters], axis)
    return Raster(values, np.concatenate([np.broadcast_to(raster.mask, shape) for raster in rasters], axis))


def _frames(call: Call, session: Session) -> list[Image]:
    collection = session.evaluate(call.body["expression"])
    if not isinstance(collection, Collection) or not all(isinstance(each, Image) for each in collection.elements):
        raise invalid("Expression must evaluate to an image collection.")
    if not 0 < len(collection.elements) <= MAX_FRAMES:
        raise invalid(f"Filmstrip: a collection of 1 to {MAX_FRAMES} images is needed, got {len(collection.elements)}.")
    return [chosen_bands(image, []) for image in collection.elements]
