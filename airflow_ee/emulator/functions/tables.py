"""Tables by id."""

from __future__ import annotations

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.element import Collection


@registry.implements("Collection.loadTable")
def load_table(
    table_id: str,
    session: Session,
    geometry_column: str | None = None,  # noqa: ARG001 -- not used for assets, says the reference
    version: int | None = None,
) -> Collection:
    """The features of a table asset."""
    if version not in (None, -1):
        raise invalid("Collection.loadTable: loading by 'version' is not emulated")
    return session.catalog.load_table(table_id, session)
