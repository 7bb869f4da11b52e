"""The algorithms. Each module is one family and adds itself to the registry when it is imported."""

from airflow_ee.emulator.functions import (
    arithmetic,
    bands,
    casts,
    collections,
    dates,
    elements,
    filters,
    formula,
    geometries,
    lists,
    masks,
    reductions,
    scalars,
    spatial,
    visual,
)
from airflow_ee.emulator.functions.promote import registry

__all__ = [
    "arithmetic",
    "bands",
    "casts",
    "collections",
    "dates",
    "elements",
    "filters",
    "formula",
    "geometries",
    "lists",
    "masks",
    "reductions",
    "registry",
    "scalars",
    "spatial",
    "visual",
]
