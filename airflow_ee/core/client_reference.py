"""How another process makes the same client: settings, and where credentials are found there. Never a credential itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.settings import ClientSettings, Limits, RetryPolicy

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

__all__ = ["ClientReference", "CredentialReference"]

SCOPES = ("https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform")
KINDS = ("default", "file", "anonymous", "connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialReference:
    """Where a worker finds credentials.

    >>> CredentialReference(kind="file")
    Traceback (most recent call last):
    ValueError: credentials of kind file need a path, which every worker can read
    """

    kind: str = "default"
    """``default``: what the worker's machine has (application default credentials); ``file``: a key or configuration file at ``path``;
    ``anonymous``: none, for emulators; ``connection``: in an Airflow connection, where only tasks of Airflow find them."""
    path: str | None = None
    impersonation_chain: tuple[str, ...] = ()
    """Service accounts: the last one is impersonated, those before it are its delegates."""
    scopes: tuple[str, ...] = SCOPES

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"credentials must be of kind {', '.join(KINDS)}, got {self.kind!r}")
        if (self.path is not None) != (self.kind == "file"):
            raise ValueError(f"credentials of kind {self.kind} " + (
                "need a path, which every worker can read" if self.kind == "file" else f"have no path, got {self.path!r}"
            ))  # fmt: skip
        if self.kind in {"anonymous", "connection"} and self.impersonation_chain:
            raise ValueError(f"credentials of kind {self.kind} impersonate nobody here")

    def check_outside_airflow(self) -> None:
        """Refuse what only tasks of Airflow find; looks for nothing.

        Raises
        ------
        ValueError
            When the credentials are in a connection.
        """
        if self.kind == "connection":
            raise ValueError(
                "this job's credentials are in an Airflow connection, and never written into a job: run it by Airflow's own tasks, or let "
                "workers have application default credentials, a key file that they can read, or an account to impersonate"
            )

    def load(self) -> Credentials | None:
        """The credentials; None for anonymous ones.

        Raises
        ------
        google.auth.exceptions.GoogleAuthError
            When there are none here, or they cannot be read.
        ValueError
            When only tasks of Airflow find them.
        """
        self.check_outside_airflow()
        if self.kind == "anonymous":
            return None
        import google.auth

        if self.kind == "file":
            found, _ = google.auth.load_credentials_from_file(str(self.path), scopes=self.scopes)  # type: ignore[no-untyped-call]
        else:
            found, _ = google.auth.default(scopes=self.scopes)
        credentials: Credentials = found
        return self._impersonated(credentials) if self.impersonation_chain else credentials

    def _impersonated(self, source: Credentials) -> Credentials:
        from google.auth import impersonated_credentials

        *delegates, principal = self.impersonation_chain
        impersonated: Credentials = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
            source_credentials=source, target_principal=principal, delegates=delegates, target_scopes=list(self.scopes)
        )
        return impersonated


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientReference:
    """A client's settings and where its credentials are found.

    >>> reference = ClientReference(settings=ClientSettings(project="demo-project"))
    >>> ClientReference.from_json(reference.to_json()) == reference
    True
    >>> reference.shared(8).settings.max_concurrency
    5
    """

    settings: ClientSettings
    credentials: CredentialReference = field(default_factory=CredentialReference)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; settings that are as usual are left out."""
        usual = ClientSettings(project=self.settings.project)
        named = {item.name: getattr(self.settings, item.name) for item in fields(ClientSettings)}
        told = {
            name: asdict(value) if name in {"retry", "limits"} else value
            for name, value in named.items()
            if name == "project" or value != getattr(usual, name)
        }
        return {"settings": told, "credentials": asdict(self.credentials)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError, TypeError
            When it is something else.
        """
        settings, credentials = dict(value["settings"]), dict(value.get("credentials") or {})
        if "retry" in settings:
            settings["retry"] = RetryPolicy(**settings["retry"])
        if "limits" in settings:
            settings["limits"] = Limits(**settings["limits"])
        for name in ("impersonation_chain", "scopes"):
            if name in credentials:
                credentials[name] = _texts(credentials[name])
        return cls(settings=ClientSettings(**settings), credentials=CredentialReference(**credentials))

    def shared(self, processes: int) -> Self:
        """The same client for one of so many processes, each of which has an equal share of the quota."""
        return replace(self, settings=self.settings.shared(processes))

    def open(self) -> EarthEngineClient:
        """A client.

        Raises
        ------
        google.auth.exceptions.GoogleAuthError
            When there are no credentials here.
        """
        return EarthEngineClient(self.settings, self.credentials.load())


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(str, values))
