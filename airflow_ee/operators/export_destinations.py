"""What exports have in common about where they go: one destination, as a URI or as the REST reference has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ee.core.batch import destination_of
from airflow_ee.core.destination import Destination

__all__ = ["chosen_destination", "refuse", "rest_options"]

# What arguments are when nobody has given them, or a template says nothing.
NOTHING: tuple[Any, ...] = (None, "", "None", {}, ())


def rest_options(operator: Any, names: Sequence[str]) -> tuple[str, Mapping[str, Any] | None]:
    """Which of ``destination_uri`` and the REST bodies ``names`` is given, and that body; None for the URI.

    :raises ValueError: When it is not exactly one, or a body names no destination.
    """
    names = ("destination_uri", *names)
    given = [name for name in names if getattr(operator, name) not in NOTHING]
    if len(given) != 1:
        raise ValueError(
            f"an export needs exactly one destination: {', '.join(names[:-1])} or {names[-1]}, got "
            f"{' and '.join(given) or 'none'}"
            if len(names) > 1
            else "an export needs a destination_uri, got none"
        )
    (name,) = given
    if name == "destination_uri":
        return name, None
    options = getattr(operator, name)
    destination_of(options)
    return name, dict(options)


def chosen_destination(operator: Any, names: Sequence[str], *, bigquery: bool = False) -> Destination:
    """Where an operator was told to write."""
    _, options = rest_options(operator, names)
    return destination_of(options) if options else Destination.parse(operator.destination_uri, bigquery=bigquery)


def refuse(operator: Any, defaults: Mapping[str, Sequence[Any]], *names: str, why: str) -> None:
    """Refuse arguments that were given and would change nothing.

    :param defaults: Values that arguments have when nobody gave them, where that is not nothing.
    """
    for name in names:
        if getattr(operator, name) not in defaults.get(name, NOTHING):
            raise ValueError(f"{name} must be left out: {why}")
