"""What Airflow is told about this package before anything of it is imported."""

from __future__ import annotations

from typing import Any

__all__ = ["get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Describe the provider; Airflow calls this at discovery, so it imports nothing."""
    return {
        "package-name": "airflow-ee",
        "name": "Google Earth Engine",
        "description": "Earth Engine pixels, time series and exports as dependable Airflow tasks.",
    }
