"""Settings refuse what could not work, and credentials go only where they may."""

import pytest

from airflow_ee.core.settings import ClientSettings, RetryPolicy


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://example.com",
        "ftp://127.0.0.1",
        "http://127.0.0.1.example.com",
        "https://user:pw@h.com",
        "earthengine",
        "",
    ],
)
def test_an_endpoint_must_be_https_or_loopback(endpoint):
    with pytest.raises(ValueError, match="endpoint must be"):
        ClientSettings(project="demo-project", endpoint=endpoint)


def test_a_version_in_an_endpoint_is_refused_because_it_is_added():
    with pytest.raises(ValueError, match="leave out /v1"):
        ClientSettings(project="demo-project", endpoint="https://earthengine.googleapis.com/v1")


def test_a_password_in_an_endpoint_is_not_repeated_in_the_error():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ClientSettings(project="demo-project", endpoint="https://user:secret@example.com")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("project", ["demo-project", "example.com:my-project", "123456789"])
def test_projects_are_ids_domain_scoped_ids_or_numbers(project):
    assert ClientSettings(project=project).project == project


@pytest.mark.parametrize("project", ["", "p", "UPPER-case", "projects/demo", "a b c d e f"])
def test_other_projects_are_refused(project):
    with pytest.raises(ValueError, match="project must be"):
        ClientSettings(project=project)


@pytest.mark.parametrize(
    ("endpoint", "trusted", "may"),
    [
        ("https://earthengine.googleapis.com", False, True),
        ("https://earthengine-highvolume.googleapis.com", False, True),
        ("https://earthengine-endpoint.p.googleapis.com", False, True),
        ("https://earthengine.mtls.googleapis.com", False, True),
        ("https://googleapis.com.evil.example", False, False),
        ("https://evilgoogleapis.com", False, False),
        ("https://proxy.example.com", False, False),
        ("https://proxy.example.com", True, True),
        ("http://127.0.0.1:8085", False, False),
        ("http://127.0.0.1:8085", True, False),
    ],
)
def test_credentials_go_only_to_google_or_to_a_trusted_https_host(endpoint, trusted, may):
    settings = ClientSettings(project="demo-project", trusted_endpoint=trusted)
    assert settings.may_send_credentials(endpoint) is may


def test_the_universe_domain_is_googles_too():
    settings = ClientSettings(project="demo-project", universe_domain="example-cloud.eu")
    assert settings.may_send_credentials("https://earthengine.example-cloud.eu")


@pytest.mark.parametrize("field", ["max_concurrency", "requests_per_second", "request_timeout_seconds"])
def test_limits_must_be_positive(field):
    with pytest.raises(ValueError, match=field):
        ClientSettings(project="demo-project", **{field: 0})


def test_a_retry_policy_needs_an_attempt():
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=0)
