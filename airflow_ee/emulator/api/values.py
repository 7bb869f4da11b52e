"""value:compute: an expression's value as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.deadline import Budget
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.limits import check_workload_tag
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.dates import Date, DateRange
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.numbers import nonfinite_text

MAX_SHOWN = 2_000_000
"""Values in one answer, so that a list of lists of lists that shares its parts is refused before it is written out."""

LETTERS = 32
"""So many letters of a text count as one value."""


def compute_value(call: Call, session: Session) -> Answer:
    """The value, in the forms that ``getInfo`` shows."""
    if "expression" not in call.body:
        raise field_violation("expression", "Expression must be specified.")
    check_workload_tag(call.body.get("workloadTag", ""))
    value = session.evaluate(call.body["expression"])
    return Answer({"result": _whole(value)}, session.marker)


def _whole(value: Any) -> Any:
    """A value as ``getInfo`` shows it: a collection with its elements, which collections inside of others lack."""
    if isinstance(value, Collection):
        return {**shown(value), "features": shown(value.elements)}
    return shown(value)


def shown(value: Any) -> Any:
    """A value as JSON. Nests as deeply as the value does, which the expression's own limits bound."""
    return _shown(value, Budget(MAX_SHOWN, "Computed value is too large."))


def _shown(value: Any, budget: Budget) -> Any:
    budget.spend(1 + (len(value) if isinstance(value, str) else 0) // LETTERS)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(key): _shown(each, budget) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(each, budget) for each in value]
    return _object(value, budget)


def _number(value: float) -> float | str:
    """Whole doubles are written as whole numbers; JSON has no word for what is not a number, so that is text."""
    if not math.isfinite(value):
        return nonfinite_text(value)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _object(value: Any, budget: Budget) -> Any:
    if isinstance(value, Date):
        return {"type": "Date", "value": _number(value.milliseconds)}
    if isinstance(value, DateRange):
        if value.unbounded:
            raise invalid("An unbounded DateRange cannot be shown as a value.")
        dates = [_number(value.start.milliseconds), _number(value.end.milliseconds)]
        return {"type": "DateRange", "dates": dates}
    if isinstance(value, Projection):
        crs = {"crs": value.crs.text} if value.crs.is_code else {"wkt": value.crs.text}
        return {"type": "Projection", **crs, "transform": [shown(term) for term in value.transform]}
    if isinstance(value, Array):
        budget.check(value.values.size)  # before there is a list of them
    if isinstance(value, PixelType) or hasattr(value, "as_value"):
        return _shown(value.as_value(), budget)
    if isinstance(value, datetime):
        raise TypeError("datetimes stay inside of the catalogue")
    raise invalid(f"{type(value).__name__} cannot be shown as a value.")
