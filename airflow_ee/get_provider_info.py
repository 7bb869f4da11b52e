"""What Airflow is told about this package before anything of it is imported."""

from __future__ import annotations

from typing import Any

__all__ = ["get_provider_info"]

INTEGRATION = "Google Earth Engine"


def get_provider_info() -> dict[str, Any]:
    """Describe the provider; Airflow calls this at discovery, so it imports nothing."""
    return {
        "package-name": "airflow-ee",
        "name": INTEGRATION,
        "description": "Earth Engine pixels, time series and exports as dependable Airflow tasks.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://developers.google.com/earth-engine",
                "tags": ["google", "geospatial"],
            }
        ],
        "hooks": [_modules("airflow_ee.hooks.earth_engine")],
        "operators": [
            _modules(
                "airflow_ee.operators.pixels",
                "airflow_ee.operators.series",
                "airflow_ee.operators.patches",
                "airflow_ee.operators.tables",
                "airflow_ee.operators.export",
                "airflow_ee.operators.imports",
                "airflow_ee.operators.assets",
                "airflow_ee.operators.operations",
            )
        ],
        "sensors": [_modules("airflow_ee.sensors.imagery", "airflow_ee.sensors.operation")],
        "triggers": [
            _modules("airflow_ee.triggers.collection", "airflow_ee.triggers.imagery", "airflow_ee.triggers.operation")
        ],
        "connection-types": [_connection_type()],
        "extra-links": [
            "airflow_ee.links.earth_engine.EarthEngineAssetLink",
            "airflow_ee.links.earth_engine.EarthEngineOperationLink",
        ],
        "config": {"earth_engine": _config()},
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": INTEGRATION, "python-modules": list(names)}


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "earth_engine",
        "hook-class-name": "airflow_ee.hooks.earth_engine.EarthEngineHook",
        "hook-name": INTEGRATION,
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "login", "password", "port"],
            "relabeling": {"host": "Endpoint"},
            "placeholders": {"host": "https://earthengine.googleapis.com"},
        },
        "conn-fields": {**_google_fields(), **_earth_engine_fields()},
    }


def _google_fields() -> dict[str, Any]:
    """Fields that Google's own hook reads."""
    return {
        "project": _field("Project id", "Cloud project, registered for Earth Engine, that is billed"),
        "key_path": _field("Keyfile path", "Service account key on the workers"),
        "keyfile_dict": _field("Keyfile JSON", "Service account key itself", secret=True),
        "credential_config_file": _field("Credential configuration file", "Workload identity federation"),
        "scope": _field("Scopes", "Comma separated; empty: earthengine and cloud-platform"),
        "key_secret_name": _field("Keyfile secret name", "In Secret Manager"),
        "key_secret_project_id": _field("Keyfile secret project id", "Where that secret is"),
        "impersonation_chain": _field("Impersonation chain", "Service accounts, comma separated"),
        "quota_project_id": _field("Quota project id", "Project that quota is counted for"),
        "is_anonymous": _field("Anonymous", "No credentials at all", kind="boolean", default=False),
    }


def _earth_engine_fields() -> dict[str, Any]:
    """Fields that the Earth Engine hook reads."""
    return {
        "endpoint": _field(
            "Standard endpoint", "One endpoint alone serves pixel requests too; wins over the host field"
        ),
        "high_volume_endpoint": _field("High-volume endpoint", "Where pixel requests go"),
        "high_volume": _field("High volume", "Send pixel requests to that endpoint", kind="boolean", default=True),
        "trusted_endpoint": _field(
            "Trusted endpoint", "Credentials may go to an https endpoint of your own", kind="boolean", default=False
        ),
        "universe_domain": _field("Universe domain", "Of a sovereign cloud; empty: googleapis.com"),
        "api_version": {
            "label": "API version",
            "schema": {"type": ["string", "null"], "enum": ["v1", "v1beta", "v1alpha"], "default": "v1"},
        },
        "max_concurrency": _field(
            "Concurrent requests", "Share of the project's quota", kind="integer", default=40, minimum=1
        ),
        "requests_per_second": _field("Requests a second", "Share of the project's quota", kind="number", default=100),
        "request_timeout_seconds": _field("Request timeout", "Seconds for one answer", kind="number", default=330),
        "request_namespace": _field("Request namespace", "Tells two Airflow deployments on one project apart"),
        "workload_tag_prefix": _field("Workload tag prefix", "Begins the tags that tasks are billed under"),
    }


def _field(
    label: str, description: str, *, kind: str = "string", secret: bool = False, **schema: Any
) -> dict[str, Any]:
    hidden = {"format": "password"} if secret else {}
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **hidden, **schema}}


def _config() -> dict[str, Any]:
    return {
        "description": "Defaults of the Earth Engine operators.",
        "options": {
            "poll_interval": {
                "description": "Seconds between two looks at an export that a task waits for.",
                "version_added": "0.1.0",
                "type": "float",
                "example": "60",
                "default": "30.0",
            },
            "max_pending_operations": {
                "description": "Operations that may wait in a project's queue before a task waits to start another one.",
                "version_added": "0.1.0",
                "type": "integer",
                "example": "1000",
                "default": "2900",
            },
        },
    }
