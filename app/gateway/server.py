"""A payment gateway, a CRM, an inventory and a library of documents in one small server that can be told to misbehave.

PUT /mode {"service": "charges", "mode": "drop", "times": 2} changes the next two answers of /charges:

ok       as it should
slow     as it should, after `seconds`
fail     503, nothing done
reject   `status`, or 422 (charges: 402), nothing done
timeout  nothing done, no answer until the client has hung up
drop     done, and then the connection is closed without an answer
trickle  done, and then the answer comes so slowly that no single read times out
garbage  done, and then the answer is no JSON, with `status`, or 201
wrong    a charge over one cent more than was asked for

Amounts that end in 02 cents are always declined, as in a real gateway's sandbox. A charge made once for an Idempotency-Key
is answered again until DELETE /keys: gateways forget keys, most within a day. GET /charges/<reference> looks a charge up.
"""

import json
import select
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

MODES = ("ok", "slow", "fail", "reject", "timeout", "drop", "trickle", "garbage", "wrong")
SERVICES = ("charges", "lookups", "leads", "stock", "documents")
DOCUMENTS = {
    "menu.txt": "Soup of the day\nStew of the week\nBread, always warm\n" * 20,
    "suppliers.txt": "Green Farm: carrots, leeks, celery\nHill Dairy: butter, cream\n" * 40,
    "broken.bin": "",
}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Handler)
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Back to a server that has seen nothing and behaves."""
        self.modes: dict[str, dict[str, Any]] = {}
        self.charges: dict[str, dict[str, Any]] = {}  # by id
        self.keys: dict[str, str] = {}  # the charge made for an Idempotency-Key
        self.leads: dict[str, dict[str, Any]] = {}
        self.requests: Counter[str] = Counter()
        self.stock = {"carrot-soup": 40, "onion-stew": 25, "bean-chili": 60, "lentil-dal": 35, "unlucky-pie": 13}

    def mode_for(self, service: str) -> dict[str, Any]:
        """The mode of the next request to a service; counts it."""
        with self.lock:
            self.requests[service] += 1
            mode = self.modes.get(service, {"mode": "ok"})
            if "times" in mode:
                mode["times"] -= 1
                if mode["times"] <= 0:
                    del self.modes[service]
            return mode


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30
    refusals: ClassVar = {"charges": 402}

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the callers log what matters to them."""

    def answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")

    def do_PUT(self) -> None:
        wish = self.body()
        if self.path != "/mode" or wish.get("service") not in SERVICES or wish.get("mode") not in MODES:
            return self.answer(400, {"reason": f"PUT /mode with one of {SERVICES} and one of {MODES}"})
        with self.server.lock:
            self.server.modes[wish["service"]] = wish
        return self.answer(200, wish)

    def do_DELETE(self) -> None:
        with self.server.lock:
            if self.path == "/keys":
                self.server.keys.clear()
            else:
                self.server.reset()
        self.answer(200, {})

    def do_GET(self) -> None:
        server = self.server
        match self.path.strip("/").split("/"):
            case ["state"]:
                with server.lock:
                    state = {"charges": server.charges, "leads": server.leads, "requests": dict(server.requests)}
                    self.answer(200, state)
            case ["charges", reference]:
                self.serve("lookups", lambda: self.look_up(reference))
            case ["stock"]:
                self.serve("stock", lambda: (200, server.stock))
            case ["documents", name]:
                found = DOCUMENTS.get(name)
                self.serve("documents", lambda: (404, {}) if found is None else (200, found))
            case _:
                self.answer(404, {"reason": "unknown address"})

    def do_POST(self) -> None:
        body = self.body()
        key = self.headers.get("Idempotency-Key", "")
        match self.path:
            case "/charges" if key:
                self.serve("charges", lambda: self.charge(key, int(body["amount"]), body.get("reference", "")))
            case "/leads" if key:
                self.serve("leads", lambda: (201, self.server.leads.setdefault(key, {"id": key[:8], **body})))
            case _:
                self.answer(400, {"reason": "unknown address, or no Idempotency-Key"})

    def charge(self, key: str, amount: int, reference: str) -> tuple[int, dict[str, Any]]:
        if amount % 100 == 2:
            return 402, {"reason": "insufficient funds"}
        server = self.server
        with server.lock:
            made = server.charges.get(server.keys.get(key, ""))
            if made is None:
                made = {"id": f"ch_{uuid.uuid4().hex}", "amount": amount, "reference": reference, "asked": 0}
                server.charges[made["id"]] = made
                server.keys[key] = made["id"]
            made["asked"] += 1
            return 201, made

    def look_up(self, reference: str) -> tuple[int, dict[str, Any]]:
        with self.server.lock:
            found = [charge for charge in self.server.charges.values() if charge["reference"] == reference]
        return (200, found[0]) if found else (404, {"reason": "no such charge"})

    def trickle(self) -> None:
        """One byte of the answer after the other, until the client has hung up."""
        self.close_connection = True
        self.send_response(201)
        self.send_header("Content-Length", "600")
        self.end_headers()
        for _ in range(600):
            if select.select([self.connection], [], [], 0.1)[0]:
                return
            self.wfile.write(b" ")

    def serve(self, service: str, work: Any) -> None:
        """Does the work and answers, as far as the service's mode allows."""
        mode = self.server.mode_for(service)
        match mode["mode"]:
            case "fail":
                return self.answer(503, {"reason": "out of order"})
            case "reject":
                return self.answer(mode.get("status", self.refusals.get(service, 422)), {"reason": "refused"})
            case "timeout":
                select.select([self.connection], [], [], 60)
                self.close_connection = True
                return None
            case "slow":
                time.sleep(mode.get("seconds", 2))
        status, content = work()
        match mode["mode"]:
            case "drop":
                self.close_connection = True
                return None
            case "trickle":
                return self.trickle()
            case "garbage":
                return self.answer(mode.get("status", 201), "<html>Have a nice day", "text/html")
            case "wrong":
                content["amount"] += 1
        return self.answer(status, content, "text/plain" if isinstance(content, str) else "application/json")
