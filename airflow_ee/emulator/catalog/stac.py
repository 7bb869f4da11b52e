"""STAC catalogs as image collections: an item is an image, the GeoTIFFs among its assets are its bands.

Catalogs are files: those of `STAC 1.0 and 1.1 <https://github.com/radiantearth/stac-spec>`_, older ones as far as pystac
brings them up to date. Bands are described in an asset's ``bands`` (1.1), or in ``eo:bands`` and ``raster:bands`` (1.0).
Digital numbers stay what they are: scales and offsets are for the reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import requests

from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.files import FileBand, Location, file_bands, opened
from airflow_ee.emulator.catalog.mounts import EndOf, Mount, MountedCollection, MountError, repeated
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.values.geometry import Geometry

if TYPE_CHECKING:
    from pystac import Asset, Item

_NETWORK = ("http", "https")
_TIMEOUT_SECONDS = 30.0
_NO_PICTURES = {"thumbnail", "overview", "visual", "metadata"}
"""Roles of assets that are made for looking at, or are no rasters."""
_TIMES = {"datetime", "start_datetime", "end_datetime", "created", "updated"}
_MOST_DOCUMENTS = 100_000


@dataclass(frozen=True, slots=True)
class StacMount:
    """A STAC catalog, collection or list of items, and how it is mounted."""

    mount: Mount
    end_of: EndOf | None = None
    """The end of an image whose item tells none."""
    remote: bool = False
    """Whether addresses on the network may be read."""
    _properties: dict[str, Any] = field(default_factory=dict)

    def collection(self) -> MountedCollection:
        """The collection; every item and the head of every file is read now."""
        items = list(self._items(str(self.mount.path.resolve())))
        twice = repeated(item.id for item in items)
        if twice is not None:
            raise self._problem(f"two items have the id {twice!r}")
        if not items:
            raise self._problem(f"no items in {self.mount.path}")
        return MountedCollection(self.mount.id, [self._image(item) for item in items], self._properties)

    def _problem(self, text: str) -> MountError:
        return MountError(f"cannot mount {self.mount.id}: {text}")

    def _items(self, root: str) -> Iterator[Item]:
        """The items of a catalog and of the catalogs below it, each read once."""
        waiting, seen = [root], {root}
        while waiting:
            address = waiting.pop(0)
            shown = self._json(address)
            if shown.get("type") == "Feature":
                yield self._item(shown, address)
                continue
            yield from (self._item(each, address) for each in shown.get("features", ()))
            if address == root:
                self._properties.update({key: shown[key] for key in ("title", "description") if shown.get(key)})
            links = (each for each in shown.get("links", ()) if each.get("rel") in ("item", "child"))
            found = [self._joined(address, str(each.get("href"))) for each in links]
            waiting += [each for each in dict.fromkeys(found) if each not in seen]
            seen.update(found)
            if len(seen) > _MOST_DOCUMENTS:
                raise self._problem(f"more than {_MOST_DOCUMENTS} items and catalogs in {root}")

    def _json(self, address: str) -> Mapping[str, Any]:
        try:
            if urlsplit(address).scheme in _NETWORK:
                answer = requests.get(address, timeout=_TIMEOUT_SECONDS)
                answer.raise_for_status()
                shown = answer.json()
            else:
                shown = json.loads(Path(address).read_text("utf-8"))
        except (OSError, ValueError) as problem:
            raise self._problem(f"{address} cannot be read as JSON: {problem}") from None
        if not isinstance(shown, dict) or shown.get("type") not in (
            "Feature",
            "FeatureCollection",
            "Collection",
            "Catalog",
        ):
            raise self._problem(f"{address} is no STAC item, collection or catalog")
        return shown

    def _joined(self, base: str, href: str) -> str:
        """An address that another document names: an absolute path, or a URL where these are allowed."""
        whole = urljoin(base, href) if urlsplit(base).scheme in _NETWORK else href
        parts = urlsplit(whole)
        if parts.scheme in _NETWORK:
            if self.remote:
                return whole
            raise self._problem(f"{base} names {whole}, which is on the network; --remote-files lets it be read")
        # What comes from the network may not name files of this machine.
        if parts.scheme not in ("", "file") or urlsplit(base).scheme in _NETWORK:
            raise self._problem(f"{base} names {whole}; files must be paths, or URLs with http or https")
        return str((Path(base).parent / (unquote(parts.path) if parts.scheme else whole)).resolve())

    def _item(self, shown: Mapping[str, Any], address: str) -> Item:
        import pystac

        try:
            return pystac.Item.from_dict(dict(shown), href=address, migrate=True, preserve_dict=False)
        except (pystac.STACError, KeyError, TypeError, ValueError, AttributeError) as problem:
            name = shown.get("id", "without an id")
            raise self._problem(f"item {name} of {address} is malformed: {problem!r}") from None

    def _image(self, item: Item) -> ImageAsset:
        try:
            return self._made(item)
        except EmulatorError as problem:
            raise self._problem(f"item {item.id}: {problem}") from None

    def _made(self, item: Item) -> ImageAsset:
        times = item.common_metadata
        start = times.start_datetime or item.datetime
        if start is None or "/" in item.id:
            raise self._problem(f"item {item.id} has {'no time' if start is None else 'a slash in its id'}")
        files = self._files(item)
        bands = [band for key, location in files.items() for band in _bands(key, item.assets[key], location, files)]
        twice = repeated(band.name for band in bands)
        if twice is not None:
            raise self._problem(f"item {item.id} has band {twice!r} twice")
        start = start.astimezone(UTC)
        end = times.end_datetime
        stats = [path.stat() for path in files.values() if isinstance(path, Path)]
        changed = [datetime.fromtimestamp(stat.st_mtime, UTC) for stat in stats]
        return ImageAsset(
            id=f"{self.mount.id}/{item.id}",
            kind=Kind.MOUNTED,
            bands=tuple(AssetBand(each.name, each.type, each.grid, each.node()) for each in bands),
            updated=max(changed, default=times.updated or start),
            start=start,
            end=end.astimezone(UTC) if end else self.end_of(start) if self.end_of else None,
            properties=_properties(item.properties),
            footprint=Geometry.of_json(item.geometry) if item.geometry else None,
            size_bytes=sum(stat.st_size for stat in stats),
        )

    def _files(self, item: Item) -> dict[str, Location]:
        """The GeoTIFFs of an item by the keys of their assets."""
        found: dict[str, Location] = {}
        for key, asset in item.assets.items():
            if not _is_picture(asset):
                continue
            address = self._joined(str(item.self_href), asset.href)
            if urlsplit(address).scheme in _NETWORK:
                found[key] = address
            elif Path(address).is_file():
                found[key] = Path(address)
            else:
                raise self._problem(f"item {item.id}: there is no file {address} (asset {key})")
        if not found:
            raise self._problem(f"item {item.id} has no GeoTIFF among its assets")
        return found


def _is_picture(asset: Asset) -> bool:
    """Whether an asset is a GeoTIFF of data."""
    roles = set(asset.roles or ())
    if "data" not in roles and roles & _NO_PICTURES:
        return False
    if asset.media_type:
        return asset.media_type.startswith("image/tiff")
    return urlsplit(asset.href).path.lower().endswith((".tif", ".tiff"))


def _bands(key: str, asset: Asset, location: Location, files: Mapping[str, Location]) -> list[FileBand]:
    """The bands of an asset under the names that its description, the file or the asset gives them."""
    found, described = file_bands(location), _described(asset)
    if described and len(described) != len(found):
        raise EmulatorError(
            "INVALID_ARGUMENT", f"asset {key} describes {len(described)} bands, its file has {len(found)}"
        )
    with opened(location) as dataset:
        titles, tagged = dataset.descriptions, dataset.nodatavals
    bands = []
    for band, title, tag, told in zip(found, titles, tagged, described or [{}] * len(found), strict=True):
        name = told.get("name") or title or _unnamed(key, band, single=len(found) == 1, alone=len(files) == 1)
        nodata = _number(told.get("nodata")) if tag is None else None
        bands.append(FileBand(band.path, band.index, str(name), band.type, band.grid, nodata))
    return bands


def _unnamed(key: str, band: FileBand, *, single: bool, alone: bool) -> str:
    if single:
        return key
    return band.name if alone else f"{key}_{band.name}"


def _described(asset: Asset) -> Sequence[Mapping[str, Any]]:
    """What an asset says of its bands: in one list, or in two of the same length."""
    fields = asset.extra_fields
    if fields.get("bands"):
        return list(fields["bands"])
    names, pixels = fields.get("eo:bands") or [], fields.get("raster:bands") or []
    count = max(len(names), len(pixels))
    padded = ([*each, *([{}] * (count - len(each)))] for each in (names, pixels))
    return [{**pixel, **name} for name, pixel in zip(*padded, strict=True)]


def _number(value: Any) -> float | None:
    """A number, which JSON writes as text where it is none: ``nan``, ``inf``, ``-inf``."""
    return None if value is None else float(value)


def _properties(told: Mapping[str, Any]) -> dict[str, Any]:
    """What filters can look at: texts, numbers and lists of them; true and false are 1 and 0, as the service has them."""
    plain = {name: int(value) if isinstance(value, bool) else value for name, value in told.items()}
    kept = {name: value for name, value in plain.items() if name not in _TIMES and not name.startswith("proj:")}
    return {name: value for name, value in kept.items() if _can_be_kept(value)}


def _can_be_kept(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str | int | float) for each in value)
    return isinstance(value, str | int | float)
