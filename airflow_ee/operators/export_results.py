"""What tasks tell of what an export has left in Cloud Storage, and to those who wait for their assets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import OperationFailed
from airflow_ee.core.operations import MOST_URIS
from airflow_ee.operators.base import EarthEngineBaseOperator
from airflow_ee.operators.export_outputs import (
    StoredObject,
    check_objects,
    find_objects,
    storage_is_reachable,
    write_manifest,
)
from airflow_ee.operators.locations import connection_for

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.destination import Destination
    from airflow_ee.core.resources import Operation

__all__ = ["EarthEngineOutputsBaseOperator"]


class EarthEngineOutputsBaseOperator(EarthEngineBaseOperator):
    """
    Looks at what an operation has left when it has succeeded.

    :param verify_outputs: Whether the objects in Cloud Storage are looked at when the operation has succeeded: there have to
        be some, none empty; GeoTIFFs have to open and to lie on the grid that was asked for.
    :param output_conn_id: Airflow connection of the bucket, to look at the objects; else ``gcp_conn_id``.
    """

    def __init__(self, *, verify_outputs: bool = False, output_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verify_outputs = verify_outputs
        self.output_conn_id = output_conn_id

    def look_at_outputs(self, context: Context, destination: Destination, operation: Operation) -> dict[str, Any]:
        """
        Return what the result says of the objects that the export has left, where they can be seen.

        :param context: Airflow's context.
        :param destination: In Cloud Storage.
        :param operation: What has written them.
        """
        if not storage_is_reachable(emulated=self.client.emulated):
            if self.verify_outputs:
                raise OperationFailed(
                    "verify_outputs: a local Earth Engine without STORAGE_EMULATOR_HOST shows no objects."
                )
            return {}
        conn_id = connection_for(destination.uri, self.output_conn_id, self.gcp_conn_id)
        try:
            objects = find_objects(destination, operation, conn_id)
        except Exception as problem:
            if self.verify_outputs:
                raise
            # The export has succeeded; who may start one may not always list its bucket.
            self.log.warning("The objects behind %s could not be listed: %s", destination.uri, problem)
            return {}
        if self.verify_outputs:
            check_objects(objects, destination, operation)
            self.verify(objects, operation, conn_id)
        if not objects:
            return {}
        self.describe(context, objects, operation, conn_id)
        many = len(objects) > MOST_URIS
        return {
            "uris": [item.uri for item in objects[:MOST_URIS]],
            "uri_count": len(objects),
            "bytes": sum(item.bytes for item in objects),
            "manifest_uri": write_manifest(destination, operation, objects, conn_id) if many else None,
        }

    def verify(self, objects: Sequence[StoredObject], operation: Operation, conn_id: str | None) -> None:
        """
        Look closer at what an export has left; kinds that know how do more.

        :param objects: All of them, none of them empty.
        :param operation: What has written them.
        :param conn_id: Airflow connection of the bucket.
        """

    def describe(
        self, context: Context, objects: Sequence[StoredObject], operation: Operation, conn_id: str | None
    ) -> None:
        """
        Write a description beside what an export has left; kinds that know how do.

        :param context: Airflow's context.
        :param objects: All of them.
        :param operation: What has written them.
        :param conn_id: Airflow connection of the bucket.
        """

    def tell_assets(self, context: Context, summary: dict[str, Any]) -> None:
        """
        Say in the events of the task's outlets what was made.

        :param context: Airflow's context.
        :param summary: What the task returns.
        """
        events: Any = context.get("outlet_events")
        partition = context.get("partition_key")
        for outlet in self.outlets if events is not None else ():
            event = events[outlet]
            event.extra.update(summary)
            if partition and hasattr(event, "add_partitions"):
                event.add_partitions(partition)
