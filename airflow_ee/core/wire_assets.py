"""The part of :mod:`airflow_ee.core.wire` about making and changing assets, and who may do what with them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_ee.core.access import AccessPolicy
from airflow_ee.core.reading import expecting
from airflow_ee.core.wire import LEGACY_ASSETS, PUBLIC_ASSETS, asset_name, timestamp

__all__ = [
    "check_properties",
    "container_body",
    "copy_body",
    "external_image_body",
    "file_uris",
    "is_root",
    "list_path",
    "move_body",
    "own_asset_name",
    "parent_and_path",
    "parent_name",
    "patch_body",
    "policy_from_rest",
    "policy_to_rest",
    "time_fields",
]

CONTAINERS = ("FOLDER", "IMAGE_COLLECTION")
TIMES = ("start_time", "end_time")
_REST_TIMES = {"start_time": "startTime", "end_time": "endTime"}
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_EXACT = 2**53


def own_asset_name(argument: str, asset_id: str) -> str:
    """The resource name of an asset that may be made or changed.

    >>> own_asset_name("asset_id", "projects/my-project/assets/fields/2024")
    'projects/my-project/assets/fields/2024'

    Raises
    ------
    ValueError
        When it is part of the public catalogue, the root of a project, or has signs that no name has.
    """
    try:
        name = asset_name(str(asset_id))
    except ValueError as problem:
        raise ValueError(f"{argument}: {problem}") from None
    if name.startswith(PUBLIC_ASSETS):
        raise ValueError(
            f"{argument}: {asset_id!r} would be in the public catalogue, which nobody else can change; write "
            "projects/{project}/assets/{path} or users/{user}/{path}"
        )
    path = name.partition("/assets/")[2]
    if is_root(name):
        raise ValueError(f"{argument}: {asset_id!r} is a root, which is always there; name an asset below it")
    wrong = [part for part in path.split("/") if not _PART.fullmatch(part)]
    if wrong:
        raise ValueError(f"{argument} has letters, digits, '-' and '_' between its slashes, got {asset_id!r}")
    return name


def is_root(name: str) -> bool:
    """Whether a resource name is that of a project's or user's own top folder.

    >>> is_root("projects/my-project/assets"), is_root("projects/earthengine-legacy/assets/users/me")
    (True, True)
    """
    if name.startswith(LEGACY_ASSETS):
        return name.count("/") <= 4
    return name.count("/") <= 2


def parent_name(name: str) -> str:
    """The resource name of the folder or collection that an asset is in."""
    return name.rpartition("/")[0]


def parent_and_path(asset_id: str) -> tuple[str, str]:
    """What ``assets.create`` wants of a name: the project, and the path below its assets.

    >>> parent_and_path("projects/my-project/assets/fields/2024")
    ('projects/my-project', 'fields/2024')
    """
    parent, _, path = own_asset_name("asset_id", asset_id).partition("/assets/")
    return parent, path


def list_path(parent: str) -> str:
    """The path of listAssets; what is at the top of a project is a method of the project.

    >>> list_path("projects/my-project/assets")
    'projects/my-project:listAssets'
    """
    project = re.fullmatch(r"(projects/[^/]+)/assets/?", parent)
    return f"{project[1] if project else asset_name(parent)}:listAssets"


def container_body(asset_type: str, properties: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The body of ``assets.create`` for a folder or an image collection.

    >>> container_body("FOLDER", {"crop": "soy"})
    {'type': 'FOLDER', 'properties': {'crop': 'soy'}}
    """
    if asset_type not in CONTAINERS:
        raise ValueError(f"asset_type must be one of {', '.join(CONTAINERS)}, got {asset_type!r}")
    checked = check_properties(properties or {})
    return {"type": asset_type, **({"properties": checked} if checked else {})}


def external_image_body(
    uri: str,
    *,
    properties: Mapping[str, Any] | None = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
) -> dict[str, Any]:
    """The body of ``assets.create`` for an image whose pixels stay in a Cloud Optimized GeoTIFF.

    >>> external_image_body("gs://bucket/ndvi.tif")
    {'type': 'IMAGE', 'cloudStorageLocation': {'uris': ['gs://bucket/ndvi.tif']}}

    Raises
    ------
    ValueError
        When it is not the URI of a GeoTIFF in Cloud Storage.
    """
    if not re.fullmatch(r"gs://[^/\s]+/\S.*\.tiff?", str(uri), re.IGNORECASE):
        raise ValueError(f"source_uri must be gs://bucket/object.tif, got {uri!r}")
    checked = check_properties(properties or {})
    return {
        "type": "IMAGE",
        # A list of one: the service refuses more.
        "cloudStorageLocation": {"uris": [str(uri)]},
        **({"properties": checked} if checked else {}),
        **time_fields(start_time, end_time),
    }


def file_uris(asset: Mapping[str, Any]) -> list[str]:
    """The files in Cloud Storage that an ``EarthEngineAsset`` reads its pixels from; none of other assets.

    >>> file_uris({"cloudStorageLocation": {"uris": ["gs://bucket/ndvi.tif"]}})
    ['gs://bucket/ndvi.tif']
    """
    location = asset.get("cloudStorageLocation") or asset.get("gcsLocation") or {}
    return [str(uri) for uri in location.get("uris") or ()]


def copy_body(destination: str, *, overwrite: bool) -> dict[str, Any]:
    """The body of ``assets.copy``."""
    return {"destinationName": own_asset_name("destination", destination), **({"overwrite": True} if overwrite else {})}


def move_body(destination: str) -> dict[str, Any]:
    """The body of ``assets.move``."""
    return {"destinationName": own_asset_name("destination", destination)}


def patch_body(
    properties: Mapping[str, Any] | None = None,
    *,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    remove_times: Sequence[str] = (),
) -> dict[str, Any]:
    """The body of ``assets.patch``: what is named changes, all else stays.

    Parameters
    ----------
    properties
        New values; None removes a property.
    remove_times
        Of ``start_time`` and ``end_time``.

    Examples
    --------
    >>> patch_body({"crop": "soy", "old": None})["updateMask"]
    {'paths': ['properties."crop"', 'properties."old"']}
    """
    checked = check_properties(properties or {}, removable=True)
    times = time_fields(start_time, end_time)
    changed = [name for name in TIMES if _REST_TIMES[name] in times]
    for name in remove_times:
        if name not in TIMES or name in changed:
            raise ValueError(
                f"remove_times must be of {', '.join(TIMES)}, and not of those that are given, got {name!r}"
            )
    # An empty mask means all fields: everything that is not given would be removed.
    if not checked and not changed and not remove_times:
        raise ValueError("nothing to change: give properties, start_time, end_time or what to remove")
    known = {name: value for name, value in checked.items() if value is not None}
    # Google's own client sends the mask as an object, too: as JSON's text of a mask, names of properties would be rewritten.
    paths = [*(f'properties."{name}"' for name in checked), *changed, *remove_times]
    return {"asset": {**({"properties": known} if checked else {}), **times}, "updateMask": {"paths": paths}}


def time_fields(start_time: datetime | None, end_time: datetime | None) -> dict[str, Any]:
    """``startTime`` and ``endTime`` of an asset; the end is exclusive.

    >>> time_fields(datetime.fromisoformat("2024-01-01T00:00:00+00:00"), None)
    {'startTime': '2024-01-01T00:00:00.000000Z'}
    """
    if start_time is not None and end_time is not None and end_time < start_time:
        raise ValueError(
            f"end_time must not be before start_time, got {start_time.isoformat()} and {end_time.isoformat()}"
        )
    given = {"startTime": start_time, "endTime": end_time}
    return {name: timestamp(moment) for name, moment in given.items() if moment is not None}


def check_properties(properties: Any, *, removable: bool = False, where: str = "properties") -> dict[str, Any]:
    """Properties if the service takes them: texts and numbers, by name.

    Parameters
    ----------
    removable
        Whether None is a value: it takes the property away.
    where
        Begins the message of an error.

    Raises
    ------
    ValueError
        Naming the property.
    """
    if not isinstance(properties, Mapping):
        raise ValueError(f"{where} must be names and values, got {type(properties).__name__}")
    for name, value in properties.items():
        if not isinstance(name, str) or not name or re.search(r'["`\x00-\x1f]', name):
            raise ValueError(f"{where}: a property's name must be text without quotes, got {name!r}")
        if not (_is_value(value) or (removable and value is None)):
            raise ValueError(f"{where}: {name!r} must be a text or a number, got {value!r}")
    return dict(properties)


@expecting("an IAM policy")
def policy_from_rest(value: Mapping[str, Any]) -> AccessPolicy:
    """Read a ``Policy``; an empty one has no fields at all."""
    bindings = tuple({**each, "role": str(each["role"])} for each in value.get("bindings") or ())
    version = value.get("version")
    return AccessPolicy(
        bindings=bindings, etag=str(value.get("etag") or ""), version=None if version is None else int(version)
    )


def policy_to_rest(policy: AccessPolicy, *, etag: str | None = None) -> dict[str, Any]:
    """A ``Policy`` message.

    Parameters
    ----------
    etag
        The state that it replaces; None: the policy's own.
    """
    return {
        "bindings": [dict(each) for each in policy.bindings],
        **({"etag": etag or policy.etag} if etag or policy.etag else {}),
        **({"version": policy.version} if policy.version is not None else {}),
    }


def _is_value(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        # They travel as doubles.
        return abs(value) <= _EXACT
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))
