"""Images straight from files of a bucket, without an asset: Cloud Optimized GeoTIFFs and Zarr arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from airflow_ee.emulator.catalog.assets import AssetBand, Kind
from airflow_ee.emulator.catalog.external import ExternalBand, not_optimized
from airflow_ee.emulator.catalog.files import file_bands
from airflow_ee.emulator.catalog.zarr_arrays import ZarrArray
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.imports.buckets import ObjectName
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.pixels.types import is_whole
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.image import Band, Image


def _path(name: ObjectName, session: Session, function: str) -> Path:
    """Where an object of the bucket lies; what it shows may change, so no answer is kept."""
    objects = session.catalog.stored.objects
    if objects is None:
        raise invalid(f"{function}: files of buckets are not emulated with a storage endpoint")
    session.used_stored_assets = True
    path = objects / name.bucket / name.key
    if not path.is_file():
        raise invalid(f"{function}: Unable to open {name.uri}: there is no such object, or it cannot be read.")
    return path


@registry.implements("Image.loadGeoTIFF")
def load_geotiff(uri: str, session: Session) -> Image:
    """The bands of a Cloud Optimized GeoTIFF, as the file names them or ``b1``, ``b2``."""
    name = ObjectName.parse(uri)
    path = _path(name, session, "Image.loadGeoTIFF")
    try:
        problem, found = not_optimized(path), file_bands(path)
        with rasterio.open(path) as dataset:
            dtypes, simulated = dataset.dtypes, dataset.tags().get("simulated") == "true"
    except RasterioError:
        raise invalid(f"Image.loadGeoTIFF: Unable to read {uri}: it is not a GeoTIFF, or is damaged.") from None
    if problem:
        raise invalid(f"Image.loadGeoTIFF: {uri} is not a Cloud Optimized GeoTIFF: {problem}.")
    session.touch(Kind.SIMULATED if simulated else Kind.MOUNTED)
    external = (
        ExternalBand(name.bucket, name.key, band.index, band.name, dtype, band.grid, "MEAN")
        for band, dtype in zip(found, dtypes, strict=True)
    )
    return _image(band.asset_band(session.catalog.stored.objects) for band in external)


def _image(bands: Any) -> Image:
    made: list[AssetBand] = list(bands)
    return Image(()).with_bands(Band(each.name, each.type, each.node, each.grid.projection, each.grid) for each in made)


@registry.implements("Image.loadZarrV2Array")
def load_zarr_image(
    uri: str, proj: Projection, session: Session, starts: list[Any] | None = None, ends: list[Any] | None = None
) -> Image:
    """The slices of an array, a band each."""
    array = _array(uri, proj, session, "Image.loadZarrV2Array")
    return _image(array.band(index) for index in array.indices(_numbers(starts), _numbers(ends)))


@registry.implements("ImageCollection.loadZarrV2Array")
def load_zarr_collection(
    uri: str,
    proj: Projection,
    session: Session,
    axis: int | None = None,
    starts: list[Any] | None = None,
    ends: list[Any] | None = None,
) -> Collection:
    """An image for each step along an axis, its bands the slices along the others."""
    array = _array(uri, proj, session, "ImageCollection.loadZarrV2Array")
    along = 0 if axis is None else axis
    if not 0 <= along < len(array.steps):
        raise invalid(
            f"ImageCollection.loadZarrV2Array: axis {along} is not one of the {len(array.steps)} non-spatial axes."
        )
    images: dict[int, list[AssetBand]] = {}
    for index in array.indices(_numbers(starts), _numbers(ends)):
        images.setdefault(index[along], []).append(array.band(index, without=along))
    return Collection((_image(bands) for bands in images.values()), of_images=True)


def _array(uri: str, proj: Projection, session: Session, function: str) -> ZarrArray:
    name = ObjectName.parse(uri)
    if name.key.rpartition("/")[2] != ".zarray":
        raise invalid(f"{function}: the URI must be that of a .zarray file, got {uri[:300]}.")
    path = _path(name, session, function)
    session.touch(Kind.MOUNTED)
    return ZarrArray.opened(path.parent, proj, uri)


def _numbers(given: list[Any] | None) -> list[int | None] | None:
    """Bounds of slices; null is the end of a dimension."""
    if given is None:
        return None
    wrong = next((each for each in given if each is not None and not is_whole(each)), None)
    if wrong is not None:
        raise invalid(f"Bounds of slices must be whole numbers or null, got {wrong!r}.")
    return [None if each is None else int(each) for each in given]
