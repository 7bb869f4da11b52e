"""What a connection says, as a job may carry it to other machines: where credentials are found, never the credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_ee.hooks.locations import GOOGLE_STORAGE

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.client_reference import ClientReference, CredentialReference
    from airflow_ee.hooks.earth_engine import EarthEngineHook

__all__ = ["client_reference", "storage_options"]

_HOLDING = ("keyfile_dict", "key_secret_name", "idp_issuer_url")
"""Fields of a connection that hold credentials, or tell where only Airflow looks for them."""


def client_reference(hook: EarthEngineHook, client: EarthEngineClient) -> ClientReference:
    """
    How a worker on another machine makes the same client.

    Where the connection holds the credentials themselves, only tasks of Airflow can: the reference says so.

    :param hook: The connection.
    :param client: One of its clients, whose settings count.
    """
    from airflow_ee.core.client_reference import ClientReference

    return ClientReference(settings=client.settings, credentials=_credentials(hook, client))


def _credentials(hook: EarthEngineHook, client: EarthEngineClient) -> CredentialReference:
    from airflow_ee.core.client_reference import CredentialReference

    settings, fields = client.settings, hook.extras
    # None are looked for where no host may get any.
    if not any(map(settings.may_send_credentials, (settings.endpoint, settings.high_volume_endpoint))):
        return CredentialReference(kind="anonymous")
    if any(fields.get(name) for name in _HOLDING):
        return CredentialReference(kind="connection")
    chain = hook.impersonation_chain or fields.get("impersonation_chain") or ()
    accounts = tuple(part.strip() for part in chain.split(",")) if isinstance(chain, str) else tuple(chain)
    path = fields.get("key_path") or fields.get("credential_config_file")
    if path:
        return CredentialReference(kind="file", path=str(path), impersonation_chain=accounts, scopes=tuple(hook.scopes))
    return CredentialReference(impersonation_chain=accounts, scopes=tuple(hook.scopes))


def storage_options(uri: str, credentials: CredentialReference) -> dict[str, Any]:
    """
    How a worker reaches an output: ``gs://`` by the same credentials, other stores by what its machine has.

    :param uri: Of the output.
    :param credentials: Of the job's client.
    """
    if not uri.startswith(GOOGLE_STORAGE):
        return {}
    tokens: dict[str, dict[str, Any]] = {"anonymous": {"token": "anon"}, "file": {"token": credentials.path}}
    return tokens.get(credentials.kind, {"token": "google_default"})
