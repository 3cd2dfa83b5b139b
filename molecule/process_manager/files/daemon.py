"""Daemons for the scenario: idle, work, deaf, stubborn, web, careful, clerk, talk. Each writes what it sees to its state directory."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["STATE_DIRECTORY"])


def attempt(path: str) -> str:
    """What comes of writing a file: "written", or the error's name."""
    try:
        Path(path).write_text("x")
        Path(path).chmod(0o640)
    except OSError as error:
        return type(error).__name__
    return "written"


def connect() -> str:
    try:
        socket.create_connection(("127.0.0.1", 22), timeout=3).close()
    except OSError as error:
        return type(error).__name__
    return "connected"


def report() -> None:
    seen = {
        "arguments": sys.argv[2:],
        "environment": {name: os.environ.get(name) for name in ("GREETING", "VALUE")},
        "writes": {
            path: attempt(path)
            for path in ("/etc/x", "/usr/x", "/srv/x", "/srv/uploads/x", f"{STATE}/x", f"/tmp/{os.environ['USER']}")
        },
        "root_home": attempt("/root/x"),
        "connects": connect(),
        "privileges": next(
            line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("NoNewPrivs")
        ),
    }
    (STATE / "seen.json").write_text(json.dumps(seen))


def work() -> None:
    """On SIGTERM, two more seconds of work; its child ends at SIGTERM at once, as a pool's would if it were told."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])

    def finish(*_: object) -> None:
        time.sleep(2)
        (STATE / "finished").write_text("child alive" if child.poll() is None else "child dead")
        sys.exit(0)

    signal.signal(signal.SIGTERM, finish)
    while True:
        signal.pause()


def deaf() -> None:
    """Ends only on SIGQUIT."""

    def leave(*_: object) -> None:
        (STATE / "quit").write_text("given back")
        sys.exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, leave)
    while True:
        signal.pause()


def stubborn() -> None:
    """Ends on nothing but SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    while True:
        signal.pause()


def web() -> None:
    """Answers on the socket that systemd holds; takes two seconds to start."""
    listener = socket.socket(fileno=3)
    time.sleep(2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    while True:
        # Told to end, it ends between two requests: SIGTERM waits while one is answered.
        select.select([listener], [], [])
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n%d\n" % os.getpid())
        connection.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def careful() -> None:
    """Loads a file when it starts and on SIGHUP, and writes which it has loaded."""

    def load(*_: object) -> None:
        (STATE / "loaded").write_text(Path("/etc/careful.conf").read_text())

    signal.signal(signal.SIGHUP, load)
    load()
    while True:
        signal.pause()


def clerk() -> None:
    """Enters its beginning and, after two more seconds of work on SIGTERM, its end into a ledger."""

    def enter(what: str) -> None:
        with (STATE / "ledger").open("a") as ledger:
            print(what, os.getpid(), file=ledger)

    def finish(*_: object) -> None:
        # More than a pipe holds that nobody reads.
        print("finishing " * 10_000, flush=True)
        time.sleep(2)
        enter("end")
        sys.exit(0)

    signal.signal(signal.SIGTERM, finish)
    enter("begin")
    while True:
        signal.pause()


def talk() -> None:
    """Says more than one log file takes."""
    line = "x" * 1023
    for _ in range(21 * 1024):
        print(line)
    print("all said", flush=True)
    signal.pause()


if sys.argv[1] == "idle":
    report()
    signal.pause()
globals()[sys.argv[1]]()
