"""Stand-in for the services the app depends on: `python -m gateway --port 8900`. For the demo and tests only."""

import argparse

from gateway.server import Server

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=8900)
options = parser.parse_args()
with Server((options.host, options.port)) as server:
    print(f"listening on {options.host}:{server.server_port}", flush=True)
    server.serve_forever()
