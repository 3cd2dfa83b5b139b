"""Runs on the server: a WebSocket and a request are open through the proxy while the web server is restarted, and others keep coming.

Prints what became of them as JSON.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

NAME, DEADLINE = "library.test", 60
BEGUN, END = Path("/srv/library/covers/begun"), Path("/srv/library/covers/end")
trusting = ssl._create_unverified_context()  # noqa: S323  its certificate is self-signed


def get(path: str) -> tuple[int, str]:
    """The status and body of an answer through the proxy, which is asked by the site's name."""
    connection = http.client.HTTPConnection(NAME, timeout=DEADLINE)
    proxy = socket.create_connection(("127.0.0.1", 443), DEADLINE)
    connection.sock = trusting.wrap_socket(proxy, server_hostname=NAME)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def main() -> None:
    """Visit."""
    for path in (BEGUN, END):
        path.unlink(missing_ok=True)
    found: dict[str, object] = {"visitor": json.loads(get("/visitor")[1])}
    proxy = socket.create_connection(("127.0.0.1", 443), DEADLINE)
    with connect(f"wss://{NAME}/echo", sock=proxy, ssl=trusting, server_hostname=NAME) as echo:
        echo.send("hello")
        found["echo"] = echo.recv(timeout=DEADLINE)
        slow: list[tuple[int, str]] = []
        waiting = threading.Thread(target=lambda: slow.append(get("/slow")))
        waiting.start()
        wait_for(BEGUN)
        before = main_pid()
        restart = subprocess.Popen(["systemctl", "restart", "library-web.service"])
        try:
            echo.recv(timeout=DEADLINE)
        except ConnectionClosed as closed:
            found["closed"] = closed.rcvd.code if closed.rcvd else None
    # It has been told to end, and waits for the request.
    found["waits"] = main_pid() == before
    coming: list[tuple[int, str]] = []
    visitors = [threading.Thread(target=lambda: coming.append(get("/motto"))) for _ in range(20)]
    for visitor in visitors:
        visitor.start()
    END.touch()
    for thread in (waiting, *visitors):
        thread.join(DEADLINE)
    restart.wait(DEADLINE)
    found |= {"slow": slow, "statuses": [status for status, _ in coming], "replaced": main_pid() != before}
    print(json.dumps(found))


def wait_for(path: Path) -> None:
    """Until a file is there."""
    deadline = time.monotonic() + DEADLINE
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.1)


def main_pid() -> str:
    """The web server's main process."""
    command = ["systemctl", "show", "--value", "--property=MainPID", "library-web.service"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
