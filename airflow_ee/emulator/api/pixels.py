"""getPixels and computePixels: an image on a grid, as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.api.grids import requested_grid
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.functions.visual import visualized
from airflow_ee.emulator.limits import check_pixels, check_workload_tag
from airflow_ee.emulator.pixels.formats import to_geotiff, to_npy, to_picture
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.image import Band, Image, check_plain

_PICTURES = ("AUTO_JPEG_PNG", "PNG", "JPEG", "IMAGE_FILE_FORMAT_UNSPECIFIED")
_SERVED = (*_PICTURES, "NPY", "GEO_TIFF")


def get_pixels(call: Call, session: Session) -> Answer:
    """A stored image's pixels."""
    asset = session.catalog.require_image(call.path["name"])
    session.touch(asset.kind)
    session.used_stored_assets = session.catalog.is_stored(call.path["name"])
    return _answer(asset.to_image(), call, session, region=call.body.get("region"))


def compute_pixels(call: Call, session: Session) -> Answer:
    """An expression's pixels."""
    if "expression" not in call.body:
        raise field_violation("expression", "Expression must be specified.")
    image = session.evaluate(call.body["expression"])
    if not isinstance(image, Image):
        raise invalid("Expression must evaluate to an image.")
    return _answer(image, call, session, region=None)


def _answer(image: Image, call: Call, session: Session, region: Mapping[str, Any] | None) -> Answer:
    body = call.body
    file_format = body.get("fileFormat", "AUTO_JPEG_PNG")
    if file_format not in _SERVED:
        raise field_violation("file_format", f"Unsupported file format for pixels: {file_format}.")
    check_workload_tag(body.get("workloadTag", ""))
    chosen = chosen_bands(image, body.get("bandIds", []))
    grid = requested_grid(chosen, body.get("grid"), region)
    if body.get("visualizationOptions") is not None:
        chosen = options_applied(chosen, body["visualizationOptions"])
    check_pixels(grid.width, grid.height, chosen.bands)
    call.check_size(grid.width * grid.height)
    content, content_type = encoded(chosen.bands, grid, file_format)
    return Answer(content, session.marker, content_type)


def chosen_bands(image: Image, names: Sequence[str]) -> Image:
    """The bands that a request names, all without names."""
    if not image.bands:
        raise invalid("Image has no bands.")
    chosen = image.with_bands(image.band(name, function="Image.select") for name in names) if names else image
    check_plain(chosen, "Cannot encode pixels")
    return chosen


def options_applied(image: Image, options: Mapping[str, Any]) -> Image:
    """The picture that visualisation options make; without ranges, of the whole range of each band's type."""
    bands = image.bands[:3]
    ranges = options.get("ranges", [])
    known = [stretch(band) for band in bands]
    return visualized(
        image,
        low=[float(each.get("min", 0)) for each in ranges] or [low for low, _ in known],
        high=[float(each.get("max", 0)) for each in ranges] or [high for _, high in known],
        gamma=[float(options.get("gamma", 1.0))],
        palette=options.get("paletteColors") or None,
        opacity=float(options.get("opacity", 1.0)),
    )


def stretch(band: Band) -> tuple[float, float]:
    """The values that are shown as black and white: 0 and 1 for real numbers, the whole range for others."""
    low, high = band.type.range
    return (float(low), float(high)) if band.type.precision == "int" else (0.0, 1.0)


def encoded(bands: Sequence[Band], grid: Grid, file_format: str) -> tuple[bytes, str]:
    """Rendered bands in a file format, with its media type."""
    rasters = render([band.node for band in bands], grid)
    named = {band.name: raster for band, raster in zip(bands, rasters, strict=True)}
    if file_format == "NPY":
        return to_npy(named, grid), "application/octet-stream"
    if file_format == "GEO_TIFF":
        return to_geotiff(named, grid), "image/tiff"
    return to_picture(rasters, grid, file_format)
