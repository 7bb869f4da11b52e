"""An Airflow connection becomes a client of Earth Engine."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, Connection
from airflow.providers.google.common.hooks.base_google import (
    PROVIDE_PROJECT_ID,
    GoogleBaseAsyncHook,
    GoogleBaseHook,
)
from asgiref.sync import sync_to_async
from google.auth.credentials import CredentialsWithQuotaProject
from google.auth.exceptions import GoogleAuthError

from airflow_ee.core.batch import BatchRequest
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import (
    AlreadyExists,
    ConnectionFailed,
    DuplicateRequest,
    EarthEngineError,
    InsufficientScopes,
    MalformedResponse,
    PermissionDenied,
    ProjectNotRegistered,
    ServiceDisabled,
    Unauthenticated,
)
from airflow_ee.core.operations import attempt_number, find_marked
from airflow_ee.core.resources import Operation
from airflow_ee.core.settings import Limits
from airflow_ee.hooks import older_form
from airflow_ee.hooks.connection import ConnectionOptions, boolean, host_url
from airflow_ee.hooks.failures import fail_fast

__all__ = ["EarthEngineAsyncHook", "EarthEngineHook", "fail_fast"]

log = logging.getLogger(__name__)

DEFAULT_CONNECTION = "earth_engine_default"
GOOGLE_CONNECTION = "google_cloud_default"
CONNECTION_TYPE = "earth_engine"
SCOPES = (
    "https://www.googleapis.com/auth/earthengine",
    "https://www.googleapis.com/auth/cloud-platform",
)

# The list of operations may lag behind the start of one: look again after these seconds. A minute in all, because an
# export that is taken for missing is started a second time.
LOOK_AGAIN_SECONDS = (1.0, 4.0, 15.0, 40.0)
# A poll holds a thread of the triggerer: it gives up soon, and the trigger asks again.
POLL_TIMEOUT_SECONDS = 60.0
POLL_RETRIES = 1
TEST_TIMEOUT_SECONDS = 30.0

_WHAT_FAILED: tuple[tuple[type[EarthEngineError], str], ...] = (
    (ProjectNotRegistered, "The project is not registered for Earth Engine"),
    (ServiceDisabled, "The Earth Engine API is disabled in the project"),
    (InsufficientScopes, "The credentials lack a scope"),
    (PermissionDenied, "The caller lacks a permission"),
    (Unauthenticated, "There are no credentials that Earth Engine accepts"),
    (ConnectionFailed, "The endpoint cannot be reached"),
    (MalformedResponse, "The endpoint does not answer as Earth Engine does"),
)


class EarthEngineHook(GoogleBaseHook):
    """
    Talk to Google Earth Engine, or to an emulator of it, with an Airflow connection.

    All that ``GoogleBaseHook`` reads of a connection counts: keys, secrets, credential files, impersonation, quota
    project, application default credentials. Beside these, the extra may hold ``endpoint``, ``high_volume_endpoint``,
    ``high_volume``, ``trusted_endpoint``, ``universe_domain``, ``api_version``, ``max_concurrency``,
    ``requests_per_second``, ``request_timeout_seconds``, ``request_namespace`` and ``workload_tag_prefix``.
    The connection's host field may name the endpoint too; the extra wins.

    Where ``earth_engine_default`` is asked for and does not exist, ``google_cloud_default`` is used, and without that
    the application default credentials. A connection that was named otherwise must exist.

    Credentials go to Google's hosts only (``trusted_endpoint`` adds an https host of one's own), and for an emulator on
    this machine none are looked for.

    :param gcp_conn_id: The Airflow connection.
    :param impersonation_chain: Service account to impersonate, or a chain of them; wins over the connection's.
    :param quota_project_id: Project that quota is counted for; wins over the connection's.
    """

    conn_name_attr = "gcp_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = CONNECTION_TYPE
    hook_name = "Google Earth Engine"

    _ee_lock: ClassVar[threading.Lock] = threading.Lock()
    _ee_target: ClassVar[tuple[Any, ...] | None] = None

    def __init__(
        self,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        *,
        quota_project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        connection = self.get_connection(gcp_conn_id)
        # Google's hook looks the connection up by itself; the one at hand spares a second round to a secret backend.
        self.get_connection = lambda _: connection  # type: ignore[method-assign, assignment]
        super().__init__(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain, **kwargs)
        del self.get_connection
        # Google's hook fills impersonation_chain from the connection later: this is who was asked for.
        self._identity = (gcp_conn_id, str(impersonation_chain))
        # Not by Google's constructor, which takes it only since version 21; the header that counts is sent in any case.
        self.quota_project_id = quota_project_id
        if self.extras.get("is_anonymous") not in (None, ""):
            # Google's hook takes the text "false" for true.
            self.extras["is_anonymous"] = boolean(self.extras["is_anonymous"], "is_anonymous")
        self._host = host_url(connection.host, connection.port) if connection.conn_type == CONNECTION_TYPE else ""
        self._clients: dict[tuple[Any, ...], EarthEngineClient] = {}
        # Reentrant: a signal handler that cancels may come in the middle of this.
        self._clients_lock = threading.RLock()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the connection's form; Airflow 3.1 asks."""
        return older_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what becomes of the standard fields in the connection's form; Airflow 3.1 asks."""
        return older_form.behaviour()

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """
        Return a connection; for the default id what stands in for it when it does not exist.

        :param conn_id: The Airflow connection.
        """
        return cls.find_connection(conn_id) or Connection(conn_id=DEFAULT_CONNECTION, conn_type=CONNECTION_TYPE)

    @classmethod
    def find_connection(cls, conn_id: str) -> Connection | None:
        """
        Return a connection; for the default id Google's when it does not exist, or None: the application default.

        :param conn_id: The Airflow connection.
        """
        if conn_id != DEFAULT_CONNECTION:
            return super().get_connection(conn_id)
        for candidate in (DEFAULT_CONNECTION, GOOGLE_CONNECTION):
            try:
                connection = super().get_connection(candidate)
            except AirflowNotFoundException:
                continue
            _tell_once(f"connection {candidate!r}")
            return connection
        _tell_once("application default credentials")
        return None

    @property
    def scopes(self) -> Sequence[str]:
        """The connection's scopes, else those that Earth Engine needs."""
        return super().scopes if self._get_field("scope", None) else SCOPES

    @cached_property
    def options(self) -> ConnectionOptions:
        """The Earth Engine part of the connection."""
        environment = os.environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "")
        extra = {**self.extras, "quota_project_id": self._quota_project}
        return ConnectionOptions.parse(extra, host=self._host, universe_domain=environment)

    @property
    def client(self) -> EarthEngineClient:
        """A client of the connection's project, for use in ``@task`` functions."""
        return self.get_client()

    def get_conn(self) -> EarthEngineClient:
        """Return the client of the connection's project."""
        return self.get_client()

    def get_client(
        self,
        *,
        project_id: str | None = PROVIDE_PROJECT_ID,
        high_volume: bool | None = None,
        max_concurrency: int | None = None,
        request_timeout_seconds: float | None = None,
        request_retries: int | None = None,
        processes: int = 1,
        limits: Limits | None = None,
    ) -> EarthEngineClient:
        """
        Return a client; the same one for the same arguments.

        :param project_id: Cloud project that is billed; else the connection's, else the credentials'.
        :param high_volume: Whether pixel requests go to the high-volume host.
        :param max_concurrency: Pixel requests at once; never more than the connection's.
        :param request_timeout_seconds: Longest wait for one answer; a connection is waited for no longer than that.
        :param request_retries: How often a request that failed for a passing reason is made again.
        :param processes: So many share the connection's quota; the client is for one of them.
        :param limits: What one request may ask for; None: what the service allows.
        """
        key = (project_id, high_volume, max_concurrency, request_timeout_seconds, request_retries, processes, limits)
        with self._clients_lock:
            if key not in self._clients:
                settings = self.options.settings(
                    self._resolve_project(project_id),
                    high_volume=high_volume,
                    max_concurrency=max_concurrency,
                    request_timeout_seconds=request_timeout_seconds,
                    request_retries=request_retries,
                ).shared(processes)
                # Where no host may get credentials none are looked for: an emulator needs no login at all.
                credentials = self.get_credentials() if self._credentials_may_go else None
                # Who waits for an answer for two seconds does not wait for a connection for twenty.
                connect = min(settings.connect_timeout_seconds, settings.request_timeout_seconds)
                settings = replace(settings, connect_timeout_seconds=connect, limits=limits or settings.limits)
                self._clients[key] = EarthEngineClient(settings, credentials)
            return self._clients[key]

    @property
    def principal(self) -> str:
        """Who the service sees: an account's address where the credentials tell it. Makes no request."""
        if not self._credentials_may_go:
            return "anonymous"
        credentials = self.get_credentials()
        return str(getattr(credentials, "service_account_email", None) or type(credentials).__name__)

    def start_once(
        self, client: EarthEngineClient, request: BatchRequest, *, request_id: str, mark: str
    ) -> Operation | None:
        """
        Start an export or an import, or return the operation that this ``request_id`` already started.

        None: the service takes the ``request_id`` no more, and lists no such operation. A request that a full queue refused
        can do that.

        :param client: The client to ask with.
        :param request: What to export or import.
        :param request_id: 1 to 60 letters, digits and ``-``; the service starts one operation for it.
        :param mark: What the request's description ends in, before its number; it tells the operation in a list.
        """
        try:
            operation = client.start_operation(request, request_id=request_id)
        except DuplicateRequest as duplicate:
            self.log.info("Request %s: %s", request_id, duplicate.message)
        except AlreadyExists as refusal:
            # A service that looks for the asset before it looks for the id may see what this very request has made.
            started = find_marked(client.list_operations(), mark, since=attempt_number(request.description, mark) or 0)
            if not started:
                raise
            self.log.info("Request %s had already started %s: %s", request_id, started[-1].name, refusal.message)
            return started[-1]
        else:
            self.log.info("Request %s started %s", request_id, operation.name)
            return operation
        found = self.find_started(client, request.description, mark)
        if found is not None:
            self.log.info("Request %s had already started %s, which is %s", request_id, found.name, found.state)
        return found

    def find_started(self, client: EarthEngineClient, description: str, mark: str) -> Operation | None:
        """
        Return the operation that the service says it has: by its number, else the latest one with a higher number.

        Only the number that was asked for ends the wait for a list that lags behind. A lower one is never returned: who
        takes an earlier failure for the answer asks again and again.

        :param client: The client whose request was refused.
        :param description: The refused request's.
        :param mark: What that description ends in, before its number.
        """
        asked = attempt_number(description, mark)
        later: list[Operation] = []
        for pause in (0.0, *LOOK_AGAIN_SECONDS):
            time.sleep(pause)
            listed = find_marked(client.list_operations(), mark, since=asked or 0)
            same = [item for item in listed if attempt_number(item.description, mark) == asked]
            if same:
                return same[-1]
            later = listed
        return later[-1] if later else None

    def initialize_ee(self, project_id: str | None = PROVIDE_PROJECT_ID) -> None:
        """
        Initialise Google's own client ``ee`` with this connection's credentials, project and endpoint.

        Does nothing when it was initialised for the same already; the library holds one state for the whole process.

        :param project_id: Cloud project that is billed; else the connection's, else the credentials'.
        """
        try:
            import ee
        except ImportError as missing:
            raise ImportError(
                "Expressions written with Google's client need the package earthengine-api: pip install 'airflow-ee[ee]'"
            ) from missing
        settings = self.options.settings(self._resolve_project(project_id))
        target = (settings.endpoint, settings.project, *self._identity)
        with EarthEngineHook._ee_lock:
            if ee.data.is_initialized():
                if EarthEngineHook._ee_target == target:
                    return
                ee.Reset()
            EarthEngineHook._ee_target = None
            credentials = self.get_credentials() if settings.may_send_credentials(settings.endpoint) else None
            if isinstance(credentials, CredentialsWithQuotaProject):
                # A login's own quota project would displace the one that Google's client names.
                credentials = credentials.with_quota_project(self._quota_project)  # type: ignore[no-untyped-call]
            ee.Initialize(credentials=credentials, project=settings.project, url=settings.endpoint)
            EarthEngineHook._ee_target = target
        self.log.info("Initialised ee for project %s at %s", settings.project, settings.endpoint)

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap call that needs credentials, permission and a registered project, and say what failed."""
        try:
            client = self.get_client(request_timeout_seconds=TEST_TIMEOUT_SECONDS, request_retries=1)
            count = client.list_algorithms()
        except EarthEngineError as error:
            kind = next((words for kind, words in _WHAT_FAILED if isinstance(error, kind)), "Earth Engine refused")
            return False, f"{kind}: {error}"
        except GoogleAuthError as error:
            return False, f"There are no usable credentials: {error}"
        except ValueError as error:
            return False, f"The connection is not set up rightly: {error}"
        where = "an emulator" if client.emulated else client.settings.endpoint
        return True, f"Project {client.settings.project} may use Earth Engine at {where} ({count} algorithms)"

    @property
    def _quota_project(self) -> str | None:
        """What the hook was given, or the connection says; not what the credentials carry."""
        return self.quota_project_id or self._get_field("quota_project_id", None)

    @property
    def _credentials_may_go(self) -> bool:
        settings = self.options.settings("any-project")
        return any(map(settings.may_send_credentials, (settings.endpoint, settings.high_volume_endpoint)))

    def _resolve_project(self, project_id: str | None) -> str:
        project = project_id or self._get_field("project", None)
        if not project and self._credentials_may_go:
            project = self.project_id
        if not project:
            raise ValueError(
                f"no project: give project_id, or set 'project' in the extra of connection {self.gcp_conn_id!r}"
            )
        return str(project)


class EarthEngineAsyncHook(GoogleBaseAsyncHook):
    """
    What triggers need of Earth Engine; nothing here blocks the event loop.

    :param project_id: Cloud project that is billed.
    :param gcp_conn_id: The Airflow connection.
    :param impersonation_chain: Service account to impersonate, or a chain of them.
    """

    sync_hook_class = EarthEngineHook

    def __init__(
        self,
        *,
        project_id: str | None = PROVIDE_PROJECT_ID,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain)
        self._project_id = project_id
        self._client: EarthEngineClient | None = None

    async def get_client(self) -> EarthEngineClient:
        """Return a client that gives up soon: a trigger asks again by itself."""
        if self._client is None:
            hook = await self.get_sync_hook()
            # Through asgiref, not a bare thread: Airflow's way to connections is bound to the triggerer's loop.
            self._client = await sync_to_async(hook.get_client)(
                project_id=self._project_id,
                request_timeout_seconds=POLL_TIMEOUT_SECONDS,
                request_retries=POLL_RETRIES,
            )
        return self._client

    async def get_operation(self, name: str) -> Operation:
        """
        Return an operation.

        :param name: Full name or bare id.
        """
        client = await self.get_client()
        return await asyncio.to_thread(client.get_operation, name)

    async def list_operations(self) -> list[Operation]:
        """Return every operation of the project."""
        client = await self.get_client()
        return await asyncio.to_thread(lambda: list(client.list_operations()))

    async def cancel_operation(self, name: str) -> None:
        """
        Ask for an operation to be cancelled; it is over only some time later.

        :param name: Full name or bare id.
        """
        client = await self.get_client()
        await asyncio.to_thread(client.cancel_operation, name)


_told: set[str] = set()


def _tell_once(source: str) -> None:
    """Log once in a process where credentials come from."""
    if source not in _told:
        _told.add(source)
        log.info("Earth Engine uses %s", source)
