"""Exports of trained classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_ee.core.batch import ExportClassifierRequest
from airflow_ee.core.destination import Destination
from airflow_ee.core.export_options import asset_options
from airflow_ee.operators.arguments import integer, read_boolean
from airflow_ee.operators.export_base import EarthEngineExportBaseOperator
from airflow_ee.operators.export_destinations import chosen_destination, refuse, rest_options

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["EarthEngineExportClassifierOperator"]


class EarthEngineExportClassifierOperator(EarthEngineExportBaseOperator):
    """
    Export a trained classifier to an asset, from which ``ee.Classifier.load`` reads it.

    :param expression: REST graph, JSON text, a ``.json`` file, an ``ee`` object, or a callable
        ``f(context, **expression_kwargs)`` that returns one of these; it gives a Classifier.
    :param expression_kwargs: Arguments of the callable.
    :param destination_uri: ``projects/{project}/assets/{path}``.
    :param asset_export_options: Instead: ``assetExportOptions`` as the REST reference has it.
    :param overwrite: Whether an asset that exists is replaced.
    """

    template_fields: Sequence[str] = (
        *EarthEngineExportBaseOperator.template_fields,
        "expression",
        "expression_kwargs",
        "destination_uri",
        "asset_export_options",
        "overwrite",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "expression": "json",
        "expression_kwargs": "json",
        "asset_export_options": "json",
    }

    def __init__(
        self,
        *,
        expression: Any,
        expression_kwargs: Mapping[str, Any] | None = None,
        destination_uri: str | None = None,
        asset_export_options: Mapping[str, Any] | None = None,
        overwrite: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expression = expression
        self.expression_kwargs = expression_kwargs
        self.destination_uri = destination_uri
        self.asset_export_options = asset_export_options
        self.overwrite = overwrite

    def build_request(self, context: Context) -> ExportClassifierRequest:
        """
        Return the request: everything that can be checked is checked here, before anything is sent.

        :param context: Airflow's context.
        """
        name, options = rest_options(self, ("asset_export_options",))
        if options is None:
            destination = Destination.parse(self.destination_uri or "")
            options = asset_options(destination, overwrite=read_boolean("overwrite", self.overwrite))
        else:
            refuse(self, {"overwrite": (False, "False")}, "overwrite", why=f"{name} says it already")
        return ExportClassifierRequest(
            expression=self.resolve_expression(self.expression, self.expression_kwargs, context),
            description="unnamed",
            priority=integer("priority", self.priority),
            workload_tag=self.effective_workload_tag(context),
            asset_export_options=options,
        )

    def requested_destination(self) -> Destination:
        """Return where the export was told to write."""
        return chosen_destination(self, ("asset_export_options",))
