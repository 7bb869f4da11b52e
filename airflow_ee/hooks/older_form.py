"""The connection's form for Airflow 3.1, which asks the hook for it; newer ones read the provider's description."""

from __future__ import annotations

from typing import Any

from airflow_ee.get_provider_info import get_provider_info

__all__ = ["behaviour", "widgets"]


def widgets() -> dict[str, Any]:
    """The extra fields, as WTForms has them."""
    from wtforms import BooleanField, IntegerField, PasswordField, StringField  # type: ignore[import-untyped,import-not-found,unused-ignore]

    kinds = {"boolean": BooleanField, "integer": IntegerField}
    made = {}
    for name, field in _described()["conn-fields"].items():
        schema = field["schema"]
        kind = PasswordField if schema.get("format") == "password" else kinds.get(schema["type"][0], StringField)
        default = schema.get("default")
        if kind is StringField and default is not None:
            default = str(default)  # there is no field for fractions: the hook reads them from text
        made[name] = kind(field["label"], description=field.get("description", ""), default=default)
    return made


def behaviour() -> dict[str, Any]:
    """What becomes of the standard fields."""
    return {name.replace("-", "_"): value for name, value in _described()["ui-field-behaviour"].items()}


def _described() -> dict[str, Any]:
    described: dict[str, Any] = get_provider_info()["connection-types"][0]
    return described
