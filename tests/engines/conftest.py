"""An emulator for all engines' tests, and what each job leaves when it runs in threads of one process."""

import pytest

from airflow_ee.emulator import Emulator
from airflow_ee.engines.threads import ThreadEngine
from tests.core import jobs
from tests.engines import made


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Computes whatever is asked for; no test changes it."""
    with Emulator(root=tmp_path_factory.mktemp("engines") / "root", requests_per_second=None) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def expected(server, tmp_path_factory):
    """Tells the files of a job that ran in threads."""
    known = {}

    def tell(form):
        if form not in known:
            folder = tmp_path_factory.mktemp("threads")
            ThreadEngine().run(made.job(server.url, folder, form))
            known[form] = jobs.content(folder)
        return known[form]

    return tell
