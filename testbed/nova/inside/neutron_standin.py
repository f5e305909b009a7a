"""neutron_standin.py PORT: the part of the networking API that servers without ports need.

Nova calls it at each boot, even with `networks: none`: for extensions, for quotas, and for lists, which are empty here.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EXTENSIONS = ("binding", "binding-extended", "security-group", "quotas", "provider")
QUOTAS = ("port", "network", "subnet", "floatingip", "security_group", "security_group_rule", "router")


def answer(path, own_url):
    """Return (status, body) of a GET."""
    parts = path.partition("?")[0].strip("/").split("/")
    if parts == [""]:
        links = [{"rel": "self", "href": f"{own_url}/v2.0/"}]
        return 200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}
    if parts == ["v2.0"]:
        return 200, {"resources": []}
    if parts == ["v2.0", "extensions"]:
        about = {"description": "", "updated": "", "links": []}
        return 200, {"extensions": [{"alias": alias, "name": alias, **about} for alias in EXTENSIONS]}
    if len(parts) == 2:
        return 200, {parts[1].replace("-", "_"): []}
    if parts[1] == "quotas":
        return 200, {"quota": dict.fromkeys(QUOTAS, -1)}
    return 404, not_found(path)


def not_found(path):
    return {"NeutronError": {"type": "NotFound", "message": path, "detail": ""}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(*answer(self.path, f"http://127.0.0.1:{self.server.server_port}"))

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.reply(404, not_found(self.path))

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
