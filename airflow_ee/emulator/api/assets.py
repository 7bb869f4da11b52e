"""assets.get, listAssets and their like."""

from __future__ import annotations

from typing import Any

from airflow_ee.emulator.api.assetfilter import AssetFilter, parse_filter
from airflow_ee.emulator.api.calls import Answer, Call, page
from airflow_ee.emulator.catalog.assets import CollectionAsset, ImageAsset, asset_id, marker
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.session import Session

PAGE_SIZE = 1000
_VIEWS = ("FULL", "BASIC", "BASIC_SYNC", "EARTH_ENGINE_ASSET_VIEW_UNSPECIFIED")


def get_asset(call: Call, session: Session) -> Answer:
    """An image, a collection or a folder."""
    name = call.path["name"]
    collection = session.catalog.collection(name)
    if collection is not None:
        session.touch(collection.kind)
        return Answer(collection.as_json(), session.marker)
    image = session.catalog.image(name)
    if image is not None:
        session.touch(image.kind)
        return Answer(image.as_json(), session.marker)
    folder = session.catalog.stored.folder(asset_id(name))
    if folder is None:
        raise session.catalog.denied(name)
    return Answer(folder)


def list_assets(call: Call, session: Session) -> Answer:
    """The images of a collection, or what is in a folder."""
    parent = call.path["parent"]
    view = _view(call)
    collection = session.catalog.collection(parent)
    if collection is not None:
        session.touch(collection.kind)
        return _listed(_found(collection, parse_filter(call.query.get("filter", ""))), call, view, session.marker)
    if call.query.get("filter"):
        raise invalid("Filter is only supported for ImageCollections.")
    return _list_stored(call, session, asset_id(parent), view)


def list_images(call: Call, session: Session) -> Answer:
    """The older form of the same, of v1alpha."""
    clauses = [call.query["filter"]] if call.query.get("filter") else []
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
        raise invalid(f"Invalid value at 'view' ({kind}), \"{view}\"")
    return "BASIC" if view.startswith("BASIC") else "FULL"


def _found(collection: CollectionAsset, condition: AssetFilter) -> list[ImageAsset]:
    return [image for image in collection.query(condition.hints()) if condition.matches(image)]


def _listed(images: list[ImageAsset], call: Call, view: str, mark: str) -> Answer:
    shown, token = page(images, call, default_size=PAGE_SIZE)
    body: dict[str, Any] = {"assets": [image.as_json(view=view) for image in shown]} if shown else {}
    if token:
        body["nextPageToken"] = token
    return Answer(body, mark)


def _list_stored(call: Call, session: Session, identity: str, view: str) -> Answer:
    """Assets that exports made; a project that never made any has an empty root."""
    stored = session.catalog.stored
    if stored.folder(identity) is None and not call.method.endswith("listAssets"):
        raise session.catalog.denied(identity)
    images = stored.children(identity)
    if not images and stored.folder(identity) is None and "/assets/" in identity + "/":
        raise session.catalog.denied(identity)
    return _listed(images, call, view, marker(image.kind for image in images))


def create_asset(call: Call, session: Session) -> Answer:
    """A new folder or image collection."""
    name = f"{call.path['parent']}/assets/{call.query.get('assetId', '')}"
    kind = call.body.get("type", "TYPE_UNSPECIFIED")
    return Answer(session.catalog.stored.create_container(name, kind, call.body.get("properties", {}), session.now))


def delete_asset(call: Call, session: Session) -> Answer:
    """Remove an asset that an export or assets.create has made."""
    session.catalog.stored.delete(asset_id(call.path["name"]))
    return Answer({})
