"""Operators that write one image over one grid to one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ee.operators.jobs import (
    EarthEngineCommitJobOperator,
    EarthEngineRunJobPartOperator,
    EarthEngineWriteJobOperator,
)
from airflow_ee.operators.raster_base import EarthEngineRasterBaseOperator

__all__ = [
    "EarthEngineCommitJobOperator",
    "EarthEngineComputePixelsOperator",
    "EarthEngineGetPixelsOperator",
    "EarthEngineRunJobPartOperator",
    "EarthEngineWriteJobOperator",
]


class EarthEngineGetPixelsOperator(EarthEngineRasterBaseOperator):
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
    :param engine: where the work is done: None or ``threads``, in threads of this task; ``processes``, ``dask``, ``spark``, ``beam`` or an
        engine of :mod:`airflow_ee.engines`; the output is the same
    """

    template_fields: Sequence[str] = ("asset_id", *EarthEngineRasterBaseOperator.template_fields)

    def __init__(self, *, asset_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asset_id = asset_id


class EarthEngineComputePixelsOperator(EarthEngineRasterBaseOperator):
    """Write pixels of a computed image to a file.

    Takes all of :class:`EarthEngineGetPixelsOperator`'s arguments but ``asset_id``, and:

    :param expression: REST graph, its JSON text, a ``.json`` file, an ``ee`` object, or a callable
        ``f(context, **expression_kwargs)`` that returns any of these; a callable runs after ``ee`` has been initialised
    :param expression_kwargs: for a callable
    """

    template_fields: Sequence[str] = ("expression", "expression_kwargs", *EarthEngineRasterBaseOperator.template_fields)
    template_ext: Sequence[str] = (".json",)
    template_fields_renderers = {
        **EarthEngineRasterBaseOperator.template_fields_renderers,
        "expression": "json",
        "expression_kwargs": "json",
    }

    def __init__(self, *, expression: Any, expression_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.expression = expression
        self.expression_kwargs = expression_kwargs
