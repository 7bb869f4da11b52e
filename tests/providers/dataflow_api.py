"""As much of the Dataflow API as a submission asks for: jobs are kept as they came, and done at once."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JOBS = re.compile(r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/jobs(?:/(?P<id>[^/?]+))?(?:\?.*)?$")
DONE = {"name": "ndvi-large-area", "type": "JOB_TYPE_BATCH", "currentState": "JOB_STATE_DONE"}


class DataflowApi:
    """A server on loopback, as a context manager."""

    def __init__(self):
        self.created = []
        """Of each job that was created: project, location and the body as text."""
        self.others = []
        """Requests that are none of jobs."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                found = JOBS.match(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if found and not found["id"]:
                    api.created.append((found["project"], found["location"], body))
                    self.answer({"id": f"job-{len(api.created)}", "name": json.loads(body)["name"]})
                else:
                    self.refuse()

            def do_GET(self):
                found = JOBS.match(self.path)
                if found and found["id"]:
                    self.answer({**DONE, "id": found["id"]})
                else:
                    self.refuse()

            def refuse(self):
                api.others.append(f"{self.command} {self.path}")
                self.send_error(404)

            def answer(self, value):
                content = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # By this name Beam speaks HTTP to it.
        self.url = f"http://localhost:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
