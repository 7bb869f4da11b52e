"""What all Earth Engine operators share: the connection, the client, workload tags, expressions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_ee.core.expression import Expression
from airflow_ee.core.resources import check_workload_tag
from airflow_ee.operators.connected import EarthEngineConnected
from airflow_ee.operators.locations import connection_for, read_text

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context


__all__ = ["PROVIDE_PROJECT_ID", "EarthEngineBaseOperator", "is_elsewhere", "workload_tag_from"]

PROVIDE_PROJECT_ID: str | None = None
"""The connection's project. Google's provider has the same name, whose import would slow every DAG file down."""

LONGEST_WORKLOAD_TAG = 63


class EarthEngineBaseOperator(EarthEngineConnected, BaseOperator):
    """
    Base of the Earth Engine operators.

    :param project_id: Cloud project that is billed; else the connection's, else the credentials'.
    :param gcp_conn_id: The Airflow connection, of type ``earth_engine`` or ``google_cloud_platform``.
    :param impersonation_chain: Service account to impersonate, or a chain of them.
    :param workload_tag: Tag under which Google's reports sum up compute: 1 to 63 of ``a-z 0-9 - _``; else one is made of
        the connection's ``workload_tag_prefix``, the DAG's and the task's id.
    :param request_timeout_seconds: Longest wait for one answer; else the connection's.
    :param request_retries: How often a request that failed for a passing reason is made again.
    """

    template_fields: Sequence[str] = ("project_id", "gcp_conn_id", "impersonation_chain", "workload_tag")
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    template_ext: Sequence[str] = (".json",)
    ui_color = "#d7ead9"

    def __init__(
        self,
        *,
        project_id: str | None = PROVIDE_PROJECT_ID,
        gcp_conn_id: str = "earth_engine_default",
        impersonation_chain: str | Sequence[str] | None = None,
        workload_tag: str | None = None,
        request_timeout_seconds: float | None = None,
        request_retries: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.workload_tag = workload_tag
        self.request_timeout_seconds = request_timeout_seconds
        self.request_retries = request_retries

    def effective_workload_tag(self, context: Context) -> str:
        """
        Return the tag to send: the one that was given, else one made of the DAG's and the task's id.

        :param context: Airflow's context.
        """
        if self.workload_tag:
            return check_workload_tag(self.workload_tag)
        ti = context["ti"]
        return workload_tag_from(self.hook.options.workload_tag_prefix, ti.dag_id, ti.task_id)

    def resolve_expression(
        self, expression: Any, expression_kwargs: Mapping[str, Any] | None, context: Context
    ) -> Expression:
        """
        Return the graph behind what a user gave as an expression.

        :param expression: REST graph, its JSON text, a ``.json`` file by absolute path or URL, an object of Google's
            client, or a callable ``f(context, **expression_kwargs)`` that returns one of these; it runs after ``ee`` was
            initialised. A relative path is beside the DAG's file, and Airflow has put the file's text here.
        :param expression_kwargs: Arguments of the callable.
        :param context: Airflow's context.
        """
        if _is_function(expression):
            self.hook.initialize_ee(self.project_id)
            expression = expression(context, **(expression_kwargs or {}))
        elif expression_kwargs:
            raise ValueError("expression_kwargs are given, but expression is no callable that could take them")
        if isinstance(expression, str) and expression.endswith(".json"):
            conn_id = connection_for(expression, None, self.gcp_conn_id)
            expression = read_text("expression", expression, conn_id)
        return Expression.parse(expression)

    def resolve_template_files(self) -> None:
        """
        Read the files beside the DAG's; those elsewhere are read when the task runs.

        Airflow calls this while it parses the DAG, and would look for all of them beside it.
        """
        # Airflow reads only the fields that are named here.
        self.template_fields = [name for name in self.template_fields if not is_elsewhere(getattr(self, name, None))]
        try:
            super().resolve_template_files()
        finally:
            del self.template_fields

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """
        Render a template; of a file that is not beside the DAG's only the name.

        :param content: Text, or a collection of it.
        :param context: Airflow's context.
        :param jinja_env: Jinja's environment; None: the DAG's.
        :param seen_oids: Ids of objects that were rendered.
        """
        if is_elsewhere(content) and content.endswith(tuple(self.template_ext)):
            return self._render((jinja_env or self.get_template_env()).from_string(content), context)
        return super().render_template(content, context, jinja_env, seen_oids)

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """
        Render templates, but leave functions alone.

        Airflow would call a function in a template field while it renders; an expression's function has to run later,
        when ``ee`` is initialised. Mapped tasks come here directly, so overriding the public method would not do.
        """
        fields = [name for name in template_fields if not (parent is self and _is_function(getattr(self, name)))]
        super()._do_render_template_fields(parent, fields, context, jinja_env, seen_oids)


def workload_tag_from(*parts: str) -> str:
    """Squeeze names into a workload tag: the same names always give the same one.

    >>> workload_tag_from("", "my_dag", "export")
    'my_dag-export'
    >>> len(workload_tag_from("team", "d" * 100, "t" * 100))
    63
    """
    plain = "-".join(part for part in parts if part).lower()
    squeezed = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_")
    if squeezed == plain and len(squeezed) <= LONGEST_WORKLOAD_TAG:
        return squeezed
    # What was squeezed out may have been all that told two tasks apart.
    suffix = hashlib.sha256(plain.encode()).hexdigest()[:6]
    return f"{squeezed[: LONGEST_WORKLOAD_TAG - len(suffix) - 1]}-{suffix}".lstrip("-_")


def is_elsewhere(value: Any) -> bool:
    """Whether a file's name is absolute, a URL, or known only once it is rendered: not the name of one beside the DAG's."""
    return isinstance(value, str) and (value.startswith(("/", "~")) or "://" in value or "{{" in value)


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type) and not _is_ee_object(value)


def _is_ee_object(value: Callable[..., Any]) -> bool:
    return callable(getattr(value, "serialize", None))
