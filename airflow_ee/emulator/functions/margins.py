"""Margins of error."""

from __future__ import annotations

from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry

INFINITE_METERS = 2e7


@registry.implements("ErrorMargin")
def error_margin(value: float | None = None, unit: str = "meters") -> dict[str, Any]:
    """How much a shape may deviate; half of the earth's girth in metres is as good as no limit."""
    if unit not in ("meters", "projected", "infinite"):
        raise invalid(f"ErrorMargin: Unknown unit '{unit}'; use one of meters, projected, infinite.")
    if unit == "infinite":
        return {"type": "ErrorMargin", "unit": unit}
    if value is None:
        raise invalid(f"ErrorMargin: Parameter 'value' is required for the unit '{unit}'.")
    if unit == "meters" and abs(value) >= INFINITE_METERS:
        return {"type": "ErrorMargin", "unit": "infinite"}
    return {"type": "ErrorMargin", "unit": unit, "value": abs(value)}
