"""Which failures Airflow should not retry. Apart from the hook, whose import is slow, so that DAG files parse quickly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.core.errors import EarthEngineError

__all__ = ["fail_fast"]


@contextmanager
def fail_fast() -> Iterator[None]:
    """Tell Airflow not to retry what cannot succeed on a second try: permanent errors of the service, and bad input."""
    try:
        yield
    except EarthEngineError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
