"""From an Airflow connection to a client: credentials, fallbacks, projects, and what is told when it fails."""

import asyncio
import json
import logging
import sys
import threading
import time

import google.auth
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException, Connection
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from airflow_ee.core.batch import ExportImageRequest
from airflow_ee.core.errors import (
    AssetNotFound,
    EarthEngineError,
    OperationFailed,
    ResourceExhausted,
    Unavailable,
)
from airflow_ee.core.expression import Expression
from airflow_ee.hooks import earth_engine as hooks
from airflow_ee.hooks.earth_engine import EarthEngineAsyncHook, EarthEngineHook, fail_fast

CONSTANT = Expression.parse({"result": "0", "values": {"0": {"constantValue": 1}}})
MARK = "ae-0123456789ab-ba9876543210"
REAL_PAUSES = hooks.LOOK_AGAIN_SECONDS


def denied(message, reason=None):
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return 403, {"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED", "details": details}}, {}


def export_request(number=1):
    options = {"cloudStorageDestination": {"bucket": "b", "filenamePrefix": "p"}, "fileFormat": "GEO_TIFF"}
    return ExportImageRequest(expression=CONSTANT, description=f"ndvi-{MARK}-{number}", file_export_options=options)


def operation(identity, description, state="RUNNING"):
    name = f"projects/demo-project/operations/{identity}"
    return {"name": name, "metadata": {"state": state, "description": description}}


DUPLICATE = (
    400,
    {
        "error": {
            "code": 400,
            "message": "A different Operation was already started with the given request_id.",
            "status": "INVALID_ARGUMENT",
        }
    },
    {},
)


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(hooks, "_told", set())
    monkeypatch.setattr(hooks, "LOOK_AGAIN_SECONDS", (0.01, 0.01))


@pytest.fixture
def no_login(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("credentials were looked for")

    monkeypatch.setattr(google.auth, "default", refuse)


class TestFallback:
    def test_a_missing_default_falls_back_to_googles_connection_and_says_so_once(self, connect, caplog):
        connect("google_cloud_default", conn_type="google_cloud_platform", project="from-google")
        with caplog.at_level(logging.INFO, hooks.__name__):
            assert EarthEngineHook()._resolve_project(None) == "from-google"
            EarthEngineHook()
        assert [record.getMessage() for record in caplog.records if record.name == hooks.__name__] == [
            "Earth Engine uses connection 'google_cloud_default'"
        ]

    def test_without_any_connection_the_application_default_credentials_serve(self, monkeypatch, caplog):
        monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), "adc-project"))
        with caplog.at_level(logging.INFO, hooks.__name__):
            hook = EarthEngineHook()
            assert hook.get_client().settings.project == "adc-project"
        assert "application default credentials" in caplog.text

    def test_the_own_connection_comes_first(self, connect, caplog):
        connect("google_cloud_default", project="from-google")
        connect(project="from-earth-engine")
        with caplog.at_level(logging.INFO, hooks.__name__):
            assert EarthEngineHook()._resolve_project(None) == "from-earth-engine"
        assert "'earth_engine_default'" in caplog.text

    def test_a_connection_that_was_named_must_exist(self, connect):
        connect("google_cloud_default")
        with pytest.raises(AirflowNotFoundException, match="my_connection"):
            EarthEngineHook("my_connection")

    def test_the_connection_is_looked_up_once(self, connect, monkeypatch):
        connect("mine", endpoint="http://127.0.0.1:1")
        looked = []
        original = Connection.get.__func__
        monkeypatch.setattr(
            Connection, "get", classmethod(lambda cls, conn_id: looked.append(conn_id) or original(cls, conn_id))
        )
        EarthEngineHook("mine").get_client()
        assert looked == ["mine"]

    @pytest.mark.usefixtures("no_login")
    def test_a_uri_makes_the_same_connection(self, monkeypatch):
        monkeypatch.setenv(
            "AIRFLOW_CONN_MINE",
            "earth-engine://http://127.0.0.1:8085/?project=demo-project&max_concurrency=4&high_volume=false",
        )
        settings = EarthEngineHook("mine").get_client().settings
        assert settings.endpoint == "http://127.0.0.1:8085"
        assert (settings.project, settings.max_concurrency, settings.high_volume) == ("demo-project", 4, False)

    def test_the_host_of_another_type_of_connection_is_no_endpoint(self, connect):
        connect("mine", conn_type="google_cloud_platform", host="http://127.0.0.1:8085")
        assert EarthEngineHook("mine").options.endpoint == "https://earthengine.googleapis.com"


class TestClient:
    def test_the_same_arguments_give_the_same_client(self, connect):
        connect(endpoint="http://127.0.0.1:1")
        hook = EarthEngineHook()
        assert hook.get_client() is hook.client is hook.get_conn()
        assert hook.get_client(max_concurrency=2) is not hook.client

    def test_the_argument_beats_the_connections_project(self, connect):
        connect(endpoint="http://127.0.0.1:1", project="from-connection")
        assert EarthEngineHook().get_client(project_id="from-argument").settings.project == "from-argument"

    @pytest.mark.usefixtures("fake_credentials")
    def test_the_credentials_project_is_the_last_resort(self, connect):
        connect(project=None)
        assert EarthEngineHook().get_client().settings.project == "key-project"

    @pytest.mark.usefixtures("no_login")
    def test_no_project_anywhere_is_an_error_that_says_where_to_set_it(self, connect):
        connect(endpoint="http://127.0.0.1:1", project="")
        with pytest.raises(ValueError, match="no project: give project_id, or set 'project' in the extra"):
            EarthEngineHook().get_client()

    def test_a_wrong_project_is_refused_before_anything_is_sent(self, connect, serve):
        server = serve()
        connect(endpoint=server.url, project="Not A Project")
        with pytest.raises(ValueError, match="project must be a project id"):
            EarthEngineHook().get_client()
        assert server.requests == []

    def test_default_scopes_are_earth_engines_and_the_connections_win(self, connect):
        connect()
        assert EarthEngineHook().scopes == hooks.SCOPES
        connect(scope="https://www.googleapis.com/auth/earthengine.readonly")
        assert EarthEngineHook().scopes == ["https://www.googleapis.com/auth/earthengine.readonly"]

    @pytest.mark.usefixtures("fake_credentials")
    def test_the_quota_project_goes_into_the_header(self, connect, serve, tls):
        server = serve((200, {"algorithms": []}, {}), context=tls)
        connect(endpoint=server.url, trusted_endpoint=True, quota_project_id="paying-project")
        EarthEngineHook().client.list_algorithms()
        assert server.requests[0][2]["x-goog-user-project"] == "paying-project"


class TestCredentials:
    @pytest.mark.usefixtures("no_login")
    def test_an_emulator_gets_no_token_and_none_is_looked_for(self, connect, serve):
        server = serve((200, {"algorithms": []}, {}))
        connect(endpoint=server.url)
        EarthEngineHook().client.list_algorithms()
        assert "authorization" not in server.requests[0][2]

    @pytest.mark.usefixtures("fake_credentials")
    def test_a_token_never_goes_to_plain_http_even_when_trusted(self, connect, serve):
        server = serve((200, {"algorithms": []}, {}))
        connect(endpoint=server.url, trusted_endpoint=True)
        EarthEngineHook().client.list_algorithms()
        assert "authorization" not in server.requests[0][2]

    @pytest.mark.usefixtures("fake_credentials")
    def test_a_token_goes_to_no_foreign_host(self, connect, serve, tls):
        server = serve((200, {"algorithms": []}, {}), context=tls)
        connect(endpoint=server.url)
        EarthEngineHook().client.list_algorithms()
        assert "authorization" not in server.requests[0][2]

    @pytest.mark.usefixtures("fake_credentials")
    def test_a_token_goes_to_a_host_that_is_trusted(self, connect, serve, tls):
        server = serve((200, {"algorithms": []}, {}), context=tls)
        connect(endpoint=server.url, trusted_endpoint="true")
        EarthEngineHook().client.list_algorithms()
        assert server.requests[0][2]["authorization"] == "Bearer very-secret-token"

    @pytest.mark.usefixtures("fake_credentials")
    def test_a_token_follows_no_redirect(self, connect, serve, tls):
        thief = serve((200, {"algorithms": []}, {}), context=tls)
        server = serve((302, {}, {"Location": f"{thief.url}/v1/projects/demo-project/algorithms"}), context=tls)
        connect(endpoint=server.url, trusted_endpoint=True)
        with pytest.raises(EarthEngineError):
            EarthEngineHook().get_client(request_retries=0).list_algorithms()
        assert len(server.requests) == 1
        assert thief.requests == []

    @pytest.mark.parametrize(("value", "anonymous"), [("true", True), (True, True), ("false", False), (False, False)])
    def test_is_anonymous_may_be_text(self, connect, monkeypatch, value, anonymous):
        monkeypatch.setattr(google.auth, "default", lambda **_: ("login", "adc-project"))
        connect(is_anonymous=value)
        assert isinstance(EarthEngineHook().get_credentials(), AnonymousCredentials) is anonymous

    def test_the_principal_is_known_without_a_request(self, connect, fake_credentials):
        connect()
        assert EarthEngineHook().principal == fake_credentials.service_account_email
        connect(endpoint="http://127.0.0.1:1")
        assert EarthEngineHook().principal == "anonymous"

    @pytest.mark.usefixtures("fake_credentials")
    def test_no_secret_is_told(self, connect, serve, tls, caplog):
        server = serve(denied("no"), context=tls)
        key = json.dumps({"private_key": "very-secret-key"})
        connect(endpoint=server.url, trusted_endpoint=True, keyfile_dict=key)
        with caplog.at_level(logging.DEBUG):
            hook = EarthEngineHook()
            _, message = hook.test_connection()
        told = f"{caplog.text} {hook!r} {hook.client!r} {hook.options!r} {message} {hook.client.__dict__}"
        assert "very-secret" not in told


class TestTestConnection:
    def test_success_names_the_project(self, connect, serve):
        server = serve((200, {"algorithms": [{}, {}]}, {"x-earth-engine-emulator": "simulated"}))
        connect(endpoint=server.url)
        assert EarthEngineHook().test_connection() == (
            True,
            "Project demo-project may use Earth Engine at an emulator (2 algorithms)",
        )
        assert server.requests[0][:2] == ("GET", "/v1/projects/demo-project/algorithms")

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (denied("Project x is not registered to use Earth Engine."), "The project is not registered"),
            (
                denied(
                    "Google Earth Engine API has not been used in project 1 before or it is disabled.",
                    "SERVICE_DISABLED",
                ),
                "The Earth Engine API is disabled",
            ),
            (
                denied("Request had insufficient authentication scopes.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
                "The credentials lack a scope: Request had insufficient authentication scopes. Add https://www.googleapis",
            ),
            (
                denied("Permission 'earthengine.computations.create' denied on resource 'projects/x'."),
                "The caller lacks a permission: Permission 'earthengine.computations.create'",
            ),
            (
                (401, {"error": {"code": 401, "message": "No.", "status": "UNAUTHENTICATED"}}, {}),
                "There are no credentials",
            ),
        ],
    )
    def test_failures_are_told_apart(self, connect, serve, answer, words):
        connect(endpoint=serve(answer).url)
        worked, message = EarthEngineHook().test_connection()
        assert not worked
        assert message.startswith(words)

    def test_an_endpoint_that_is_not_there_is_said_to_be_unreachable(self, connect, serve):
        server = serve()
        server.stop()
        connect(endpoint=server.url)
        worked, message = EarthEngineHook().test_connection()
        assert not worked
        assert message.startswith("The endpoint cannot be reached")

    def test_a_web_page_is_not_taken_for_earth_engine(self, connect, serve):
        server = serve((302, {}, {"Location": "https://example.com"}))
        connect(endpoint=server.url)
        worked, _ = EarthEngineHook().test_connection()
        assert not worked

    def test_missing_credentials_are_told(self, connect, monkeypatch):
        def refuse(**_):
            raise DefaultCredentialsError("Your default credentials were not found.")

        monkeypatch.setattr(google.auth, "default", refuse)
        connect()
        worked, message = EarthEngineHook().test_connection()
        assert not worked
        assert "default credentials were not found" in message

    def test_a_token_that_cannot_be_had_is_told(self, connect, fake_credentials, monkeypatch, serve, tls):
        def refuse(_):
            raise RefreshError("invalid_grant")

        monkeypatch.setattr(fake_credentials, "token", None)
        monkeypatch.setattr(fake_credentials, "refresh", refuse)
        connect(endpoint=serve(context=tls).url, trusted_endpoint=True)
        assert EarthEngineHook().test_connection()[1].startswith("There are no credentials that Earth Engine accepts")

    def test_a_wrong_field_is_told(self, connect):
        connect(max_concurrency="many")
        assert EarthEngineHook().test_connection() == (
            False,
            "The connection is not set up rightly: the connection's extra max_concurrency must be a whole number, got 'many'",
        )


class TestTimeouts:
    @pytest.mark.parametrize(("seconds", "connect_seconds"), [(2.0, 2.0), (100.0, 20.0), (None, 20.0)])
    def test_a_connection_is_waited_for_no_longer_than_an_answer(self, connect, seconds, connect_seconds):
        connect(endpoint="http://127.0.0.1:1")
        settings = EarthEngineHook().get_client(request_timeout_seconds=seconds).settings
        assert settings.connect_timeout_seconds == connect_seconds


class TestSubmitExport:
    def submit(self, connect, server, number=1):
        connect(endpoint=server.url)
        hook = EarthEngineHook()
        return hook.start_once(hook.client, export_request(number), request_id="airflow-1", mark=MARK)

    def test_a_new_request_starts_an_operation(self, connect, serve):
        server = serve((200, operation("A", f"ndvi-{MARK}-1"), {}))
        assert self.submit(connect, server).id == "A"
        assert [request[:2] for request in server.requests] == [("POST", "/v1/projects/demo-project/image:export")]

    def test_a_duplicate_is_found_by_its_mark_and_number(self, connect, serve):
        listed = [operation("B", "other"), operation("A2", f"x-{MARK}-2"), operation("A1", f"x-{MARK}-1", "FAILED")]
        server = serve(DUPLICATE, (200, {"operations": listed}, {}))
        assert self.submit(connect, server, number=1).id == "A1"

    def test_a_list_that_lags_behind_is_asked_again(self, connect, serve):
        late = operation("A", f"x-{MARK}-1")
        server = serve(DUPLICATE, (200, {}, {}), (200, {"operations": [late]}, {}))
        assert self.submit(connect, server).id == "A"

    def test_an_earlier_attempt_does_not_end_the_wait_for_the_one_asked_for(self, connect, serve):
        failed, late = operation("A1", f"x-{MARK}-1", "FAILED"), operation("A2", f"x-{MARK}-2")
        server = serve(DUPLICATE, (200, {"operations": [failed]}, {}), (200, {"operations": [failed, late]}, {}))
        assert self.submit(connect, server, number=2).id == "A2"

    def test_an_earlier_attempt_is_never_taken_for_the_one_asked_for(self, connect, serve):
        server = serve(DUPLICATE, (200, {"operations": [operation("A1", f"x-{MARK}-1", "FAILED")]}, {}))
        assert self.submit(connect, server, number=2) is None
        assert len(server.requests) == 1 + 3

    def test_a_later_attempt_is_taken_after_all_looks(self, connect, serve):
        listed = [operation("A3", f"x-{MARK}-3"), operation("A2", f"x-{MARK}-2")]
        server = serve(DUPLICATE, (200, {"operations": listed}, {}))
        assert self.submit(connect, server, number=1).id == "A3"
        assert len(server.requests) == 1 + 3

    def test_a_duplicate_that_is_listed_nowhere_is_none(self, connect, serve):
        assert self.submit(connect, serve(DUPLICATE, (200, {}, {}))) is None

    def test_a_list_is_given_a_minute_before_an_export_is_started_again(self):
        assert sum(REAL_PAUSES) >= 60


class TestFailFast:
    @pytest.mark.parametrize(
        "error",
        [
            AssetNotFound("Image asset 'x' not found"),
            OperationFailed("projects/p/operations/A failed: no"),
            ValueError("no"),
        ],
    )
    def test_permanent_failures_are_not_retried_and_keep_their_words(self, error):
        with pytest.raises(AirflowFailException) as failure, fail_fast():
            raise error
        assert str(failure.value) == str(error)
        assert failure.value.__cause__ is error

    @pytest.mark.parametrize("error", [Unavailable("later"), ResourceExhausted("later"), RuntimeError("bug")])
    def test_all_others_pass(self, error):
        with pytest.raises(type(error)) as failure, fail_fast():
            raise error
        assert failure.value is error


class TestInitializeEe:
    @pytest.fixture
    def ee(self, monkeypatch):
        ee = pytest.importorskip("ee")
        calls = []
        state = {"initialized": False}

        def initialize(**arguments):
            calls.append(arguments)
            state["initialized"] = True

        def reset():
            calls.append("reset")
            state["initialized"] = False

        monkeypatch.setattr(ee, "Initialize", initialize)
        monkeypatch.setattr(ee, "Reset", reset)
        monkeypatch.setattr(ee.data, "is_initialized", lambda: state["initialized"])
        monkeypatch.setattr(EarthEngineHook, "_ee_target", None)
        return calls

    def test_it_is_done_once_for_the_same_target(self, connect, ee):
        connect(endpoint="http://127.0.0.1:1")
        EarthEngineHook().initialize_ee()
        EarthEngineHook().initialize_ee()
        assert ee == [{"credentials": None, "project": "demo-project", "url": "http://127.0.0.1:1"}]

    def test_another_target_resets_first(self, connect, ee):
        connect(endpoint="http://127.0.0.1:1")
        EarthEngineHook().initialize_ee()
        EarthEngineHook().initialize_ee("other-project")
        assert ee[1:] == ["reset", {"credentials": None, "project": "other-project", "url": "http://127.0.0.1:1"}]

    def test_what_others_initialised_is_replaced(self, connect, ee):
        import ee as library

        library.Initialize(project="somebody-elses")
        connect(endpoint="http://127.0.0.1:1")
        EarthEngineHook().initialize_ee()
        assert ee[1] == "reset"

    def test_google_gets_the_connections_credentials(self, connect, ee, fake_credentials):
        connect()
        EarthEngineHook().initialize_ee()
        assert ee == [
            {
                "credentials": fake_credentials,
                "project": "demo-project",
                "url": "https://earthengine.googleapis.com",
            }
        ]

    def test_a_missing_library_names_the_extra(self, connect, monkeypatch):
        connect(endpoint="http://127.0.0.1:1")
        monkeypatch.setitem(sys.modules, "ee", None)
        with pytest.raises(ImportError, match=r"airflow-ee\[ee\]"):
            EarthEngineHook().initialize_ee()


class TestAsyncHook:
    async def test_operations_are_fetched_listed_and_cancelled(self, connect, serve):
        server = serve((200, operation("A", "x"), {}), (200, {"operations": [operation("A", "x")]}, {}), (200, {}, {}))
        connect(endpoint=server.url)
        hook = EarthEngineAsyncHook(project_id="other-project")
        assert (await hook.get_operation("A")).state == "RUNNING"
        assert [item.id for item in await hook.list_operations()] == ["A"]
        await hook.cancel_operation("projects/demo-project/operations/A")
        assert [request[:2] for request in server.requests] == [
            ("GET", "/v1/projects/other-project/operations/A"),
            ("GET", "/v1/projects/other-project/operations?pageSize=500"),
            ("POST", "/v1/projects/demo-project/operations/A:cancel"),
        ]

    async def test_the_loop_runs_on_while_the_connection_and_the_service_are_slow(self, connect, monkeypatch):
        connect(endpoint="http://127.0.0.1:1")
        loop_thread = threading.get_ident()
        threads = []

        def slow_connection(_, conn_id):
            threads.append(threading.get_ident())
            time.sleep(0.2)
            return Connection(conn_id=conn_id, conn_type="earth_engine", extra='{"project": "demo-project"}')

        def slow_operation(*_):
            threads.append(threading.get_ident())
            time.sleep(0.2)

        monkeypatch.setattr(EarthEngineHook, "get_connection", classmethod(slow_connection))
        monkeypatch.setattr(EarthEngineHook, "get_credentials", lambda _: None)
        monkeypatch.setattr("airflow_ee.core.client.EarthEngineClient.get_operation", slow_operation)
        ticks = 0
        asking = asyncio.ensure_future(EarthEngineAsyncHook().get_operation("A"))
        while not asking.done():
            ticks += 1
            await asyncio.sleep(0.01)
        assert ticks > 10
        assert loop_thread not in threads
