"""A package index as a company has one: the folder public/ beside this file, for who knows the login in the file beside it."""

import base64
import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
LOGIN = base64.b64encode((FOLDER / "login").read_bytes()).decode()


class Index(SimpleHTTPRequestHandler):
    """What a folder holds is its page, which is all that installers ask of an index."""

    def send_head(self) -> Any:
        """Nothing without the login."""
        if self.headers.get("Authorization") != f"Basic {LOGIN}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()


if __name__ == "__main__":
    # The login lies beside the folder, not in it.
    handler = functools.partial(Index, directory=str(FOLDER / "public"))
    ThreadingHTTPServer(("", int(sys.argv[1])), handler).serve_forever()
