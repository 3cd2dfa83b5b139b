"""Pages a second through nginx with TLS against gunicorn alone, and with against without the database pool. Runs on the server.

gunicorn alone is a second one on a port of its own, started from the running unit's own command line.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

APPLICATION = sys.argv[1]
REQUESTS = 400
PORT = 8999


def rate(url: str, *options: str) -> float:
    """Requests a second that ab measures, 8 at a time; fails when one of them failed."""
    shown = subprocess.run(
        ["ab", "-q", "-n", str(REQUESTS), "-c", "8", *options, url],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout
    refused = re.search(r"Non-2xx responses:\s+(\d+)", shown)
    if refused:
        raise RuntimeError(f"{url}: {refused[1]} answers were not 2xx")
    return float(re.search(r"Requests per second:\s+([\d.]+)", shown)[1])


def direct(pool: str) -> subprocess.Popen[bytes]:
    """A gunicorn like the unit's on PORT, in the unit's environment, with the pool switched."""
    pid = subprocess.check_output(
        ["systemctl", "show", "-p", "MainPID", "--value", f"{APPLICATION}-web"], text=True
    ).strip()
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    # Its own address instead of the unit's socket.
    command = [word.decode() for word in words if not word.startswith(b"--bind=")]
    environment = dict(
        item.decode().split("=", 1) for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if b"=" in item
    )
    for name in ("LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    environment["DATABASE_POOL"] = pool
    process = subprocess.Popen(
        [
            "setpriv",
            f"--reuid={APPLICATION}",
            f"--regid={APPLICATION}",
            "--init-groups",
            *command,
            "--bind",
            f"127.0.0.1:{PORT}",
        ],
        env=environment,
        cwd=os.readlink(f"/proc/{pid}/cwd"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{PORT}/healthz", headers=HEADERS), timeout=5
            )
            return process
        except OSError:
            time.sleep(0.1)
    process.terminate()
    raise TimeoutError("gunicorn did not answer")


HEADERS = {"Host": "localhost", "X-Forwarded-Proto": "https"}


def main() -> None:
    """Each figure is taken twice, in turned order, and averaged."""
    options = [word for name, value in HEADERS.items() for word in ("-H", f"{name}: {value}")]
    for path in ("/", "/healthz"):
        figures: dict[str, list[float]] = {"nginx": [], "pool": [], "no pool": []}
        for order in (("nginx", "pool", "no pool"), ("no pool", "pool", "nginx")):
            for side in order:
                if side == "nginx":
                    figures[side].append(rate(f"https://localhost{path}"))
                    continue
                process = direct("1" if side == "pool" else "0")
                try:
                    figures[side].append(rate(f"http://127.0.0.1:{PORT}{path}", *options))
                finally:
                    process.terminate()
                    process.wait(timeout=60)
        mean = {side: sum(rates) / len(rates) for side, rates in figures.items()}
        print(
            f"{path}: {mean['nginx']:.0f} pages/s through nginx, {mean['pool']:.0f} from gunicorn directly, ratio "
            f"{mean['nginx'] / mean['pool']:.2f}; with the pool against without {mean['pool'] / mean['no pool']:.2f}"
        )


main()
