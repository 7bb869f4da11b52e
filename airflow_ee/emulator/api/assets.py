"""Assets: looked at, listed, made, changed, copied, moved and removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_ee.emulator.api.assetfilter import AssetFilter, parse_filter
from airflow_ee.emulator.api.calls import Answer, Call, page
from airflow_ee.emulator.catalog.assets import LEGACY, PUBLIC, CollectionAsset, ImageAsset, asset_id, asset_name, marker
from airflow_ee.emulator.catalog.store import ContainerAsset, StoredAsset, is_root
from airflow_ee.emulator.errors import EmulatorError, field_violation, invalid
from airflow_ee.emulator.imports import external
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import Date, parse_time

PAGE_SIZE = 1000
MAX_ASSETS = 10_000
MAX_BYTES = 250 * 2**30
_FIELDS: dict[str, str] = {"start_time": "startTime", "end_time": "endTime"}
_VIEWS = ("FULL", "BASIC", "BASIC_SYNC", "EARTH_ENGINE_ASSET_VIEW_UNSPECIFIED")


def get_asset(call: Call, session: Session) -> Answer:
    """Whatever has that name."""
    name = call.path["name"]
    collection = session.catalog.collection(name)
    if collection is not None:
        session.touch(collection.kind)
        return Answer(collection.as_json(), session.marker)
    image = session.catalog.image(name)
    if image is not None:
        session.touch(image.kind)
        return Answer(image.as_json(), session.marker)
    table = session.catalog.table(name)
    if table is not None:
        session.touch(table.kind)
        return Answer(table.as_json(), session.marker)
    folder = _root(name, session) or _public_folder(name, session)
    if folder is not None:
        return Answer(folder)
    stored = session.catalog.stored.asset(asset_id(name))
    if stored is None:
        raise session.catalog.denied(name)
    return Answer(stored.as_json(), marker([stored.kind]))


def _root(name: str, session: Session) -> dict[str, Any] | None:
    """A project's or user's own folder, with its quota."""
    identity = asset_id(name.rstrip("/"))
    if name.startswith(PUBLIC.rstrip("/")) or not is_root(asset_name(identity)):
        return None
    count, size = session.catalog.stored.usage(identity)
    quota = {"sizeBytes": size, "maxSizeBytes": MAX_BYTES, "assetCount": count, "maxAssets": MAX_ASSETS}
    shown = {key: str(number) for key, number in quota.items() if number}
    return {"type": "FOLDER", "name": asset_name(identity), "id": identity, "quota": shown}


def _public_folder(name: str, session: Session) -> dict[str, Any] | None:
    """A folder of the public catalogue: there where anything lies below it."""
    identity = asset_id(name.rstrip("/"))
    if not any(each.startswith(f"{identity}/") for each in session.catalog.public()):
        return None
    return {"type": "FOLDER", "name": asset_name(identity), "id": identity}


def list_assets(call: Call, session: Session) -> Answer:
    """The images of a collection, or what is in a folder."""
    parent = call.path["parent"]
    view = _view(call)
    collection = session.catalog.collection(parent)
    if collection is not None:
        session.touch(collection.kind)
        condition = parse_filter(call.query.get("filter", ""), bare_names=call.method == "assets.listImages")
        images = _found(collection, condition)
        return _listed(images, call, session.marker, view)
    if _public_folder(parent, session) is not None:
        return _listed(_public_members(asset_id(parent.rstrip("/")), session), call, "true")
    return _list_stored(call, session, asset_id(parent.rstrip("/")), view)


def list_images(call: Call, session: Session) -> Answer:
    """The older form of the same, of v1alpha."""
    clauses = [f"({call.query['filter']})"] if call.query.get("filter") else []
    if call.query.get("startTime"):
        clauses.append(f'startTime >= "{call.query["startTime"]}"')
    if call.query.get("endTime"):
        clauses.append(f'endTime < "{call.query["endTime"]}"')
    if call.query.get("region"):
        region = call.query["region"].replace('"', "'")
        clauses.append(f'intersects("{region}")')
    query = {**call.query, "filter": " AND ".join(clauses)}
    answer = list_assets(Call(call.method, call.path, query, call.body), session)
    body = {**answer.body, "images": answer.body["assets"]} if "assets" in answer.body else dict(answer.body)
    body.pop("assets", None)
    return Answer(body, answer.marker)


def _view(call: Call) -> str:
    view = call.query.get("view") or "FULL"
    if view not in _VIEWS:
        kind = "type.googleapis.com/google.earthengine.v1.EarthEngineAssetView"
        raise invalid(f"Invalid value at 'view' ({kind}), \"{view[:100]}\"")
    return "BASIC" if view.startswith("BASIC") else "FULL"


def _found(collection: CollectionAsset, condition: AssetFilter) -> Iterator[ImageAsset]:
    return (image for image in collection.query(condition.hints()) if condition.matches(image))


def _listed(assets: Iterable[Any], call: Call, mark: str, view: str = "BASIC") -> Answer:
    part, token = page(assets, call, default_size=PAGE_SIZE)
    shown = [each if isinstance(each, dict) else each.as_json(view=view) for each in part]
    body: dict[str, Any] = {"assets": shown} if shown else {}
    return Answer({**body, "nextPageToken": token} if token else body, mark)


def _public_members(identity: str, session: Session) -> list[dict[str, Any]]:
    """What is directly inside a folder of the public catalogue."""
    public = session.catalog.public()
    below = sorted(each for each in public if each.startswith(f"{identity}/"))
    names = dict.fromkeys("/".join(each.split("/")[: identity.count("/") + 2]) for each in below)
    kinds = {name: public[name].as_json(view="BASIC")["type"] if name in public else "FOLDER" for name in names}
    return [{"type": kind, "name": asset_name(name), "id": name} for name, kind in kinds.items()]


def _list_stored(call: Call, session: Session, identity: str, view: str) -> Answer:
    """What exports and clients have made; a project that never made anything has an empty root."""
    name = asset_name(identity)
    if name in (LEGACY.rstrip("/"), "projects/earthengine-legacy"):
        return _listed(
            [{"type": "FOLDER", "name": asset_name(each), "id": each} for each in _homes(session)], call, "true"
        )
    container = session.catalog.stored.asset(identity)
    if not is_root(name) and not isinstance(container, ContainerAsset):
        raise session.catalog.denied(identity)
    members = session.catalog.stored.members(identity)
    if isinstance(container, ContainerAsset) and container.type == "IMAGE_COLLECTION":
        condition = parse_filter(call.query.get("filter", ""))
        members = [each for each in members if condition.matches(each)]
    else:
        view = "BASIC"  # says the reference of folders, and that filters mean nothing there
    return _listed(members, call, marker(each.kind for each in members), view)


def _homes(session: Session) -> list[str]:
    return [f"users/{name}" for name in session.catalog.stored.names("projects/earthengine-legacy/assets/users")]


def create_asset(call: Call, session: Session) -> Answer:
    """A new folder or image collection, or an image whose pixels stay in a bucket."""
    name = f"{call.path['parent']}/assets/{call.query.get('assetId', '')}"
    _check_own(name, "create")
    if external.location_of(call.body) is not None:
        overwrite = call.query.get("overwrite") in ("true", "1")
        external.register(external.manifest_of(call.body, name), session, overwrite=overwrite)
        return get_asset(Call(call.method, {"name": name}), session)
    if call.query.get("overwrite") in ("true", "1"):
        raise invalid("assets.create: overwrite is not emulated")
    kind = call.body.get("type", "TYPE_UNSPECIFIED")
    stored = session.catalog.stored
    made = stored.create_container(asset_id(name), kind, _properties(call.body.get("properties", {})), session.now)
    times = _times(call.body, ("startTime", "endTime"))
    return Answer(_change(asset_id(name), {"times": times}, session) if any(times.values()) else made)


def patch_asset(call: Call, session: Session) -> Answer:
    """Change times and properties, as the mask says."""
    name = call.path["asset_name"]
    _check_own(name, "update")
    given = call.body.get("asset", {})
    identity = asset_id(name)
    if session.catalog.stored.asset(identity) is None:
        raise session.catalog.denied(name)
    paths = _mask(call.body.get("updateMask"))
    properties = _properties(given.get("properties", {}), nulls=True)
    change: dict[str, Any] = {}
    if not paths or "properties" in paths:
        change["properties"] = {key: value for key, value in properties.items() if value is not None}
    named = [path.partition(".")[2] for path in paths if path.startswith("properties.")]
    if named:
        change["some_properties"] = {_unquoted(key): properties.get(_unquoted(key)) for key in named}
    fields = [path for path in ("startTime", "endTime") if not paths or path in paths]
    if fields:
        change["times"] = _times(given, fields)
    return Answer(_change(identity, change, session))


def _mask(mask: Any) -> list[str]:
    """The paths of a field mask: an object, as the official client sends it, or a text with commas, as JSON says."""
    paths: Any = mask.get("paths", []) if isinstance(mask, Mapping) else mask or []
    if isinstance(paths, str):
        paths = re.findall(r'(?:[^,"]|"[^"]*")+', paths)
    if not isinstance(paths, list) or any(not isinstance(path, str) for path in paths):
        raise field_violation(
            "update_mask", "Invalid value at 'update_mask' (type.googleapis.com/google.protobuf.FieldMask)"
        )
    named = [_FIELDS.get(path, str(path)) for path in paths]
    for path in named:
        if path not in ("startTime", "endTime", "properties") and not path.startswith("properties."):
            raise invalid(f"Field '{path[:100]}' of an asset cannot be updated.")
    return named


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" else text


def _properties(given: Any, *, nulls: bool = False) -> dict[str, Any]:
    """Properties of a folder or asset: texts and numbers, says the reference."""
    if not isinstance(given, Mapping):
        raise field_violation(
            "asset.properties", "Invalid value at 'asset.properties' (type.googleapis.com/google.protobuf.Struct)"
        )
    for name, value in given.items():
        good = isinstance(value, str | int | float) or (nulls and value is None)
        if not good or isinstance(value, bool):
            raise invalid(f"Property '{name[:100]}' must be a string or a number.")
    return dict(given)


def _times(given: Mapping[str, Any], fields: Any) -> dict[str, float | None]:
    names = {"startTime": "time_start", "endTime": "time_end"}
    found: dict[str, str | None] = {names[field]: given.get(field) for field in fields}
    return {name: Date.of_datetime(parse_time(text)).milliseconds if text else None for name, text in found.items()}


def _change(identity: str, change: Mapping[str, Any], session: Session) -> dict[str, Any]:
    changed: StoredAsset = session.catalog.stored.change(identity, change, session.now)
    return changed.as_json()


def copy_asset(call: Call, session: Session) -> Answer:
    """The same again under another name."""
    source, target = call.path["sourceName"], _destination(call)
    if call.body.get("bandIds"):
        raise invalid("assets.copy: bandIds is not emulated")
    if session.catalog.image(source) is not None and session.catalog.stored.asset(asset_id(source)) is None:
        raise invalid("assets.copy: copying images of the catalogue is not emulated; export them")
    _check_there(source, session)
    made = session.catalog.stored.copy(asset_id(source), asset_id(target), overwrite=bool(call.body.get("overwrite")))
    return Answer(made.as_json(), marker([made.kind]))


def move_asset(call: Call, session: Session) -> Answer:
    """Another name for the same, with all that is inside."""
    source, target = call.path["sourceName"], _destination(call)
    _check_own(source, "delete")
    _check_there(source, session)
    made = session.catalog.stored.move(asset_id(source), asset_id(target))
    return Answer(made.as_json(), marker([made.kind]))


def _destination(call: Call) -> str:
    name: str = call.body.get("destinationName", "")
    if not re.fullmatch(r"projects/[^/:]+/assets/[^:]+", name):
        raise field_violation("destination_name", f"Invalid asset name: '{name[:200]}'.")
    _check_own(name, "create")
    return name


def _check_there(name: str, session: Session) -> None:
    if session.catalog.stored.asset(asset_id(name)) is None:
        raise session.catalog.denied(name)


def delete_asset(call: Call, session: Session) -> Answer:
    """Remove an asset that an export or assets.create has made."""
    name = call.path["name"]
    _check_own(name, "delete")
    session.catalog.stored.delete(asset_id(name))
    return Answer({})


def _check_own(name: str, permission: str) -> None:
    """The public catalogue belongs to somebody else."""
    if name.startswith(PUBLIC.removesuffix("/")):
        message = (
            f"Permission 'earthengine.assets.{permission}' denied on resource '{name[:300]}' (or it may not exist)."
        )
        raise EmulatorError("PERMISSION_DENIED", message)
