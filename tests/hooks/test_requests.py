"""What requests say about who pays and who asks, and what becomes of a token that cannot be had."""

import pytest
from google.auth.credentials import CredentialsWithQuotaProject
from google.auth.exceptions import RefreshError, TransportError

from airflow_ee.core.errors import ConnectionFailed, Unauthenticated
from airflow_ee.hooks.earth_engine import EarthEngineHook

ALGORITHMS = (200, {"algorithms": []}, {})


class Login(CredentialsWithQuotaProject):
    """Like a user's application default login, which often carries the project it was made in."""

    def __init__(self, quota_project_id="project-of-the-login", *, failures=()):
        super().__init__()
        self._quota_project_id = quota_project_id
        self.failures = list(failures)
        self.asked = 0

    def refresh(self, _):
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        self.token = "very-secret-token"

    def with_quota_project(self, quota_project_id):
        return Login(quota_project_id)

    def _refresh(self, request):
        return self.refresh(request)


@pytest.fixture
def trusted(connect, serve, tls):
    """Makes the default connection to a server that may have a token; returns the server."""

    def make(**extra):
        server = serve(ALGORITHMS, context=tls)
        connect(endpoint=server.url, trusted_endpoint=True, **extra)
        return server

    return make


@pytest.fixture
def login(monkeypatch):
    """Makes a hook find these credentials as its own."""

    def use(credentials):
        monkeypatch.setattr("google.auth.default", lambda **_: (credentials, None))
        return credentials

    return use


def caused_by_transport():
    error = RefreshError("Failed to retrieve a token")
    error.__cause__ = TransportError("metadata.google.internal: no route to host")
    return error


class TestWhoPays:
    @pytest.mark.parametrize(
        ("extra", "argument", "project"),
        [
            ({}, None, "demo-project"),
            ({"quota_project_id": "paying-project"}, None, "paying-project"),
            ({"quota_project_id": "paying-project"}, "other-project", "other-project"),
        ],
        ids=["the project", "the connection's quota project", "the hook's"],
    )
    def test_the_logins_own_quota_project_does_not(self, trusted, login, extra, argument, project):
        server = trusted(**extra)
        login(Login())
        EarthEngineHook(quota_project_id=argument).client.list_algorithms()
        headers = server.requests[0][2]
        assert (headers["x-goog-user-project"], headers["authorization"]) == (project, "Bearer very-secret-token")

    @pytest.mark.parametrize(
        ("extra", "quota_project"), [({}, None), ({"quota_project_id": "paying-project"}, "paying-project")]
    )
    def test_googles_client_gets_a_login_without_one(self, trusted, login, monkeypatch, extra, quota_project):
        ee = pytest.importorskip("ee")
        seen = []
        monkeypatch.setattr(ee, "Initialize", lambda **arguments: seen.append(arguments["credentials"]))
        monkeypatch.setattr(ee.data, "is_initialized", lambda: False)
        monkeypatch.setattr(EarthEngineHook, "_ee_target", None)
        trusted(**extra)
        login(Login())
        EarthEngineHook().initialize_ee()
        assert seen[0].quota_project_id == quota_project

    def test_a_password_of_the_machine_does_not_displace_the_token(self, trusted, login, monkeypatch, tmp_path):
        file = tmp_path / "netrc"
        file.write_text("machine localhost login someone password word\n")
        monkeypatch.setenv("NETRC", str(file))
        server = trusted()
        login(Login())
        EarthEngineHook().client.list_algorithms()
        assert server.requests[0][2]["authorization"] == "Bearer very-secret-token"


class TestNoToken:
    @pytest.mark.parametrize(
        "failure",
        [
            RefreshError("internal_failure", retryable=True),
            RefreshError(TransportError("the metadata server did not answer")),
            caused_by_transport(),
            TransportError("oauth2.googleapis.com: connection reset"),
        ],
        ids=["said to be retryable", "holds a transport error", "caused by a transport error", "transport error"],
    )
    def test_a_server_of_tokens_that_cannot_be_reached_is_asked_again(self, trusted, login, failure):
        server = trusted()
        credentials = login(Login(None, failures=[failure]))
        EarthEngineHook().client.list_algorithms()
        assert credentials.asked == 2
        assert len(server.requests) == 1

    def test_it_is_a_passing_failure_when_it_stays_away(self, trusted, login):
        server = trusted()
        login(Login(None, failures=[caused_by_transport()]))
        with pytest.raises(ConnectionFailed, match="No token could be had for https://localhost") as failed:
            EarthEngineHook().get_client(request_retries=0).list_algorithms()
        assert failed.value.retryable
        assert server.requests == []

    def test_credentials_that_are_refused_are_shown_once(self, trusted, login):
        trusted()
        credentials = login(Login(None, failures=[RefreshError("invalid_grant: revoked")] * 3))
        with pytest.raises(Unauthenticated, match="invalid_grant: revoked"):
            EarthEngineHook().client.list_algorithms()
        assert credentials.asked == 1
