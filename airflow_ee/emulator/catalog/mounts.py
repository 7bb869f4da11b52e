"""Image collections of one's own files. In a folder of GeoTIFFs the files of one date are one image at 00:00 UTC."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind, asset_name
from airflow_ee.emulator.catalog.files import file_bands
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.values.dates import Date, timestamp
from airflow_ee.emulator.values.element import Filter

_NAME = re.compile(r"(?P<date>(\d{4})_(\d{2})_(\d{2})|(\d{4})-(\d{2})-(\d{2})|(\d{8}))(?:_(?P<part>.+))?\.tiff?")

EndOf = Callable[[datetime], datetime]


@dataclass(frozen=True, slots=True)
class Mount:
    """What is mounted as which collection."""

    id: str
    path: Path
    """A folder of GeoTIFFs, or the JSON file of a STAC catalog."""

    @classmethod
    def parse(cls, text: str) -> Mount:
        """``ID=PATH``, or a bare ``PATH`` that becomes ``local/<its name>``; a STAC file in a folder has the folder's name.

        >>> Mount.parse("data/fields").id, Mount.parse("data/fields/collection.json").id
        ('local/fields', 'local/fields')
        """
        identity, equals, path = text.partition("=")
        if equals:
            return cls(identity.strip("/"), Path(path))
        whole = Path(text).resolve()
        return cls(f"local/{(whole.parent if whole.suffix == '.json' else whole).name}", Path(text))


class MountError(ValueError):
    """Something that cannot be mounted; the message names the file."""


class MountedCollection:
    """Images that were read once, when they were mounted."""

    kind = Kind.MOUNTED

    def __init__(
        self, identity: str, images: Iterable[ImageAsset], properties: Mapping[str, Any] | None = None
    ) -> None:
        self.id = identity
        self._images = {image.index: image for image in sorted(images, key=lambda image: image.start or image.updated)}
        self._properties = dict(properties or {})

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The images whose date the filters allow."""
        windows = [window for window in (each.window() for each in filters) if window is not None]
        for image in self._images.values():
            if image.start is None or all(Date.of_datetime(image.start) in window for window in windows):
                yield image

    def image(self, index: str) -> ImageAsset | None:
        """The image of that index: of a folder the date, as the files write it."""
        return self._images.get(index)

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset of the collection."""
        images = list(self._images.values())
        shown: dict[str, Any] = {"type": "IMAGE_COLLECTION", "name": asset_name(self.id), "id": self.id}
        if not images:
            return shown
        shown["updateTime"] = timestamp(max(image.updated for image in images))
        if view == "BASIC":
            return shown
        starts = [image.start for image in images if image.start is not None]
        if self._properties:
            shown["properties"] = self._properties
        return {**shown, "startTime": timestamp(min(starts)), "geometry": images[0].geometry.as_value()}


def folder_images(mount: Mount, end_of: EndOf | None = None) -> list[ImageAsset]:
    """The images of a folder of GeoTIFFs."""
    return [_image(mount, stem, files, end_of) for stem, files in _by_date(mount).items()]


def _image(mount: Mount, stem: str, files: Sequence[Path], end_of: EndOf | None) -> ImageAsset:
    bands: list[AssetBand] = []
    for path in files:
        try:
            # Whoever mounts a folder has it in hand: a virtual raster under the name of a GeoTIFF is one's own.
            found = file_bands(path, any_format=True)
        except EmulatorError as problem:
            raise MountError(f"cannot mount {mount.id}: {problem}") from None
        bands += [AssetBand(each.name, each.type, each.grid, each.node()) for each in found]
    twice = repeated(band.name for band in bands)
    if twice is not None:
        raise MountError(f"cannot mount {mount.id}: the files of {stem} have band {twice!r} twice ({files[-1]})")
    stats = [path.stat() for path in files]
    start = _date(stem)
    return ImageAsset(
        id=f"{mount.id}/{stem}",
        kind=Kind.MOUNTED,
        bands=tuple(bands),
        updated=datetime.fromtimestamp(max(stat.st_mtime for stat in stats), UTC),
        start=start,
        end=end_of(start) if end_of else None,
        size_bytes=sum(stat.st_size for stat in stats),
    )


def repeated(names: Iterable[str]) -> str | None:
    """The first name that comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _by_date(mount: Mount) -> Mapping[str, list[Path]]:
    if not mount.path.is_dir():
        raise MountError(f"cannot mount {mount.id}: {mount.path} is not a folder")
    groups: dict[str, list[Path]] = {}
    written: dict[datetime, str] = {}
    for path in sorted(mount.path.iterdir()):
        if path.suffix.lower() not in (".tif", ".tiff"):
            continue
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MountError(f"cannot mount {mount.id}: {path} is not named <date>[_<part>].tif")
        stem = match["date"]
        try:
            day = _date(stem)
        except ValueError:
            raise MountError(f"cannot mount {mount.id}: {path} is named after a day that does not exist") from None
        if written.setdefault(day, stem) != stem:
            raise MountError(f"cannot mount {mount.id}: {path} writes its date unlike {groups[written[day]][0].name}")
        groups.setdefault(stem, []).append(path)
    if not groups:
        raise MountError(f"cannot mount {mount.id}: no GeoTIFF in {mount.path}")
    return groups


def _date(stem: str) -> datetime:
    digits = re.sub(r"\D", "", stem)
    return datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:]), tzinfo=UTC)
