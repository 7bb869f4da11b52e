"""What a connection may hold, and what it is read as."""

import pytest

from airflow_ee.core.settings import HIGH_VOLUME_ENDPOINT, STANDARD_ENDPOINT
from airflow_ee.hooks.connection import ConnectionOptions, host_url

LOCAL = "http://127.0.0.1:8085"


def test_an_empty_extra_means_googles_hosts_and_quotas():
    options = ConnectionOptions.parse({})
    assert (options.endpoint, options.high_volume_endpoint) == (STANDARD_ENDPOINT, HIGH_VOLUME_ENDPOINT)
    assert (options.max_concurrency, options.requests_per_second, options.request_timeout_seconds) == (40, 100.0, 330.0)
    assert options.high_volume
    assert not options.trusted_endpoint
    assert options.api_version == "v1"


@pytest.mark.parametrize("name", ["endpoint", "high_volume_endpoint"])
def test_one_endpoint_alone_serves_both_kinds_of_calls(name):
    options = ConnectionOptions.parse({name: LOCAL})
    assert (options.endpoint, options.high_volume_endpoint) == (LOCAL, LOCAL)


def test_two_endpoints_are_kept_apart():
    options = ConnectionOptions.parse({"endpoint": LOCAL, "high_volume_endpoint": "http://127.0.0.1:9/"})
    assert (options.endpoint, options.high_volume_endpoint) == (LOCAL, "http://127.0.0.1:9")


def test_the_extra_wins_over_the_host_field():
    assert ConnectionOptions.parse({}, host=LOCAL).high_volume_endpoint == LOCAL
    assert ConnectionOptions.parse({"endpoint": "https://earthengine.googleapis.com"}, host=LOCAL).endpoint != LOCAL


def test_another_universe_has_hosts_of_its_own():
    assert ConnectionOptions.parse({"universe_domain": "example.goog"}).endpoint == "https://earthengine.example.goog"
    assert ConnectionOptions.parse({}, universe_domain="example.goog").endpoint == "https://earthengine.example.goog"


@pytest.mark.parametrize(
    ("value", "meaning"), [("true", True), ("False", False), ("0", False), ("yes", True), (True, True), (False, False)]
)
def test_booleans_may_be_text(value, meaning):
    assert ConnectionOptions.parse({"high_volume": value}).high_volume is meaning


@pytest.mark.parametrize(("value", "meaning"), [("8", 8), (8, 8), ("8.0", 8), ("", 40), (None, 40)])
def test_numbers_may_be_text_and_empty_means_the_default(value, meaning):
    assert ConnectionOptions.parse({"max_concurrency": value}).max_concurrency == meaning


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"high_volume": "maybe"}, "high_volume must be true or false"),
        ({"max_concurrency": "many"}, "max_concurrency must be a whole number"),
        ({"max_concurrency": "2.5"}, "max_concurrency must be a whole number above 0"),
        ({"max_concurrency": 0}, "max_concurrency must be a whole number above 0"),
        ({"requests_per_second": "nan"}, "requests_per_second must be a number above 0"),
        ({"request_timeout_seconds": "-1"}, "request_timeout_seconds must be a number above 0"),
        ({"endpoint": "http://example.com"}, "endpoint must be https, or http on a loopback address"),
        ({"high_volume_endpoint": "ftp://127.0.0.1"}, "high_volume_endpoint must be https"),
        ({"endpoint": "https://user:word@example.com"}, "endpoint must be a plain URL"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(extra, words):
    with pytest.raises(ValueError, match=words):
        ConnectionOptions.parse(extra)


def test_an_unknown_api_version_is_refused():
    with pytest.raises(ValueError, match="api_version must be one of v1, v1beta, v1alpha"):
        ConnectionOptions.parse({"api_version": "v2"}).settings("demo-project")


@pytest.mark.parametrize("project", ["demo-project", "example.com:my-project", "123456789"])
def test_projects_are_ids_domain_scoped_ids_or_numbers(project):
    assert ConnectionOptions().settings(project).project == project


@pytest.mark.parametrize("project", ["My Project", "short", "../demo-project", "demo_project", "a" * 40])
def test_other_forms_of_projects_are_refused(project):
    with pytest.raises(ValueError, match="project must be a project id"):
        ConnectionOptions().settings(project)


def test_arguments_win_over_the_connection():
    options = ConnectionOptions(high_volume=True, max_concurrency=40)
    settings = options.settings("demo-project", high_volume=False, max_concurrency=3, request_retries=0)
    assert (settings.high_volume, settings.max_concurrency, settings.retry.attempts) == (False, 3, 1)


@pytest.mark.parametrize(("asked", "given"), [(64, 4), (2, 2), (None, 4)])
def test_a_task_may_use_less_than_the_connections_share_but_no_more(asked, given):
    assert ConnectionOptions(max_concurrency=4).settings("demo-project", max_concurrency=asked).max_concurrency == given


def test_negative_retries_are_refused():
    with pytest.raises(ValueError, match="request_retries must not be negative"):
        ConnectionOptions().settings("demo-project", request_retries=-1)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("earthengine.example.com", None, "https://earthengine.example.com"),
        ("http://127.0.0.1:8085/", None, "http://127.0.0.1:8085"),
        ("http://127.0.0.1", 8085, "http://127.0.0.1:8085"),
        ("http://127.0.0.1:8085", 9, "http://127.0.0.1:8085"),
        ("", 8085, ""),
    ],
)
def test_a_host_field_becomes_a_url(host, port, url):
    assert host_url(host, port) == url
