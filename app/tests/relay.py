"""A TCP relay that stands between the app and a server, counts round trips, and can make each one slower or cut it."""

import select
import socket
import socketserver
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Relay(socketserver.ThreadingTCPServer):
    """Relays to the server of a URL; `url` is the same URL by way of the relay."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, url: str, *, delay: float = 0) -> None:
        """delay: seconds added to each round trip."""
        super().__init__(("127.0.0.1", 0), Connection)
        parts = urlsplit(url)
        self.target = parts.hostname or "", parts.port or 0
        self.url = url.replace(f":{parts.port}", f":{self.server_address[1]}")
        self.delay = delay
        self.lock = threading.Lock()
        self.round_trips = 0
        self.cuts = 0  # that many of the next round trips end with a cut connection

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    def count(self) -> bool:
        """Counts a round trip; returns whether its connection is to be cut."""
        with self.lock:
            self.round_trips += 1
            self.cuts, is_cut = max(self.cuts - 1, 0), self.cuts > 0
            return is_cut


class Connection(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        client: socket.socket = self.request
        with socket.create_connection(self.server.target) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            is_asking = False  # what a client sends before it was answered belongs to the same round trip
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(1 << 20)
                    if not data:
                        return
                    if end is server:
                        is_asking = False
                        client.sendall(data)
                        continue
                    if not is_asking:
                        is_asking = True
                        if self.server.count():
                            return
                        time.sleep(self.server.delay)
                    server.sendall(data)
