"""A small application for nginx to stand before: says what it was asked. Argument: /a/socket or a port."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

WEBSOCKET_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(BaseHTTPRequestHandler):
    """Answers with the request as JSON; echoes bytes on a WebSocket."""

    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        """A client of a Unix socket has no address."""
        return "nginx"

    def do_GET(self) -> None:
        """Answer any request."""
        if self.headers.get("Upgrade") == "websocket":
            self.echo()
            return
        if self.path.startswith("/lend/"):
            self.lend(*self.path.removeprefix("/lend/").split("?"))
            return
        if self.path.endswith("/silent"):
            # Until nginx has lost its patience.
            self.connection.recv(1)
            return
        if self.path.endswith("/early"):
            self.send_response(200 if self.rfile.read(1) else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        length = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        answer = {"path": self.path, "headers": dict(self.headers), "length": length}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/strict":
            self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def lend(self, name: str, content_type: str = "image/png") -> None:
        """Have nginx hand out an upload: /lend/its/name?its/content-type."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", "0")
        self.send_header("X-Accel-Redirect", f"/media/{name}")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()

    def echo(self) -> None:
        """Accept a WebSocket and give every byte back."""
        key = self.headers["Sec-WebSocket-Key"] + WEBSOCKET_SUFFIX
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "upgrade")
        self.send_header(
            "Sec-WebSocket-Accept",
            base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode(),
        )
        self.end_headers()
        while data := self.connection.recv(1024):
            self.connection.sendall(data)


if __name__ == "__main__":
    place = sys.argv[1]
    if place.isdigit():
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        server = socketserver.ThreadingTCPServer(("127.0.0.1", int(place)), Handler)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
        server = socketserver.ThreadingUnixStreamServer(place, Handler)
    server.serve_forever()
