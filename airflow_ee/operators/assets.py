"""Operators that make, copy, move, change and remove assets, and say who may use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_ee.operators.arguments import mapping, read_boolean, text_or_none
from airflow_ee.operators.asset_access import EarthEngineGetAssetAclOperator, EarthEngineSetAssetAclOperator
from airflow_ee.operators.asset_base import EarthEngineAssetBaseOperator
from airflow_ee.operators.dates import read_moment

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.resources import Asset

__all__ = [
    "EarthEngineCopyAssetOperator",
    "EarthEngineCreateAssetOperator",
    "EarthEngineCreateCloudImageOperator",
    "EarthEngineDeleteAssetOperator",
    "EarthEngineGetAssetAclOperator",
    "EarthEngineMoveAssetOperator",
    "EarthEngineSetAssetAclOperator",
    "EarthEngineUpdateAssetOperator",
]

MOST_NAMES = 20
"""More than these belong in a log, not in a message between tasks."""


class EarthEngineCreateAssetOperator(EarthEngineAssetBaseOperator):
    """
    Make a folder or an image collection, with the folders around it.

    Returns ``{"asset", "type", "created"}``: the name, the kind, and the names of what this task made (at most 20).

    :param asset_id: ``projects/{project}/assets/{path}`` or ``users/{user}/{path}``.
    :param asset_type: ``FOLDER`` or ``IMAGE_COLLECTION``.
    :param properties: Texts and numbers by name, or the JSON text of these; those of an asset that is there already stay.
    :param create_parents: Whether folders that are missing around it are made.
    :param exist_ok: Whether one that is there already is fine. One of another type never is. If not, a try that follows
        one which died before it heard of its own success fails, too.
    """

    template_fields: Sequence[str] = (
        *EarthEngineAssetBaseOperator.template_fields,
        "asset_id",
        "asset_type",
        "properties",
        "create_parents",
        "exist_ok",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"properties": "json"}

    def __init__(
        self,
        *,
        asset_id: str,
        asset_type: str = "FOLDER",
        properties: Mapping[str, Any] | str | None = None,
        create_parents: bool | str = True,
        exist_ok: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.asset_id = asset_id
        self.asset_type = asset_type
        self.properties = properties
        self.create_parents = create_parents
        self.exist_ok = exist_ok

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:
        """
        Make the asset.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        from airflow_ee.core.assets import create_container

        asset, made = create_container(
            client,
            self.asset_id,
            self.asset_type,
            properties=mapping("properties", self.properties),
            create_parents=read_boolean("create_parents", self.create_parents),
            exist_ok=read_boolean("exist_ok", self.exist_ok),
        )
        self.log.info("%s: made %s", asset.name, ", ".join(made) or "nothing, it was there")
        self.show(context, client, asset.name)
        return {"asset": asset.name, "type": asset.type, "created": made[-MOST_NAMES:]}


class EarthEngineCreateCloudImageOperator(EarthEngineAssetBaseOperator):
    """
    Make an image that reads its pixels from a Cloud Optimized GeoTIFF in Cloud Storage.

    Nothing is copied: the asset is there at once, and the file has to stay where it is. Returns
    ``{"asset", "type", "source_uri", "created"}``, the last being the names of what this task made (at most 20).

    :param asset_id: ``projects/{project}/assets/{path}`` or ``users/{user}/{path}``.
    :param source_uri: ``gs://bucket/object.tif``, which the service reads as the caller.
    :param properties: Texts and numbers by name, or the JSON text of these.
    :param start_time: When the data begin: ISO date or moment; without a zone it is UTC.
    :param end_time: When they end; not part of them.
    :param overwrite: Whether an asset that is there is replaced. If not, an image that reads the same file is taken for the
        one that an earlier try has made, and stays as it is; anything else there fails the task.
    :param create_parents: Whether folders that are missing around it are made.
    """

    template_fields: Sequence[str] = (
        *EarthEngineAssetBaseOperator.template_fields,
        "asset_id",
        "source_uri",
        "properties",
        "start_time",
        "end_time",
        "overwrite",
        "create_parents",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"properties": "json"}

    def __init__(
        self,
        *,
        asset_id: str,
        source_uri: str,
        properties: Mapping[str, Any] | str | None = None,
        start_time: str | date | datetime | None = None,
        end_time: str | date | datetime | None = None,
        overwrite: bool | str = False,
        create_parents: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.asset_id = asset_id
        self.source_uri = source_uri
        self.properties = properties
        self.start_time = start_time
        self.end_time = end_time
        self.overwrite = overwrite
        self.create_parents = create_parents

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:
        """
        Make the image.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        from airflow_ee.core.assets import create_external_image
        from airflow_ee.core.wire_assets import external_image_body

        body = external_image_body(
            self.source_uri,
            properties=mapping("properties", self.properties),
            start_time=read_moment("start_time", self.start_time),
            end_time=read_moment("end_time", self.end_time),
        )
        asset, made = create_external_image(
            client,
            self.asset_id,
            body,
            overwrite=read_boolean("overwrite", self.overwrite),
            create_parents=read_boolean("create_parents", self.create_parents),
        )
        self.log.info("%s reads %s: made %s", asset.name, self.source_uri, ", ".join(made) or "nothing, it was there")
        self.show(context, client, asset.name)
        created = made[-MOST_NAMES:]
        return {"asset": asset.name, "type": asset.type, "source_uri": self.source_uri, "created": created}


class _TwoPlacesOperator(EarthEngineAssetBaseOperator):
    """What copying and moving have in common: a source and a destination."""

    template_fields: Sequence[str] = (
        *EarthEngineAssetBaseOperator.template_fields,
        "source",
        "destination",
        "create_parents",
    )

    def __init__(self, *, source: str, destination: str, create_parents: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.destination = destination
        self.create_parents = create_parents

    def _told(self, context: Context, client: EarthEngineClient, asset: Asset) -> dict[str, Any]:
        self.show(context, client, asset.name)
        return {"asset": asset.name, "type": asset.type, "source": self.source}


class EarthEngineCopyAssetOperator(_TwoPlacesOperator):
    """
    Copy an image or a table.

    An asset at the destination that equals the source (bands, properties, times, size) is taken for the copy that an
    earlier try has made; anything else there fails the task, unless ``overwrite`` is given. Returns
    ``{"asset", "type", "source"}``.

    :param source: Id of the asset to copy; it may be one of the public catalogue.
    :param destination: ``projects/{project}/assets/{path}`` or ``users/{user}/{path}``.
    :param overwrite: Whether an asset at the destination is replaced.
    :param create_parents: Whether folders that are missing around the destination are made.
    """

    template_fields: Sequence[str] = (*_TwoPlacesOperator.template_fields, "overwrite")

    def __init__(self, *, overwrite: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.overwrite = overwrite

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:
        """
        Copy the asset.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        from airflow_ee.core.assets import copy_asset

        asset = copy_asset(
            client,
            self.source,
            self.destination,
            overwrite=read_boolean("overwrite", self.overwrite),
            create_parents=read_boolean("create_parents", self.create_parents),
        )
        self.log.info("%s is a copy of %s", asset.name, self.source)
        return self._told(context, client, asset)


class EarthEngineMoveAssetOperator(_TwoPlacesOperator):
    """
    Move an asset, with all that is in it.

    Nothing is replaced: the service has no such option. A source that is gone while the destination is there was moved by
    an earlier try. Returns ``{"asset", "type", "source"}``.

    :param source: Id of the asset to move.
    :param destination: ``projects/{project}/assets/{path}`` or ``users/{user}/{path}``.
    :param create_parents: Whether folders that are missing around the destination are made.
    """

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:
        """
        Move the asset.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        from airflow_ee.core.assets import move_asset

        create_parents = read_boolean("create_parents", self.create_parents)
        asset = move_asset(client, self.source, self.destination, create_parents=create_parents)
        self.log.info("%s was moved from %s", asset.name, self.source)
        return self._told(context, client, asset)


class EarthEngineDeleteAssetOperator(EarthEngineAssetBaseOperator):
    """
    Remove an asset.

    Returns ``{"asset", "deleted"}``: the id, and how many assets were removed.

    :param asset_id: ``projects/{project}/assets/{path}`` or ``users/{user}/{path}``; never the top folder of a project.
    :param recursive: Whether all that is in a folder or collection is removed, too; else one that is not empty is refused.
    :param missing_ok: Whether it is fine that there is none. If not, a try that follows one which died before it heard of
        its own success fails, too.
    """

    template_fields: Sequence[str] = (
        *EarthEngineAssetBaseOperator.template_fields,
        "asset_id",
        "recursive",
        "missing_ok",
    )
    operator_extra_links: Sequence[Any] = ()

    def __init__(
        self, *, asset_id: str, recursive: bool | str = False, missing_ok: bool | str = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.asset_id = asset_id
        self.recursive = recursive
        self.missing_ok = missing_ok

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:  # noqa: ARG002
        """
        Remove the asset.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        from airflow_ee.core.assets import delete_asset

        gone = delete_asset(
            client,
            self.asset_id,
            recursive=read_boolean("recursive", self.recursive),
            missing_ok=read_boolean("missing_ok", self.missing_ok),
        )
        self.log.info("%s: removed %d assets", self.asset_id, len(gone))
        return {"asset": self.asset_id, "deleted": len(gone)}


class EarthEngineUpdateAssetOperator(EarthEngineAssetBaseOperator):
    """
    Change properties and times of an asset; what is not named stays.

    Returns ``{"asset", "type", "start_time", "end_time", "update_time"}``.

    :param asset_id: Id of the asset.
    :param properties: New values by name, texts and numbers, or the JSON text of these; null removes a property.
    :param title: The property that Earth Engine's pages show as the asset's title.
    :param description: The property that they show as its description.
    :param start_time: When the data begin: ISO date or moment; without a zone it is UTC.
    :param end_time: When they end; not part of them.
    :param remove_times: Whether times that are not given here are removed.
    """

    template_fields: Sequence[str] = (
        *EarthEngineAssetBaseOperator.template_fields,
        "asset_id",
        "properties",
        "title",
        "description",
        "start_time",
        "end_time",
        "remove_times",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"properties": "json"}

    def __init__(
        self,
        *,
        asset_id: str,
        properties: Mapping[str, Any] | str | None = None,
        title: str | None = None,
        description: str | None = None,
        start_time: str | date | datetime | None = None,
        end_time: str | date | datetime | None = None,
        remove_times: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.asset_id = asset_id
        self.properties = properties
        self.title = title
        self.description = description
        self.start_time = start_time
        self.end_time = end_time
        self.remove_times = remove_times

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:
        """
        Change the asset.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        from airflow_ee.core.wire_assets import own_asset_name, patch_body

        name = own_asset_name("asset_id", self.asset_id)
        times = {each: read_moment(each, getattr(self, each)) for each in ("start_time", "end_time")}
        removed = [each for each, moment in times.items() if moment is None]
        body = patch_body(
            self._properties(),
            **times,
            remove_times=removed if read_boolean("remove_times", self.remove_times) else (),
        )
        asset = client.assets.patch(name, body)
        self.log.info("%s: changed %s", name, ", ".join(body["updateMask"]["paths"]))
        self.show(context, client, name)
        return {
            "asset": asset.name,
            "type": asset.type,
            "start_time": asset.start_time.isoformat() if asset.start_time else None,
            "end_time": asset.end_time.isoformat() if asset.end_time else None,
            "update_time": asset.update_time,
        }

    def _properties(self) -> dict[str, Any]:
        properties = mapping("properties", self.properties)
        for name in ("title", "description"):
            given = text_or_none(getattr(self, name))
            if given is not None and name in properties:
                raise ValueError(f"{name} is given twice: as an argument, and among the properties")
            properties |= {} if given is None else {name: given}
        return properties
