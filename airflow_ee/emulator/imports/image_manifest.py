"""An ImageManifest, checked: tilesets of GeoTIFFs, and which of their bands the image has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely

from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.imports.buckets import ObjectName
from airflow_ee.emulator.imports.manifest import AssetFields, object_names, refuse_unknown
from airflow_ee.emulator.limits import MAX_BANDS
from airflow_ee.emulator.pixels.crs import Crs, parse_crs
from airflow_ee.emulator.pixels.grid import Affine6

_PATH = "image_manifest"
_TYPES = {"FLOAT": "float32", "DOUBLE": "float64"}


@dataclass(frozen=True, slots=True)
class Tile:
    """One GeoTIFF of a tileset."""

    file: ObjectName
    sidecars: tuple[ObjectName, ...]
    transform: Affine6 | None
    """In place of the file's own."""
    size: tuple[int, int] | None
    """Width and height that the file must have."""


@dataclass(frozen=True, slots=True)
class Tileset:
    """Files of the same bands side by side."""

    id: str
    tiles: tuple[Tile, ...]
    dtype: str | None
    """What its values become; None keeps the type of the files."""
    crs: Crs | None
    """In place of that of the files."""


@dataclass(frozen=True, slots=True)
class BandSource:
    """A band of the image, and where its pixels are."""

    id: str
    tileset: str
    index: int
    missing: tuple[float, ...]
    policy: str


@dataclass(frozen=True, slots=True)
class MaskSource:
    """A tileset whose last band says where pixels are valid."""

    tileset: str
    bands: tuple[str, ...]
    """Ids of the bands that it masks; none for all."""


@dataclass(frozen=True, slots=True)
class ImageImport:
    """An image to make of files."""

    fields: AssetFields
    tilesets: Mapping[str, Tileset]
    bands: tuple[BandSource, ...]
    """None for all that the files have."""
    masks: tuple[MaskSource, ...]
    missing: tuple[float, ...]
    policy: str
    footprint: tuple[tuple[float, float], ...]
    """In pixels of a band; empty for the outline of the image."""
    footprint_band: str
    file_names: bool
    """Whether bands are named as the files name them."""

    @classmethod
    def parse(cls, manifest: Mapping[str, Any], *, overwrite: bool) -> ImageImport:
        """An import from a manifest that fits its message."""
        refuse_unknown(manifest, _PATH, "minTileAreaRatio")
        tilesets = _tilesets(manifest)
        missing, policy = _missing(manifest), _policy(manifest) or "MEAN"
        bands = _bands(manifest, tilesets, missing, policy)
        masks = _masks(manifest, tilesets, {band.id for band in bands})
        footprint = manifest.get("footprint", {})
        return cls(
            fields=AssetFields.parse(manifest, _PATH, overwrite=overwrite),
            tilesets=tilesets,
            bands=bands,
            masks=masks,
            missing=missing,
            policy=policy,
            footprint=_ring(footprint.get("points", ())),
            footprint_band=footprint.get("bandId", ""),
            file_names=not manifest.get("skipMetadataRead", False),
        )


def _tilesets(manifest: Mapping[str, Any]) -> dict[str, Tileset]:
    if not manifest.get("tilesets"):
        raise field_violation(f"{_PATH}.tilesets", "An image manifest must have at least one tileset.")
    tilesets: dict[str, Tileset] = {}
    for number, given in enumerate(manifest["tilesets"]):
        path = f"{_PATH}.tilesets[{number}]"
        tileset = _tileset(given, manifest.get("uriPrefix", ""), path)
        if tileset.id in tilesets:
            raise field_violation(f"{path}.id", f"Tileset ids must be unique: '{tileset.id[:100]}' is used twice.")
        tilesets[tileset.id] = tileset
    return tilesets


def _tileset(given: Mapping[str, Any], prefix: str, path: str) -> Tileset:
    refuse_unknown(given, path, "subdatasetPrefix", "subdatasetSuffix")
    if not given.get("sources"):
        raise field_violation(f"{path}.sources", f"Tileset '{given.get('id', '')[:100]}' has no sources.")
    kind = given.get("dataType", "DATA_TYPE_UNSPECIFIED")
    dtype = None if kind == "DATA_TYPE_UNSPECIFIED" else _TYPES.get(kind, kind.lower())
    crs = parse_crs(given["crs"]) if given.get("crs") else None
    tiles = (_tile(source, prefix, f"{path}.sources[{number}]") for number, source in enumerate(given["sources"]))
    return Tileset(given.get("id", ""), tuple(tiles), dtype, crs)


def _tile(source: Mapping[str, Any], prefix: str, path: str) -> Tile:
    file, *sidecars = object_names(source, prefix, path)
    affine, size = source.get("affineTransform"), source.get("dimensions")
    transform = _transform(affine, f"{path}.affine_transform") if affine else None
    shape = (int(size.get("width", 0)), int(size.get("height", 0))) if size else None
    return Tile(file, tuple(sidecars), transform, shape)


def _transform(affine: Mapping[str, Any], path: str) -> Affine6:
    def term(name: str) -> float:
        return float(affine.get(name, 0.0))

    a, b, d, e = term("scaleX"), term("shearX"), term("shearY"), term("scaleY")
    if a * e == b * d:
        raise field_violation(path, "The affine transform of a source cannot be inverted.")
    return a, b, term("translateX"), d, e, term("translateY")


def _bands(
    manifest: Mapping[str, Any], tilesets: Mapping[str, Tileset], missing: tuple[float, ...], policy: str
) -> tuple[BandSource, ...]:
    given = manifest.get("bands", ())
    if len(given) > MAX_BANDS:
        raise invalid(f"Number of bands ({len(given)}) must be less than or equal to {MAX_BANDS}.")
    # Bands of the only tileset that do not say their place are in the order of the file.
    in_order = len(tilesets) == 1 and not any("tilesetBandIndex" in band for band in given)
    bands = []
    for number, band in enumerate(given):
        path = f"{_PATH}.bands[{number}]"
        tileset = _known_tileset(band, tilesets, path)
        index = int(band.get("tilesetBandIndex", number if in_order else 0))
        if index < 0:
            raise field_violation(f"{path}.tileset_band_index", f"Band index must not be negative, got {index}.")
        bands.append(BandSource(band.get("id", ""), tileset, index, _missing(band) or missing, _policy(band) or policy))
    _check_ids(bands)
    return tuple(bands)


def _known_tileset(given: Mapping[str, Any], tilesets: Mapping[str, Tileset], path: str) -> str:
    """The only tileset need not be named."""
    name: str = given.get("tilesetId") or (next(iter(tilesets)) if len(tilesets) == 1 else "")
    if name not in tilesets:
        known = ", ".join(f"'{each[:50]}'" for each in list(tilesets)[:10])
        raise field_violation(f"{path}.tileset_id", f"There is no tileset '{name[:100]}'. Tilesets: {known}.")
    return name


def _check_ids(bands: Sequence[BandSource]) -> None:
    seen: set[str] = set()
    for number, band in enumerate(bands):
        path = f"{_PATH}.bands[{number}].id"
        if not band.id:
            raise field_violation(path, "Band id must be specified.")
        if band.id in seen:
            raise field_violation(path, f"Band ids must be unique: '{band.id[:100]}' is used twice.")
        seen.add(band.id)


def _masks(manifest: Mapping[str, Any], tilesets: Mapping[str, Tileset], band_ids: set[str]) -> tuple[MaskSource, ...]:
    masks = []
    for number, mask in enumerate(manifest.get("maskBands", ())):
        path = f"{_PATH}.mask_bands[{number}]"
        bands = tuple(mask.get("bandIds", ()))
        for band in bands:
            if band_ids and band not in band_ids:
                raise field_violation(f"{path}.band_ids", f"There is no band '{band[:100]}' to mask.")
        masks.append(MaskSource(_known_tileset(mask, tilesets, path), bands))
    covered = [band for mask in masks for band in mask.bands or band_ids]
    if len(covered) != len(set(covered)) or sum(not mask.bands for mask in masks) > 1:
        raise field_violation(f"{_PATH}.mask_bands", "Each band may have one mask band only.")
    return tuple(masks)


def _missing(given: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in given.get("missingData", {}).get("values", ()))


def _policy(given: Mapping[str, Any]) -> str | None:
    policy: str = given.get("pyramidingPolicy", "PYRAMIDING_POLICY_UNSPECIFIED")
    return None if policy == "PYRAMIDING_POLICY_UNSPECIFIED" else policy


def _ring(points: Iterable[Mapping[str, Any]]) -> tuple[tuple[float, float], ...]:
    ring = tuple((float(point.get("x", 0.0)), float(point.get("y", 0.0))) for point in points)
    if not ring:
        return ()
    path = f"{_PATH}.footprint.points"
    if len(ring) < 4 or ring[0] != ring[-1]:
        raise field_violation(path, "A footprint must be a closed ring of at least four points.")
    if not shapely.Polygon(ring).is_valid:
        raise field_violation(path, "A footprint must be the ring of a simple polygon.")
    return ring
