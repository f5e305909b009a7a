"""Canned HTTP responses that a well-behaved simulator cannot produce, such as garbage and broken connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

PASSWORD = "a-very-secret-word"
USER_ID = "5f0c1e"


@dataclass
class Answer:
    """A response: JSON, or a string as it is. `hang` sends nothing, `reset` closes the connection without a
    response."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    hang: bool = False


class Stub:
    """A Keystone that accepts everybody, and a Nova and a Placement with the responses that a test sets."""

    def __init__(self, url: str) -> None:
        self.url = url
        #: responses by `METHOD path?query`, else by `METHOD path`; of a list, each is used once, and the last one is
        #: repeated
        self.answers: dict[str, Answer | list[Answer]] = {}
        #: all requests to the services, as `METHOD path?query`
        self.requests: list[str] = []
        self.microversions: list[str | None] = []
        self.bodies: list[Any] = []
        self.maximum = "2.100"
        self.login = Answer(201)
        self.logins = 0
        self.placement = True
        self.network = False
        #: set to end all responses that hang
        self.released = threading.Event()

    def answer(self, method: str, target: str) -> Answer:
        path = target.partition("?")[0]
        if path.startswith("/identity/v3/auth/tokens"):
            self.logins += 1
            return Answer(self.login.status, self.login.body or self._token(), {"X-Subject-Token": "t"})
        if path.rstrip("/") in ("/identity/v3", "/identity"):
            return Answer(body=_version("v3", f"{self.url}/identity/v3/", "3.14"))
        if path.rstrip("/") in ("/compute/v2.1", "/compute"):
            return Answer(body=_version("v2.1", f"{self.url}/compute/v2.1/", self.maximum))
        if path.rstrip("/") == "/placement":
            return Answer(body={"versions": [_version("v1.0", f"{self.url}/placement", "1.39")["version"]]})
        self.requests.append(f"{method} {target}")
        none = Answer(404, {"itemNotFound": {"code": 404, "message": "none"}})
        found = self.answers.get(f"{method} {target}") or self.answers.get(f"{method} {path}", none)
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found

    def clouds_yaml(self, folder: Path) -> Path:
        auth = {
            "auth_url": f"{self.url}/identity/v3",
            "username": "u",
            "password": PASSWORD,
            "project_name": "p",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
        file = folder / "clouds.yaml"
        file.write_text(yaml.safe_dump({"clouds": {"stub": {"auth": auth, "region_name": "R"}}}))
        return file

    def _token(self) -> Any:
        services = [("identity", "/identity/v3"), ("compute", "/compute/v2.1")]
        services += [("placement", "/placement")] if self.placement else []
        services += [("network", "/network")] if self.network else []
        catalog = [
            {
                "type": name,
                "name": name,
                "id": name,
                "endpoints": [
                    {
                        "id": name,
                        "interface": "public",
                        "region": "R",
                        "region_id": "R",
                        "url": f"{self.url}{path}",
                    }
                ],
            }
            for name, path in services
        ]
        return {
            "token": {
                "methods": ["password"],
                "expires_at": "2199-01-01T00:00:00.000000Z",
                "issued_at": "2026-01-01T00:00:00.000000Z",
                "user": {"id": USER_ID, "name": "u", "domain": {"id": "default", "name": "Default"}},
                "project": {"id": "p", "name": "p", "domain": {"id": "default", "name": "Default"}},
                "roles": [{"id": "r", "name": "admin"}],
                "catalog": catalog,
            }
        }


def _version(name: str, url: str, maximum: str) -> Any:
    return {
        "version": {
            "id": name,
            "status": "CURRENT",
            "version": maximum,
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": url}],
        }
    }


@contextmanager
def stub() -> Iterator[Stub]:
    """Serve a stub on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = made.answer(self.command, self.path)
            made.bodies.append(json.loads(sent) if sent else None)
            made.microversions.append(self.headers.get("OpenStack-API-Version"))
            if answer.hang:
                made.released.wait(30)
            if answer.reset or answer.hang:
                self.close_connection = True
                return
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response_only(answer.status)
            for name, value in {
                "Content-Type": "application/json",
                "Date": formatdate(usegmt=True),
                **answer.headers,
            }.items():
                self.send_header(name, value)
            payload = b"" if answer.body is None else text.encode()
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 (http.server looks them up by these names)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Stub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
