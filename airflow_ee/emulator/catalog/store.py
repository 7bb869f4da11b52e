"""Assets that exports have made: a folder each under the root, with JSON and GeoTIFFs, so that they outlive the process."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine

from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind, asset_name
from airflow_ee.emulator.catalog.files import FileBand, file_bands
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.dates import Date, parse_time, timestamp
from airflow_ee.emulator.values.image import Band

_RECORD = "asset.json"
_INTERNAL_MASK: Any = partial(rasterio.Env, GDAL_TIFF_INTERNAL_MASK=True)
_CONTAINERS = ("FOLDER", "IMAGE_COLLECTION")


@dataclass(frozen=True, slots=True)
class NewAsset:
    """An image about to be stored."""

    id: str
    kind: Kind
    grid: Grid
    bands: Sequence[Band]
    rasters: Sequence[Raster]
    policies: Mapping[str, str]
    properties: Mapping[str, Any]
    updated: datetime


class AssetStore:
    """Assets below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()

    def _folder(self, identity: str) -> Path:
        parts = asset_name(identity).rstrip("/").split("/")
        if any(part in ("", ".", "..") or ":" in part or part == _RECORD for part in parts):
            raise invalid(f"Invalid asset name: '{identity}'.")
        return self._root.joinpath(*parts)

    def _record(self, identity: str) -> dict[str, Any] | None:
        try:
            text = (self._folder(identity) / _RECORD).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        record: dict[str, Any] = json.loads(text)
        return record

    def image(self, identity: str) -> ImageAsset | None:
        """The image of that id."""
        record = self._record(identity)
        if record is None or record["type"] != "IMAGE":
            return None
        return _image(identity, record, self._folder(identity))

    def exists(self, identity: str) -> bool:
        """Whether anything has that id."""
        return self._record(identity) is not None

    def folder(self, identity: str) -> dict[str, Any] | None:
        """The folder or collection of that id; a project's root is always there."""
        name = asset_name(identity).rstrip("/")
        if _is_root(name):
            return {"type": "FOLDER", "name": f"{name}", "id": identity}
        record = self._record(identity)
        if record is None or record["type"] not in _CONTAINERS:
            return None
        return {**record, "name": name, "id": identity}

    def children(self, identity: str) -> list[ImageAsset]:
        """The images directly inside, by id."""
        inside = f"{identity}/assets" if re.fullmatch("projects/[^/]+", identity) else identity
        place = self._folder(inside)
        if not place.is_dir():
            return []
        names = sorted(path.parent.name for path in place.glob(f"*/{_RECORD}"))
        found = (self.image(f"{inside.rstrip('/')}/{name}") for name in names)
        return [image for image in found if image is not None]

    def check_destination(self, identity: str, *, overwrite: bool) -> None:
        """Refuse a place that is taken, or whose folder is missing."""
        name = asset_name(identity)
        parent = name.rpartition("/")[0]
        if not _is_root(parent) and self.folder(parent) is None:
            raise invalid(f"Cannot create asset '{name}': its parent '{parent}' does not exist.")
        if self.exists(identity) and not overwrite:
            raise EmulatorError("ALREADY_EXISTS", f"Cannot overwrite asset '{name}'.")

    def create_container(
        self, identity: str, kind: str, properties: Mapping[str, Any], now: datetime
    ) -> dict[str, Any]:
        """A new folder or image collection."""
        if kind not in _CONTAINERS:
            raise invalid(f"Cannot create an asset of type {kind} without data.")
        self.check_destination(identity, overwrite=False)
        record = {"type": kind, "updateTime": timestamp(now), "properties": dict(properties)}
        place = self._folder(identity)
        place.mkdir(parents=True, exist_ok=True)
        _write_json(place / _RECORD, record)
        return {**record, "name": asset_name(identity), "id": identity}

    def delete(self, identity: str) -> None:
        """Remove an image or an empty container."""
        if not self.exists(identity):
            raise EmulatorError("NOT_FOUND", f"Asset '{asset_name(identity)}' not found.")
        if self.children(identity):
            raise EmulatorError("FAILED_PRECONDITION", f"Asset '{asset_name(identity)}' is not empty.")
        shutil.rmtree(self._folder(identity))

    def write(self, asset: NewAsset, *, overwrite: bool) -> None:
        """Store an image whole or not at all: it is written beside its place and then moved there."""
        place = self._folder(asset.id)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.parent / f".{place.name}.writing"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for number, (band, raster) in enumerate(zip(asset.bands, asset.rasters, strict=True)):
            _write_band(draft / f"band_{number}.tif", band, raster, asset.grid)
        _write_json(draft / _RECORD, _new_record(asset))
        with self._lock:
            self.check_destination(asset.id, overwrite=overwrite)
            if place.exists():
                shutil.rmtree(place)
            draft.rename(place)


def _is_root(name: str) -> bool:
    parts = name.split("/")
    if name.startswith("projects/earthengine-legacy/assets/"):
        return len(parts) == 5 and parts[3] in ("users", "projects")
    return len(parts) in (2, 3) and parts[0] == "projects" and parts[2:] in ([], ["assets"])


def _new_record(asset: NewAsset) -> dict[str, Any]:
    properties = {key: value for key, value in asset.properties.items() if not key.startswith("system:")}
    times = {key: asset.properties.get(f"system:{key}") for key in ("time_start", "time_end")}
    return {
        "type": "IMAGE",
        "updateTime": timestamp(asset.updated),
        "kind": asset.kind.value,
        "times": {key: value for key, value in times.items() if value is not None},
        "properties": {key: value for key, value in properties.items() if _is_storable(value)},
        "bands": [
            {
                "id": band.name,
                "type": [band.type.precision, *_limits(band.type)],
                "pyramidingPolicy": asset.policies.get(band.name, "MEAN"),
            }
            for band in asset.bands
        ],
    }


def _limits(type_: PixelType) -> list[float]:
    return [type_.minimum, type_.maximum] if type_.minimum is not None and type_.maximum is not None else []


def _is_storable(value: Any) -> bool:
    return isinstance(value, str | int | float) or (isinstance(value, list) and all(map(_is_storable, value)))


def _write_band(path: Path, band: Band, raster: Raster, grid: Grid) -> None:
    """One band with an internal mask: types differ between bands, and no value is given up for nodata."""
    profile = {
        "driver": "GTiff",
        "dtype": raster.values.dtype.name,
        "count": 1,
        "height": grid.height,
        "width": grid.width,
        "crs": grid.projection.crs.wkt,
        "transform": Affine(*grid.transform),
        "tiled": True,
        "compress": "deflate",
    }
    with _INTERNAL_MASK(), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(raster.values, 1)
        dataset.set_band_description(1, band.name)
        dataset.write_mask(raster.mask > 0)


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".writing")
    draft.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(draft, path)


def _image(identity: str, record: Mapping[str, Any], place: Path) -> ImageAsset:
    bands = []
    for number, saved in enumerate(record["bands"]):
        (found,) = file_bands(place / f"band_{number}.tif")
        precision, *limits = saved["type"]
        band = FileBand(found.path, 1, saved["id"], PixelType(precision, *limits), found.grid)
        bands.append(AssetBand(band.name, band.type, band.grid, band.node(), saved["pyramidingPolicy"]))
    times = record.get("times", {})
    return ImageAsset(
        id=identity,
        kind=Kind(record["kind"]),
        bands=tuple(bands),
        updated=parse_time(record["updateTime"]),
        start=_moment(times.get("time_start")),
        end=_moment(times.get("time_end")),
        properties=record["properties"],
        size_bytes=sum(path.stat().st_size for path in place.glob("band_*.tif")),
    )


def _moment(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else Date(milliseconds).moment
