"""What operators on assets have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.links.earth_engine import EarthEngineAssetLink, asset_url
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient

__all__ = ["EarthEngineAssetBaseOperator"]


class EarthEngineAssetBaseOperator(EarthEnginePixelBaseOperator):
    """What operators on assets have in common: a client that ends with the task, and a link to the asset."""

    operator_extra_links: Sequence[Any] = (EarthEngineAssetLink(),)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Do it; tell what was done.

        :param context: Airflow's context.
        """
        with fail_fast(), self.pixel_client() as client:
            return self.act(context, client)

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:
        """
        Do what the operator is for.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        raise NotImplementedError

    def show(self, context: Context, client: EarthEngineClient, name: str) -> None:
        """
        Make the task's link lead to an asset.

        :param context: Airflow's context.
        :param client: The client that the asset was seen with.
        :param name: The asset's resource name.
        """
        endpoint = client.settings.endpoint if client.emulated else None
        EarthEngineAssetLink().persist(context, asset_url(name, emulator_endpoint=endpoint))
