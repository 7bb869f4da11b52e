"""Links from a task to what it started on Earth Engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

__all__ = ["EarthEngineAssetLink", "EarthEngineOperationLink", "asset_url", "operation_url"]


class _PushedLink(BaseOperatorLink):
    """A page that is pushed as a whole as soon as it is known, so that it shows while the task works."""

    name = "Earth Engine"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """
        Return the page; empty before it is known.

        :param operator: The task.
        :param ti_key: Its instance.
        """
        link = XCom.get_value(ti_key=ti_key, key=self.xcom_key)
        return link if isinstance(link, str) else ""

    def persist(self, context: Context, url: str) -> None:
        """
        Make the link known.

        :param context: Airflow's context.
        :param url: The page.
        """
        ti: Any = context["ti"]
        ti.xcom_push(key=self.xcom_key, value=url)


class EarthEngineOperationLink(_PushedLink):
    """The page of an operation."""

    name = "Earth Engine task"


class EarthEngineAssetLink(_PushedLink):
    """The page of an asset."""

    name = "Earth Engine asset"


def asset_url(name: str, *, emulator_endpoint: str | None = None) -> str:
    """The page of an asset in the Code Editor, or what an emulator tells of it.

    >>> asset_url("projects/demo-project/assets/fields")
    'https://code.earthengine.google.com/?asset=projects/demo-project/assets/fields'
    """
    if emulator_endpoint:
        return f"{emulator_endpoint}/v1/{name}"
    return f"https://code.earthengine.google.com/?asset={name}"


def operation_url(name: str, *, emulator_endpoint: str | None = None) -> str:
    """The page of an operation in the Cloud console, or what an emulator tells of it.

    >>> operation_url("projects/demo-project/operations/ABC")
    'https://console.cloud.google.com/earth-engine/tasks;selectedTask=ABC?project=demo-project'
    """
    if emulator_endpoint:
        return f"{emulator_endpoint}/v1/{name}"
    _, project, _, identity = name.split("/", 3)
    return f"https://console.cloud.google.com/earth-engine/tasks;selectedTask={identity}?project={project}"
