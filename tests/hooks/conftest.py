"""A server that answers what it is told and remembers what it was sent."""

import datetime
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.auth.credentials import Credentials

Answer = tuple[int, dict[str, Any], dict[str, str]]


class RecordingServer:
    """Answers are given in order, the last one for ever; requests are kept as (method, path, headers)."""

    def __init__(self, *answers: Answer, context: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers) or [(200, {}, {})]
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.requests.append((self.command, self.path, headers))
                status, body, extra = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                content = json.dumps(body).encode()
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{'https' if context else 'http'}://localhost:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., RecordingServer]]:
    """Starts servers, and stops them after the test."""
    running: list[RecordingServer] = []

    def start(*answers: Answer, context: ssl.SSLContext | None = None) -> RecordingServer:
        running.append(RecordingServer(*answers, context=context))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """TLS for localhost that this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


class FakeCredentials(Credentials):
    """A token that must not turn up where it does not belong."""

    service_account_email = "robot@demo-project.iam.gserviceaccount.com"

    def __init__(self) -> None:
        super().__init__()
        self.token = "very-secret-token"

    def refresh(self, _: Any) -> None:
        self.token = "very-secret-token"


@pytest.fixture
def fake_credentials(monkeypatch: pytest.MonkeyPatch) -> FakeCredentials:
    """What every hook of the test finds as its credentials."""
    from airflow_ee.hooks.earth_engine import EarthEngineHook

    credentials = FakeCredentials()
    monkeypatch.setattr(EarthEngineHook, "get_credentials_and_project_id", lambda _: (credentials, "key-project"))
    return credentials
