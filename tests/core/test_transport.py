"""What lies between a client and its endpoint: proxies, passwords of the machine, time."""

import socket
import time

import pytest

from airflow_ee.core import errors
from airflow_ee.core.settings import ClientSettings
from airflow_ee.core.transport import Transport

ASSET = "projects/earthengine-public/assets/MODIS/061/MOD13Q1"


@pytest.fixture
def transport():
    transport = Transport(ClientSettings(project="demo-project", request_timeout_seconds=20))
    yield transport
    transport.close()


@pytest.fixture
def silent():
    """An address that takes no connection and refuses none: all places in its queue are taken."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = []
        for _ in range(8):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            waiting.append(client)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for client in waiting:
            client.close()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_no_proxy_stands_before_an_emulator_on_this_machine(emulator, transport, monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert transport.send("GET", emulator.url, ASSET).json()["name"] == ASSET


def test_other_hosts_are_reached_as_the_environment_says(transport, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(errors.ConnectionFailed, match="proxy"):
        transport.send("GET", "https://earthengine.googleapis.com", ASSET)


def test_a_password_of_the_machine_goes_nowhere(emulator, transport, monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    file.write_text("default login someone password very-secret\n")
    monkeypatch.setenv("NETRC", str(file))
    transport.send("GET", emulator.url, ASSET)
    assert "authorization" not in emulator.requests[0].headers


def test_a_connection_is_waited_for_no_longer_than_the_call_may_take(transport, silent):
    started = time.monotonic()
    with pytest.raises(errors.ConnectionFailed):
        transport.send("GET", silent, ASSET, timeout_seconds=0.5)
    assert time.monotonic() - started < 5
