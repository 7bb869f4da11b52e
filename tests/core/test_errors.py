"""Failures of the service become the class that fits, and survive the way between processes."""

import inspect
import pickle

import pytest

from airflow_ee.core import errors
from airflow_ee.core.errors import EarthEngineError, error_from_status

CLASSES = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if issubclass(item, EarthEngineError) and item.__module__ == errors.__name__
]

# Message texts of the service, as quoted in public issues and its documentation.
SEEN = [
    (400, "Total request size (56623104 bytes) must be less than or equal to 50331648 bytes.", "RequestTooLarge"),
    (400, "Pixel grid dimensions (40818x1) must be less than or equal to 32768.", "RequestTooLarge"),
    (400, "Request payload size exceeds the limit: 10485760 bytes.", "RequestTooLarge"),
    (400, "Computation timed out.", "ComputationTimedOut"),
    (400, "User memory limit exceeded.", "MemoryLimitExceeded"),
    (400, "Image.load: Image asset 'x' not found (does not exist or caller does not have access).", "AssetNotFound"),
    (400, "A different Operation was already started with the given request_id", "DuplicateRequest"),
    (400, "There are too many tasks already in the queue (3000). Please wait for some to complete.", "QueueFull"),
    (429, "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded.", "TooManyRequests"),
    (429, "Too many concurrent aggregations.", "TooManyRequests"),
    (429, "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per user'", "ResourceExhausted"),
    (429, "Your usage exceeded the custom quota for 'earthengine.googleapis.com/daily_eecu_usage_time'", "DailyQuotaExceeded"),
    (403, "Project p is not registered to use Earth Engine. Visit ...", "ProjectNotRegistered"),
    (403, "Google Earth Engine API has not been used in project 1 before or it is disabled.", "ServiceDisabled"),
    (403, "Request had insufficient authentication scopes.", "InsufficientScopes"),
    (403, "Permission 'earthengine.assets.get' denied on resource 'projects/x' (or it may not exist).", "PermissionDenied"),
    (404, "Requested entity was not found.", "NotFound"),
    (500, "An internal error has occurred (request: uuid)", "Internal"),
    (503, "The service is currently unavailable.", "Unavailable"),
    (400, "Invalid JSON payload received. Unknown name \"origin\" at 'grid': Cannot find field.", "InvalidArgument"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("http_status", "message", "expected"), SEEN, ids=[row[2] + str(i) for i, row in enumerate(SEEN)]
)
def test_a_message_of_the_service_becomes_its_class(http_status, message, expected):
    error = error_from_status({"code": http_status, "message": message}, http_status=http_status)
    assert type(error).__name__ == expected
    assert error.message == message
    assert message in str(error)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_pickles_with_all_it_knows(kind):
    error = kind("words", ({"reason": "r"},), 2.5)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.message, copy.details, copy.retry_after_seconds) == ("words", ({"reason": "r"},), 2.5)
    assert str(copy) == str(error)


def test_what_only_asks_for_less_at_once_is_not_retried_as_it_is():
    for kind in (errors.RequestTooLarge, errors.ComputationTimedOut, errors.MemoryLimitExceeded):
        assert not kind.retryable
        assert issubclass(kind, ValueError)


def test_a_daily_quota_is_not_retried_but_other_quotas_are():
    assert errors.ResourceExhausted.retryable
    assert errors.TooManyRequests.retryable
    assert not errors.DailyQuotaExceeded.retryable


def test_an_error_info_reason_decides_before_the_words():
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]
    error = error_from_status({"code": 403, "message": "whatever", "details": details}, http_status=403)
    assert isinstance(error, errors.ServiceDisabled)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(502, "Unavailable"), (504, "DeadlineExceeded"), (418, "EarthEngineError"), (599, "Unavailable")],
)
def test_an_answer_of_a_proxy_is_classified_by_its_http_status(status, expected):
    error = error_from_status({"message": "<html>"}, http_status=status)
    assert type(error).__name__ == expected


def test_an_operation_numbers_its_error_by_google_rpc_code():
    assert isinstance(error_from_status({"code": 8, "message": "x"}), errors.ResourceExhausted)
    assert isinstance(error_from_status({"code": 3, "message": "x"}), errors.InvalidArgument)
