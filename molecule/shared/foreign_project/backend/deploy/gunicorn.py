"""The project's own configuration of gunicorn."""

import json
from pathlib import Path
from typing import Any

NOTE = Path("/var/lib/library/gunicorn")
keepalive = 5
max_requests_jitter = 5
workers = 7
daemon = True


def when_ready(server: Any) -> None:
    """Write down what gunicorn has understood."""
    names = ("keepalive", "max_requests_jitter", "workers", "worker_class_str", "control_socket_disable")
    NOTE.write_text(json.dumps({name: getattr(server.cfg, name, None) for name in names}))
