"""A folder of GeoTIFFs as an image collection: the files of one date are one image at 00:00 UTC."""

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
from airflow_ee.emulator.values.geometry import Geometry

_NAME = re.compile(r"(?P<date>(\d{4})_(\d{2})_(\d{2})|(\d{4})-(\d{2})-(\d{2})|(\d{8}))(?:_(?P<part>.+))?\.tiff?")

EndOf = Callable[[datetime], datetime]


@dataclass(frozen=True, slots=True)
class Mount:
    """Which folder is mounted as which collection."""

    id: str
    folder: Path

    @classmethod
    def parse(cls, text: str) -> Mount:
        """``ID=DIR``, or a bare ``DIR`` that becomes ``local/<its name>``.

        >>> Mount.parse("data/fields").id
        'local/fields'
        """
        identity, equals, folder = text.partition("=")
        if equals:
            return cls(identity.strip("/"), Path(folder))
        return cls(f"local/{Path(text).resolve().name}", Path(text))


class MountError(ValueError):
    """A folder that cannot be mounted; the message names the file."""


class MountedCollection:
    """The images of a folder. The folder is read once, when it is mounted."""

    kind = Kind.MOUNTED

    def __init__(self, mount: Mount, end_of: EndOf | None = None) -> None:
        self.id = mount.id
        self._end_of = end_of
        images = (self._image(stem, files) for stem, files in _by_date(mount).items())
        self._images = {image.index: image for image in sorted(images, key=lambda image: image.start or image.updated)}

    def _image(self, stem: str, files: Sequence[Path]) -> ImageAsset:
        bands: list[AssetBand] = []
        for path in files:
            try:
                found = file_bands(path)
            except EmulatorError as problem:
                raise MountError(f"cannot mount {self.id}: {problem}") from None
            bands += [AssetBand(each.name, each.type, each.grid, each.node()) for each in found]
        names = [band.name for band in bands]
        for name in names:
            if names.count(name) > 1:
                raise MountError(f"cannot mount {self.id}: the files of {stem} have band {name!r} twice ({files[-1]})")
        stats = [path.stat() for path in files]
        start = _date(stem)
        return ImageAsset(
            id=f"{self.id}/{stem}",
            kind=self.kind,
            bands=tuple(bands),
            updated=datetime.fromtimestamp(max(stat.st_mtime for stat in stats), UTC),
            start=start,
            end=self._end_of(start) if self._end_of else None,
            size_bytes=sum(stat.st_size for stat in stats),
        )

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The images whose date the filters allow."""
        windows = [window for window in (each.window() for each in filters) if window is not None]
        for image in self._images.values():
            if image.start is None or all(Date.of_datetime(image.start) in window for window in windows):
                yield image

    def image(self, index: str) -> ImageAsset | None:
        """The image of that date, as the files write it."""
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
        return {**shown, "startTime": timestamp(min(starts)), "geometry": self._footprint(images).as_value()}

    @staticmethod
    def _footprint(images: Sequence[ImageAsset]) -> Geometry:
        return images[0].geometry


def _by_date(mount: Mount) -> Mapping[str, list[Path]]:
    if not mount.folder.is_dir():
        raise MountError(f"cannot mount {mount.id}: {mount.folder} is not a folder")
    groups: dict[str, list[Path]] = {}
    written: dict[datetime, str] = {}
    for path in sorted(mount.folder.iterdir()):
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
        raise MountError(f"cannot mount {mount.id}: no GeoTIFF in {mount.folder}")
    return groups


def _date(stem: str) -> datetime:
    digits = re.sub(r"\D", "", stem)
    return datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:]), tzinfo=UTC)
