"""Assets made, copied, moved and removed so that doing it again is harmless.

An answer may be lost after the service has done its work, and a worker may die before it has told anybody. What is found
then is judged by what was wanted: a folder that is there, a copy that equals its source, a source that is gone while its
destination is there, an asset that is missing.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import (
    AlreadyExists,
    AssetNotFound,
    EarthEngineError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from airflow_ee.core.resources import Asset
from airflow_ee.core.wire import asset_name
from airflow_ee.core.wire_assets import (
    CONTAINERS,
    container_body,
    file_uris,
    is_root,
    own_asset_name,
    parent_name,
)

__all__ = [
    "asset_exists",
    "copy_asset",
    "create_container",
    "create_external_image",
    "delete_asset",
    "find_asset",
    "make_parents",
    "move_asset",
]

DELETIONS_AT_ONCE = 8
"""A fifth of what a project may have in flight: a large collection is gone in minutes, and other tasks go on."""
# These tell one copy of an asset from another, and nothing of what is in it.
_OF_THE_PLACE = frozenset({"name", "id", "updateTime"})
MISSING = (NotFound, AssetNotFound)
"""How the service says that there is no such asset; the second by its words, whatever the status."""
_REFUSALS = (AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied)
log = logging.getLogger(__name__)


def find_asset(client: EarthEngineClient, asset_id: str) -> Asset | None:
    """The asset of that id, or None when there is none.

    The service may answer that permission is denied "or it may not exist"; the folder around it tells which it is.

    Raises
    ------
    PermissionDenied
        When the asset is there and may not be read, or that cannot be found out.
    """
    try:
        return client.get_asset(asset_id)
    except MISSING:
        return None
    except PermissionDenied as denied:
        if "may not exist" not in denied.message or _is_listed(client, asset_name(asset_id), denied):
            raise
        return None


def asset_exists(client: EarthEngineClient, asset_id: str) -> bool:
    """Whether an asset is there, be it that it may not be read."""
    try:
        return find_asset(client, asset_id) is not None
    except PermissionDenied as denied:
        return _is_listed(client, asset_name(asset_id), denied)


def create_container(
    client: EarthEngineClient,
    asset_id: str,
    asset_type: str,
    *,
    properties: Mapping[str, Any] | None = None,
    create_parents: bool = True,
    exist_ok: bool = True,
) -> tuple[Asset, list[str]]:
    """Make a folder or image collection, and the folders around it.

    Parameters
    ----------
    properties
        Texts and numbers; of an asset that is there already they are left as they are.
    create_parents
        Whether folders that are missing are made.
    exist_ok
        Whether one that is there already is fine, if it is of that type.

    Returns
    -------
    The asset, and the names of what was made, outermost first.

    Raises
    ------
    AlreadyExists
        When another kind of asset is there, or any and ``exist_ok`` is false.
    """
    name, body = own_asset_name("asset_id", asset_id), container_body(asset_type, properties)
    found = find_asset(client, name)
    if found is not None:
        if not exist_ok:
            raise AlreadyExists(f"{name} is there already, a {found.type}.")
        return _of_type(found, asset_type), []
    made = make_parents(client, name) if create_parents else []
    try:
        asset = client.assets.create(name, body)
    except AlreadyExists:
        # It was not there before: an answer was lost, or another task wanted the same.
        return _of_type(client.get_asset(name), asset_type), [*made, name]
    return asset, [*made, name]


def create_external_image(
    client: EarthEngineClient,
    asset_id: str,
    body: Mapping[str, Any],
    *,
    overwrite: bool = False,
    create_parents: bool = False,
) -> tuple[Asset, list[str]]:
    """Make an image whose pixels stay in Cloud Storage.

    Parameters
    ----------
    body
        Of :func:`~airflow_ee.core.wire_assets.external_image_body`.
    overwrite
        Whether an asset that is there is replaced. If not, one that reads the same file is taken for what an earlier try has
        made; its properties and times are left as they are.
    create_parents
        Whether folders that are missing are made.

    Returns
    -------
    The asset, and the names of what was made, outermost first.

    Raises
    ------
    AlreadyExists
        When something else is there.
    """
    name = own_asset_name("asset_id", asset_id)
    made = make_parents(client, name) if create_parents else []
    try:
        asset = client.assets.create(name, body, overwrite=overwrite)
    except AlreadyExists as refusal:
        present, wanted = file_uris(client.assets.describe(name)), file_uris(body)
        if present != wanted:
            what = f"reads {', '.join(present)}" if present else "reads no file"
            raise AlreadyExists(
                f"{name} is there already, and {what}, not {', '.join(wanted)}: overwrite=True replaces it."
            ) from refusal
        return client.get_asset(name), made
    return asset, [*made, name]


def copy_asset(
    client: EarthEngineClient, source: str, destination: str, *, overwrite: bool = False, create_parents: bool = False
) -> Asset:
    """Copy an asset.

    Parameters
    ----------
    overwrite
        Whether an asset at the destination is replaced. If not, one that equals the source is taken for the copy that an
        earlier try has made.
    create_parents
        Whether folders that are missing around the destination are made.

    Raises
    ------
    AlreadyExists
        When something else is at the destination.
    """
    name, origin = _two_places(source, destination)
    if create_parents:
        make_parents(client, name)
    try:
        return client.assets.copy(origin, name, overwrite=overwrite)
    except AlreadyExists:
        if overwrite or _content(client, origin) != _content(client, name):
            raise
        log.info("%s is there already, and equals %s", name, origin)
        return client.get_asset(name)


def move_asset(client: EarthEngineClient, source: str, destination: str, *, create_parents: bool = False) -> Asset:
    """Move an asset with all that is in it.

    Where the source is gone and the destination is there, an earlier try has moved it.

    Parameters
    ----------
    create_parents
        Whether folders that are missing around the destination are made.
    """
    own_asset_name("source", source)
    name, origin = _two_places(source, destination)
    if f"{name}/".startswith(f"{origin}/"):
        raise ValueError(f"destination: {destination!r} is inside {source!r}, which cannot be moved into itself")
    if create_parents:
        make_parents(client, name)
    try:
        return client.assets.move(origin, name)
    except _REFUSALS as refusal:
        if asset_exists(client, origin):
            raise
        moved = find_asset(client, name)
        if moved is None:
            raise NotFound(f"There is neither {origin} nor {name}: {refusal.message}") from refusal
        log.info("%s had been moved to %s already", origin, name)
        return moved


def delete_asset(
    client: EarthEngineClient, asset_id: str, *, recursive: bool = False, missing_ok: bool = True
) -> list[str]:
    """Remove an asset.

    Parameters
    ----------
    recursive
        Whether what is in a folder or collection is removed first; else one that is not empty is refused by the service.
    missing_ok
        Whether it is fine that there is none.

    Returns
    -------
    Names of what was removed, innermost first.

    Raises
    ------
    NotFound
        When there is none and ``missing_ok`` is false.
    """
    name = own_asset_name("asset_id", asset_id)
    found = find_asset(client, name)
    if found is None:
        if missing_ok:
            return []
        raise NotFound(f"There is no asset {name}.")
    levels = _levels(client, found) if recursive else [[name]]
    with ThreadPoolExecutor(min(DELETIONS_AT_ONCE, client.settings.max_concurrency)) as pool:
        try:
            for level in levels:
                # All of a level, before what they are in.
                list(pool.map(lambda each: _remove(client, each), level))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return list(itertools.chain.from_iterable(levels))


def make_parents(client: EarthEngineClient, name: str) -> list[str]:
    """Make the folders around an asset that are missing; tells their names, outermost first.

    Raises
    ------
    FailedPrecondition
        When something around it is no folder.
    """
    missing: list[str] = []
    parent = parent_name(name)
    while not is_root(parent):
        found = find_asset(client, parent)
        if found is not None:
            _refuse_other_parents(found, missing[-1] if missing else name)
            break
        missing.append(parent)
        parent = parent_name(parent)
    for each in reversed(missing):
        try:
            client.assets.create(each, container_body("FOLDER"))
        except AlreadyExists:
            _of_type(client.get_asset(each), "FOLDER")
    return missing[::-1]


def _remove(client: EarthEngineClient, name: str) -> None:
    """Delete what was there a moment ago."""
    try:
        client.assets.delete(name)
    except (*MISSING, PermissionDenied):
        # Gone: an answer was lost, or somebody else removed it.
        if asset_exists(client, name):
            raise


def _levels(client: EarthEngineClient, top: Asset) -> list[list[str]]:
    """Names of an asset and all that is below it, by depth, the deepest first."""
    levels, level = [[top.name]], [top]
    while level:
        containers = (each.name for each in level if each.type in CONTAINERS)
        level = [child for name in containers for child in client.assets.list(name)]
        if level:
            levels.append([each.name for each in level])
    return levels[::-1]


def _refuse_other_parents(parent: Asset, inside: str) -> None:
    if parent.type not in CONTAINERS:
        raise FailedPrecondition(f"{inside} cannot be made: {parent.name} is a {parent.type}, which holds no assets.")


def _of_type(asset: Asset, asset_type: str) -> Asset:
    if asset.type != asset_type:
        raise AlreadyExists(f"{asset.name} is there already, and is of type {asset.type}, not {asset_type}.")
    return asset


def _two_places(source: str, destination: str) -> tuple[str, str]:
    """Names of the destination and the source."""
    name, origin = own_asset_name("destination", destination), asset_name(source)
    if name == origin:
        raise ValueError(f"destination must differ from source, got {destination!r} for both")
    return name, origin


def _content(client: EarthEngineClient, name: str) -> dict[str, Any]:
    told = client.assets.describe(name)
    properties = {key: value for key, value in (told.get("properties") or {}).items() if key != "system:index"}
    return {**{field: value for field, value in told.items() if field not in _OF_THE_PLACE}, "properties": properties}


def _is_listed(client: EarthEngineClient, name: str, denied: EarthEngineError) -> bool:
    """Whether the folder around an asset names it; raises ``denied`` when that cannot be found out."""
    if is_root(name):
        raise denied
    parent = parent_name(name)
    try:
        siblings: Iterable[Asset] = client.assets.list(parent)
        return any(each.name == name for each in siblings)
    except MISSING:
        return False
    except PermissionDenied:
        # Perhaps the folder is not there either.
        if _is_listed(client, parent, denied):
            raise denied from None
        return False
