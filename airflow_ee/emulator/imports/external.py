"""Images backed by files of a bucket: registered from a manifest, or by the location of one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.catalog.assets import Kind, asset_id, asset_name
from airflow_ee.emulator.catalog.external import ExternalBand, not_optimized
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.imports.buckets import FolderBuckets
from airflow_ee.emulator.imports.image_manifest import BandSource, ImageImport, Tileset
from airflow_ee.emulator.imports.images import Sheet, all_bands, check_index, open_sheet
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import timestamp

_REFUSED = ("maskBands", "missingData", "footprint")
_REFUSED_OF_TILESETS = ("crs", "dataType")
_REFUSED_OF_SOURCES = ("affineTransform", "dimensions")
_BAND_FIELDS = ("id", "tilesetId", "tilesetBandIndex", "pyramidingPolicy")


def import_external(call: Call, session: Session) -> Answer:
    """``image:importExternal``: the asset is there at once, without an operation."""
    if "imageManifest" not in call.body:
        raise field_violation("image_manifest", "Image manifest must be specified.")
    name = register(call.body["imageManifest"], session, overwrite=bool(call.body.get("overwrite", False)))
    return Answer({"name": name})


def location_of(asset: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Where a new asset's pixels are, by either of the field's names."""
    location: Mapping[str, Any] | None = asset.get("cloudStorageLocation") or asset.get("gcsLocation")
    return location


def manifest_of(asset: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The manifest that says what ``assets.create`` says with a location."""
    uris = (location_of(asset) or {}).get("uris", [])
    if asset.get("type") != "IMAGE":
        raise field_violation("asset.type", "An asset with a Cloud Storage location must be of type IMAGE.")
    if len(uris) != 1:
        raise field_violation("asset.cloud_storage_location.uris", f"There must be one URI, got {len(uris)}.")
    bands = [{field: band[field] for field in _BAND_FIELDS if field in band} for band in asset.get("bands", ())]
    taken_over = {field: asset[field] for field in ("properties", "startTime", "endTime") if field in asset}
    return {**taken_over, "name": name, "tilesets": [{"sources": [{"uris": uris}]}], "bands": bands}


def register(manifest: Mapping[str, Any], session: Session, *, overwrite: bool) -> str:
    """Make the asset; answers its name."""
    task = ImageImport.parse(manifest, overwrite=overwrite)
    _check_plain(manifest)
    store = session.catalog.stored
    if store.objects is None:
        raise invalid("Images backed by Cloud Optimized GeoTIFFs are not emulated with a storage endpoint")
    identity = asset_id(task.fields.place.name)
    store.check_destination(identity, overwrite=overwrite, kind="IMAGE")
    sheets = {name: _sheet(tileset, store.objects) for name, tileset in task.tilesets.items()}
    sources = task.bands or all_bands(task, {name: sheet.names for name, sheet in sheets.items()})
    bands = [_band(source, sheets[source.tileset]) for source in sources]
    simulated = any(sheet.simulated for sheet in sheets.values())
    record = {
        "type": "IMAGE",
        "updateTime": timestamp(session.now),
        "kind": (Kind.SIMULATED if simulated else Kind.MOUNTED).value,
        "times": task.fields.times,
        "properties": dict(task.fields.properties),
        "bands": [band.to_record() for band in bands],
    }
    store.put_record(identity, record, overwrite=overwrite, kind="IMAGE")
    return asset_name(identity)


def _check_plain(manifest: Mapping[str, Any]) -> None:
    """Files are shown as they are: refuse what would change their pixels."""
    checks: list[tuple[Mapping[str, Any], tuple[str, ...]]] = [(manifest, _REFUSED)]
    for tileset in manifest.get("tilesets", ()):
        checks += [(tileset, _REFUSED_OF_TILESETS), *((each, _REFUSED_OF_SOURCES) for each in tileset["sources"])]
        if len(tileset["sources"]) > 1 or len(tileset["sources"][0]["uris"]) > 1:
            raise invalid(
                f"A tileset of an external image must have one file: '{tileset.get('id', '')[:100]}' has more."
            )
    checks += [(band, ("missingData",)) for band in manifest.get("bands", ())]
    for given, names in checks:
        for name in names:
            if given.get(name):
                raise invalid(f"image:importExternal: {name} is not emulated")


def _sheet(tileset: Tileset, objects: Path) -> Sheet:
    sheet = open_sheet(tileset.tiles[0], tileset, FolderBuckets(objects.parent), objects)
    problem = not_optimized(sheet.path)
    if problem:
        raise invalid(f"{sheet.tile.file.uri} is not a Cloud Optimized GeoTIFF: {problem}.")
    return sheet


def _band(source: BandSource, sheet: Sheet) -> ExternalBand:
    check_index(source, len(sheet.names))
    file = sheet.tile.file
    dtype = sheet.dtypes[source.index]
    return ExternalBand(file.bucket, file.key, source.index + 1, source.id, dtype, sheet.grid, source.policy)
