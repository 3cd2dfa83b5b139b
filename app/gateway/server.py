"""A payment gateway, a CRM, an inventory and a library of documents in one small server that can be told to misbehave.

PUT /mode {"service": "charges", "mode": "drop", "times": 2} changes the next two answers of /charges:

ok       as it should
slow     as it should, after `seconds`
fail     503, nothing done
reject   `status`, or 422 (charges: 402), nothing done
cut      nothing done, the connection is closed without an answer
timeout  nothing done, no answer until the client has hung up
drop     done, and then the connection is closed without an answer
silence  done, and then no answer until the client has hung up
trickle  done, and then the answer comes so slowly that no single read times out
torn     done, and then the answer ends in the middle
garbage  done unless `status` is a refusal, and then the answer is `body`, or no JSON, with `status`, or 201
wrong    a charge over one cent more than was asked for
turns    each of the modes in the list `of`, one after the other, for ever

Amounts that end in 02 cents are always declined, as in a real gateway's sandbox. A charge made once for an Idempotency-Key
is answered again for a day: gateways forget keys. PUT /keys {"seconds": 60} makes it a minute, DELETE /keys forgets all now.
While a key is being worked on, it is answered with 409. GET /charges/<reference> looks a charge up.
"""

import json
import select
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

MODES = (
    "ok",
    "slow",
    "fail",
    "reject",
    "cut",
    "timeout",
    "drop",
    "silence",
    "trickle",
    "torn",
    "garbage",
    "wrong",
    "turns",
)
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
        self.keys: dict[str, tuple[str, float]] = {}  # the charge made for an Idempotency-Key, and when (epoch)
        self.key_seconds = 86400.0  # how long a key is remembered
        self.working_on: set[str] = set()  # keys
        self.leads: dict[str, dict[str, Any]] = {}
        self.requests: Counter[str] = Counter()
        self.served: Counter[tuple[str, str]] = Counter()  # requests by service and mode
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
            if mode["mode"] == "turns":
                mode = mode["of"][(self.requests[service] - 1) % len(mode["of"])]
            self.served[service, mode["mode"]] += 1
            return mode

    def charge_of(self, key: str) -> dict[str, Any] | None:
        """The charge that was made for a key, unless the key is forgotten."""
        charge, made_at = self.keys.get(key, ("", 0.0))
        return self.charges.get(charge) if time.time() - made_at < self.key_seconds else None


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30
    refusals: ClassVar = {"charges": 402}
    key = ""  # which is being worked on for this request

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the callers log what matters to them."""

    def answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.release()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def release(self) -> None:
        """Frees the key, before the client can know that its request is over and ask again."""
        if self.key:
            with self.server.lock:
                self.server.working_on.discard(self.key)
            self.key = ""

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")

    def do_PUT(self) -> None:
        wish = self.body()
        if self.path == "/keys" and "seconds" in wish:
            self.server.key_seconds = float(wish["seconds"])
            return self.answer(200, wish)
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
                with self.server.lock:
                    is_free = key not in self.server.working_on
                    self.server.working_on.add(key)
                if not is_free:
                    return self.answer(409, {"reason": "the same key is being worked on"})
                self.key = key
                try:
                    self.serve("charges", lambda: self.charge(key, int(body["amount"]), body.get("reference", "")))
                finally:
                    self.release()
            case "/leads" if key:
                self.serve("leads", lambda: (201, self.server.leads.setdefault(key, {"id": key[:8], **body})))
            case _:
                self.answer(400, {"reason": "unknown address, or no Idempotency-Key"})

    def charge(self, key: str, amount: int, reference: str) -> tuple[int, dict[str, Any]]:
        if amount % 100 == 2:
            return 402, {"reason": "insufficient funds"}
        server = self.server
        with server.lock:
            made = server.charge_of(key)
            if made is None:
                made = {"id": f"ch_{uuid.uuid4().hex}", "amount": amount, "reference": reference, "asked": 0}
                server.charges[made["id"]] = made
                server.keys[key] = made["id"], time.time()
            made["asked"] += 1
            return 201, made

    def look_up(self, reference: str) -> tuple[int, dict[str, Any]]:
        with self.server.lock:
            found = [charge for charge in self.server.charges.values() if charge["reference"] == reference]
        return (200, found[0]) if found else (404, {"reason": "no such charge"})

    def say_nothing(self) -> None:
        """Waits until the client has hung up."""
        self.release()
        self.close_connection = True
        select.select([self.connection], [], [], 60)

    def garble(self, mode: dict[str, Any]) -> None:
        self.answer(mode.get("status", 201), mode.get("body", "<html>Have a nice day"), "text/html")

    def tear(self) -> None:
        """The beginning of an answer."""
        self.release()
        self.close_connection = True
        self.send_response(201)
        self.send_header("Content-Length", "600")
        self.end_headers()
        self.wfile.write(b'{"id": "ch_')

    def trickle(self) -> None:
        """One byte of the answer after the other, until the client has hung up."""
        self.release()
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
            case "cut":
                self.close_connection = True
                return None
            case "timeout":
                return self.say_nothing()
            case "garbage" if 400 <= mode.get("status", 201) < 500:
                return self.garble(mode)
            case "slow":
                time.sleep(mode.get("seconds", 2))
        status, content = work()
        match mode["mode"]:
            case "drop":
                self.close_connection = True
                return None
            case "silence":
                return self.say_nothing()
            case "trickle":
                return self.trickle()
            case "torn":
                return self.tear()
            case "garbage":
                return self.garble(mode)
            case "wrong" if "amount" in content:
                content["amount"] += 1
        return self.answer(status, content, "text/plain" if isinstance(content, str) else "application/json")
