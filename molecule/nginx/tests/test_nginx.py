"""What visitors, strangers and operators get from nginx, asked from outside through the published ports."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

SITE = "shop.test"
LOGIN = "flower:correct horse"
# An empty reply, or a connection reset where a container forwards the port.
CURL_NO_ANSWER = (52, 56)
CURL_TLS_REFUSED = 35
# One request to nginx on the server itself, with its status and body as the output.
ASK_FROM_LOOPBACK = """
import http.client, ssl, socket
raw = socket.create_connection(("127.0.0.1", 443), 5)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
connection = http.client.HTTPSConnection("{site}", context=context)
connection.sock = context.wrap_socket(raw, server_hostname="{site}")
connection.request("GET", "{path}")
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


class Answer(NamedTuple):
    """A response: headers by lower-case name, of several with one name the last."""

    status: int
    headers: dict[str, str]
    body: str


@pytest.fixture
def curl(host_name: str, published: Callable[..., tuple[str, int]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Ask nginx with curl: `curl("/path", *options, name=, scheme=)`."""

    def run(path: str, *options: str, name: str = SITE, scheme: str = "https") -> subprocess.CompletedProcess[str]:
        address, port = published(host_name, 443 if scheme == "https" else 80)
        resolve = f"{name}:{port}:{address}"
        return subprocess.run(
            [
                "curl",
                "-q",
                "-isk",
                "--noproxy",
                "*",
                "--path-as-is",
                "--max-time",
                "20",
                "--resolve",
                resolve,
                *options,
                f"{scheme}://{name}:{port}{path}",
            ],
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def ask(curl: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Answer]:
    """Like `curl`, with the answer taken apart."""

    def run(path: str, *options: str, **where: str) -> Answer:
        result = curl(path, *options, **where)
        if result.returncode:
            raise ConnectionError(f"curl: {result.returncode}")
        head, _, body = result.stdout.partition("\n\n")
        lines = head.splitlines()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        return Answer(int(lines[0].split()[1]), headers, body)

    return run


@pytest.fixture
def logged_in(ask: Callable[..., Answer], wait_until: Callable[..., Any]) -> str:
    """The cookie of a browser that has logged in."""

    def log_in() -> str | None:
        return ask("/flower/", "-u", LOGIN).headers.get("set-cookie")

    return wait_until(log_in).partition(";")[0]


def unverified() -> ssl.SSLContext:
    """For a connection that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Visitors:
    """Ask for pages without a pause, each on a connection of its own, until told to stop."""

    def __init__(self, address: tuple[str, int], *, count: int = 4) -> None:
        """Takes the address and port of nginx, and how many ask at once."""
        self.answers: Counter[str] = Counter()
        self._address, self._count = address, count
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        """Begin."""
        self._threads = [threading.Thread(target=self._visit) for _ in range(self._count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Every request that was begun is answered, or counted as lost."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _visit(self) -> None:
        while not self._stop.is_set():
            for path in ("/", "/static/css/site.css"):
                try:
                    answer = self._ask(path)
                except (OSError, http.client.HTTPException) as error:
                    answer = repr(error)
                self.answers[answer] += 1

    def _ask(self, path: str) -> str:
        with (
            socket.create_connection(self._address, 60) as raw,
            unverified().wrap_socket(raw, server_hostname=SITE) as connection,
        ):
            request = f"GET {path} HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            answer.read()
            return str(answer.status)


def serving(host: Any) -> set[str]:
    """The process ids of nginx."""
    return set(host.run("pgrep -x nginx").stdout.split())


def test_the_application_answers_over_https(ask: Callable[..., Answer]) -> None:
    """The path reaches the application as it was asked for, over HTTP/2."""
    answer = ask("/orders/1%2F2?x=1")
    assert (answer.status, json.loads(answer.body)["path"]) == (200, "/orders/1%2F2?x=1")
    assert "version" not in answer.headers
    assert answer.headers["server"] == "nginx"


def test_http2_is_spoken(curl: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Both releases' ways of switching it on work."""
    assert curl("/", "--http2").stdout.startswith("HTTP/2 200")


def test_http_redirects_to_the_public_https_port(ask: Callable[..., Answer]) -> None:
    """A form's method survives (308), and the port is the visitors', not nginx's own."""
    answer = ask("/orders?x=1", scheme="http")
    assert (answer.status, answer.headers["location"]) == (308, "https://shop.test:8443/orders?x=1")


def test_unknown_hosts_get_no_answer(curl: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Not over HTTP, not over HTTPS, and not by another name inside a connection to the right one."""
    assert curl("/", name="evil.test", scheme="http").returncode in CURL_NO_ANSWER
    assert curl("/", name="evil.test").returncode == CURL_TLS_REFUSED
    assert curl("/", "--http1.1", "-H", "Host: evil.test").returncode in CURL_NO_ANSWER


def test_what_a_visitor_claims_about_himself_is_replaced(ask: Callable[..., Answer]) -> None:
    """A forged address, scheme or host never reaches the application."""
    forged = [
        "X-Request-ID",
        "X-Forwarded-For",
        "X-Real-IP",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "Forwarded",
        "Proxy",
    ]
    answer = ask("/", *(option for name in forged for option in ("-H", f"{name}: 6.6.6.6")))
    told = {name.lower(): value for name, value in json.loads(answer.body)["headers"].items()}
    assert "6.6.6.6" not in answer.body
    assert told["x-forwarded-for"] == told["x-real-ip"]
    assert told["x-forwarded-proto"] == "https"
    assert told["host"].startswith(f"{SITE}:")
    assert re.fullmatch("[0-9a-f]{32}", told["x-request-id"])


def test_security_headers_fill_in_what_the_application_leaves_out(ask: Callable[..., Answer]) -> None:
    """The application's own header is not doubled."""
    plain, strict = ask("/"), ask("/strict")
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert plain.headers["referrer-policy"] == "same-origin"
    assert plain.headers["x-frame-options"] == "SAMEORIGIN"
    assert strict.headers["x-frame-options"] == "DENY"


def test_only_a_given_certificate_brings_hsts(ask: Callable[..., Answer], host_name: str) -> None:
    """A browser that once saw HSTS would never accept the self-signed certificate again."""
    given = host_name == "nginx-trixie"
    assert ("strict-transport-security" in ask("/").headers) is given


def test_static_files(ask: Callable[..., Answer]) -> None:
    """A hashed name is cached for a year, another one shortly; both are compressed."""
    hashed = ask("/static/css/site.0123456789ab.css", "-H", "Accept-Encoding: gzip", "-o", os.devnull, "-D", "-")
    plain = ask("/static/css/site.css")
    assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert hashed.headers["content-encoding"] == "gzip"
    assert plain.headers["cache-control"] == "public, max-age=300"
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert (plain.status, plain.body) == (200, "x" * 4000)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../secret",
        "/static../secret",
        "/static/%2e%2e/secret",
        "/static/.hidden",
        "/static/",
        "/media../secret",
        "/media/..%2fsecret",
        "/media/link.txt",
        "/media/",
    ],
)
def test_nothing_but_the_files_meant_is_served(ask: Callable[..., Answer], path: str) -> None:
    """No way up, no hidden file, no listing, no link out of the uploads."""
    answer = ask(path)
    assert "not to be seen" not in answer.body
    assert answer.status in (400, 403, 404) or json.loads(answer.body)["path"] == path


def test_uploads_cannot_run_as_pages(ask: Callable[..., Answer]) -> None:
    """A picture is shown; a page is a download and sandboxed."""
    picture, page = ask("/media/photo.png"), ask("/media/page.html")
    assert picture.status == page.status == 200
    assert "content-disposition" not in picture.headers
    assert page.headers["content-disposition"] == "attachment"
    assert page.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert ask("/media/photo.png", "-X", "PUT", "-d", "x").status == 405


@pytest.fixture
def private_uploads(host_name: str, converge_again: Callable[..., Any]) -> Iterator[None]:
    """The site with nginx_media_private, for one test."""
    for private in ("true", "false"):
        result = converge_again("-e", f'{{"nginx_media_private": {private}}}', limit=host_name)
        assert result.returncode == 0, result.stdout
        if private == "true":
            yield


def test_private_uploads_are_handed_out_by_the_application_alone(
    ask: Callable[..., Answer], private_uploads: None, wait_until: Callable[..., Any]
) -> None:
    """Whoever asks for one gets 404; what the application lends comes as it says, and no further than the folder."""
    # Until a moment after the reload the old processes answer as well.
    wait_until(lambda: ask("/media/photo.png").status == 404)
    assert [ask(path).status for path in ("/media/photo.png", "/media/none.png", "/media/")] == [404] * 3

    lent = ask("/lend/photo.png")
    assert (lent.status, lent.body, lent.headers["content-type"]) == (200, "x" * 4000, "image/png")
    assert lent.headers["x-content-type-options"] == "nosniff"
    assert lent.headers["x-frame-options"] == "DENY"
    assert lent.headers["cache-control"] == "private"
    assert "content-security-policy" not in lent.headers

    part = ask("/lend/photo.png", "-r", "0-9")
    assert (part.status, part.body, part.headers["content-range"]) == (206, "x" * 10, "bytes 0-9/4000")
    unchanged = ask("/lend/photo.png", "-H", f"If-None-Match: {lent.headers['etag']}")
    assert (unchanged.status, unchanged.body) == (304, "")

    for kind in ("text/html", "image/svg+xml", "application/javascript"):
        assert ask(f"/lend/page.html?{kind}").headers["content-security-policy"] == "default-src 'none'; sandbox"
    for path in ("../secret", "..%2fsecret", "%2e%2e/secret", "link.txt", ".hidden"):
        answer = ask(f"/lend/{path}")
        assert answer.status in (403, 404, 500), path
        assert "not to be seen" not in answer.body


def test_the_dashboard_wants_the_password(ask: Callable[..., Answer], logged_in: str, wait_until: Any) -> None:
    """401 without, 200 with, and only the right one brings the cookie."""
    stranger = wait_until(lambda: (answer := ask("/flower/")).status == 401 and answer)
    assert "set-cookie" not in stranger.headers
    assert ask("/flower/workers", "-u", "flower:wrong", "-b", logged_in).status == 401
    assert ask("/flower/workers", "-b", logged_in).status == 401
    answer = ask("/flower/workers", "-u", LOGIN, "-b", logged_in)
    assert (answer.status, json.loads(answer.body)["path"]) == (200, "/flower/workers")


def test_the_dashboards_metrics_are_closed_even_with_the_password(ask: Callable[..., Answer], logged_in: str) -> None:
    """However they are spelt."""
    for path in ("/flower/metrics", "/flower//metrics", "/flower/x/../metrics", "/flower/%6detrics"):
        assert ask(path, "-u", LOGIN, "-b", logged_in).status == 403, path


def test_guessing_is_limited_and_who_is_logged_in_is_not(
    ask: Callable[..., Answer], logged_in: str, wait_until: Callable[..., Any]
) -> None:
    """After too many attempts even the right password is refused, so a guess tells nothing."""
    attempts = [ask("/flower/", "-u", f"flower:guess{number}").status for number in range(25)]
    assert 429 in attempts
    assert set(attempts) <= {401, 429}
    # Every few seconds one more attempt is let through: it may be this one, and then the next is refused.
    refused = wait_until(lambda: (answer := ask("/flower/", "-u", LOGIN)).status == 429 and answer)
    assert "set-cookie" not in refused.headers
    assert "Too many attempts" in refused.body
    polls = {ask("/flower/workers", "-u", LOGIN, "-b", logged_in).status for _ in range(30)}
    assert polls == {200}


def test_websockets_pass(host_name: str, published: Callable[..., tuple[str, int]], logged_in: str) -> None:
    """To the site, and to the dashboard for who is logged in."""
    password = base64.b64encode(LOGIN.encode()).decode()
    for path in ("/live", "/flower/live"):
        with (
            socket.create_connection(published(host_name, 443), 10) as raw,
            unverified().wrap_socket(raw, server_hostname=SITE) as connection,
        ):
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {SITE}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Authorization: Basic {password}\r\nCookie: {logged_in}\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            stream = connection.makefile("rb")
            assert b" 101 " in stream.readline()
            while stream.readline() != b"\r\n":
                pass
            connection.sendall(b"hello")
            assert stream.read(5) == b"hello"


def test_private_locations_answer_the_server_itself_only(ask: Callable[..., Answer], host: Any) -> None:
    """Metrics are for the scraper beside nginx, not for the outside."""
    for path in ("/metrics", "/metrics/", "/metrics/x", "//metrics", "/%6detrics"):
        assert ask(path).status == 403, path
    program = ASK_FROM_LOOPBACK.format(site=SITE, path="/metrics")
    result = host.run("python3 -c %s", program)
    assert result.stdout.startswith('200 {"path": "/metrics"'), result


def test_old_tls_is_refused(host_name: str, published: Callable[..., tuple[str, int]]) -> None:
    """1.0 and 1.1 fail, 1.2 and 1.3 work."""
    address, port = published(host_name, 443)
    worked = {
        version: subprocess.run(
            [
                "openssl",
                "s_client",
                "-connect",
                f"{address}:{port}",
                "-servername",
                SITE,
                f"-{version}",
                "-cipher",
                "DEFAULT@SECLEVEL=0",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
        ).returncode
        == 0
        for version in ("tls1", "tls1_1", "tls1_2", "tls1_3")
    }
    assert worked == {"tls1": False, "tls1_1": False, "tls1_2": True, "tls1_3": True}


# Those of Mozilla's intermediate profile, and two that OpenSSL offers beside them.
GROUPS = {"X25519": True, "prime256v1": True, "secp384r1": True, "X448": False, "secp521r1": False}


def connect(host: Any, *options: str) -> Any:
    """A connection by openssl on the server itself, closed at once."""
    return host.run(f"openssl s_client -connect 127.0.0.1:443 -servername {SITE} {' '.join(options)} </dev/null")


@pytest.mark.parametrize("group", GROUPS)
def test_keys_are_exchanged_on_the_profiles_curves_alone(host: Any, group: str) -> None:
    """A client that knows one of them and no other; over TLS 1.2 it has to know the certificate's too, and prefers the one."""
    assert (connect(host, "-tls1_3", "-groups", group).rc == 0) is GROUPS[group]
    older = connect(host, "-tls1_2", "-groups", ":".join(dict.fromkeys([group, "prime256v1"])))
    assert older.rc == 0, older.stderr
    [used] = re.findall(r"Temp Key: (?:ECDH, )?(\w+)", older.stdout)
    assert used == (group if GROUPS[group] else "prime256v1")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("group", [group for group, is_taken in GROUPS.items() if not is_taken])
def test_a_client_of_other_curves_alone_is_refused(host: Any, version: str, group: str) -> None:
    """In either version."""
    assert connect(host, version, "-groups", group).rc != 0


def test_keys_are_exchanged_as_quantum_computers_do_not_break(host: Any, host_name: str) -> None:
    """Where Debian's OpenSSL knows how."""
    assert (connect(host, "-groups", "X25519MLKEM768").rc == 0) is (host_name == "nginx-trixie")


def test_keys_and_passwords_are_nobody_elses(host: Any) -> None:
    """Another user of the server reads neither the key nor the password file; the password stands nowhere."""
    for path in host.check_output("ls /etc/ssl/private/nginx.shop.* /etc/nginx/shop.*").split():
        assert host.run("setpriv --reuid=nobody --clear-groups cat %s", path).rc != 0, path
    assert host.run("setpriv --reuid=www-data --clear-groups cat /etc/ssl/private/nginx.shop.*").rc != 0
    assert host.run("grep -rs 'correct horse' /etc").rc == 1


def test_only_80_and_443_are_open(host: Any) -> None:
    """nginx listens nowhere else."""
    lines = [line for line in host.check_output("ss -Hltnp").splitlines() if '"nginx"' in line]
    assert {line.split()[3].rpartition(":")[2] for line in lines} == {"80", "443"}


def test_a_body_over_the_limit_is_refused_with_a_page(ask: Callable[..., Answer]) -> None:
    """One mebibyte passes, more does not."""
    assert json.loads(ask("/upload", "-d", "x" * 100_000).body)["length"] == 100_000
    answer = ask("/upload", "-H", "Expect:", "-H", "Content-Length: 1048577", "-X", "POST", "--http1.1")
    assert answer.status == 413
    assert "Please send less than 1m" in answer.body


def test_the_log_tells_how_long_it_took(ask: Callable[..., Answer], host: Any, wait_until: Callable[..., Any]) -> None:
    """Of the whole request and of the application."""
    ask("/to-be-found-in-the-log")
    line = wait_until(lambda: host.run("grep to-be-found-in-the-log /var/log/nginx/access.log").stdout)
    assert re.search(r" time=\d+\.\d{3} upstream=unix:/run/upstream.sock upstream_time=\d+\.\d{3}$", line.strip())


def test_logs_are_rotated(host: Any) -> None:
    """Debian's rotation works with the unit: nginx goes on in the new file."""
    host.check_output("logrotate --force /etc/logrotate.d/nginx")
    assert host.file("/var/log/nginx/access.log.1").exists
    program = ASK_FROM_LOOPBACK.format(site=SITE, path="/after-the-rotation")
    host.check_output("python3 -c %s", program)
    assert host.run("grep -c after-the-rotation /var/log/nginx/access.log").stdout.strip() == "1"


def test_a_dead_application_gives_a_page_and_returns(
    ask: Callable[..., Answer], host: Any, wait_until: Callable[..., Any]
) -> None:
    """nginx needs no touch for that."""
    host.check_output("systemctl stop upstream@-run-upstream.sock")
    try:
        down = ask("/")
    finally:
        host.check_output("systemctl start upstream@-run-upstream.sock")
    assert down.status == 502
    assert down.headers["content-type"].startswith("text/html")
    assert "We will be right back" in down.body
    wait_until(lambda: ask("/").status == 200)


def test_nginx_returns_when_killed(ask: Callable[..., Answer], host: Any, wait_until: Callable[..., Any]) -> None:
    """All of it, as the kernel would."""
    before = serving(host)
    host.check_output("systemctl kill -s KILL nginx")
    wait_until(lambda: ask("/").status == 200, timeout=30)
    assert before
    assert not before & serving(host)
    assert host.service("nginx").is_running


def test_a_broken_configuration_leaves_the_running_one(
    ask: Callable[..., Answer], converge_again: Callable[..., Any], host: Any, host_name: str
) -> None:
    """The play fails, the file and the processes stay."""
    before = host.check_output(WRITTEN), serving(host)
    broken = {"nginx_settings": {"keepalive_timeout": "nonsense"}}
    result = converge_again("-e", json.dumps(broken), limit=host_name)
    assert result.returncode
    assert "invalid value" in result.stdout
    assert "nginx_settings: nginx refuses what comes from there: keepalive_timeout nonsense;" in " ".join(
        result.stdout.split()
    )
    assert (host.check_output(WRITTEN), serving(host)) == before
    assert ask("/").status == 200


def test_an_operators_own_locations_are_refused_by_name(
    ask: Callable[..., Answer], converge_again: Callable[..., Any], host: Any, host_name: str
) -> None:
    """What nginx does not know is told with the variable it stands in, and the site goes on."""
    before = host.check_output(WRITTEN)
    broken = {"nginx_extra_locations": "location /old/ {\n  retrun 410;\n}"}
    result = converge_again("-e", json.dumps(broken), limit=host_name)
    told = " ".join(result.stdout.split())
    assert 'unknown directive "retrun"' in told
    assert "nginx_extra_locations: nginx refuses what comes from there: retrun 410;" in told
    assert host.check_output(WRITTEN) == before
    assert ask("/").status == 200


def recap(output: str, host_name: str) -> dict[str, int]:
    """A host's counts of tasks at the end of a play's output."""
    [line] = re.findall(rf"^{host_name} +: (.*)$", output, re.MULTILINE)
    return {name: int(count) for name, _, count in (word.partition("=") for word in line.split())}


# What the role writes, with checksums.
WRITTEN = "find /etc/nginx /etc/ssl/private /etc/systemd/system/nginx* -type f | sort | xargs sha256sum"


def test_the_play_stops_before_the_first_change(converge_again: Callable[..., Any], host: Any, host_name: str) -> None:
    """A key of another certificate: the message is shown, and the server is as it was."""
    before = host.check_output(WRITTEN)
    folder = Path(__file__).resolve().parents[3] / ".lab/nginx"
    given = {"nginx_certificate": f"{folder}/good.pem", "nginx_certificate_key": f"{folder}/other.key"}
    result = converge_again("-e", json.dumps(given), limit=host_name)
    assert result.returncode
    assert "other.key does not belong to the certificate" in " ".join(result.stdout.split())
    assert host.check_output(WRITTEN) == before


def test_what_an_operator_puts_into_conf_d_is_loaded_by_the_next_run_and_nothing_else_is(
    ask: Callable[..., Answer],
    converge_again: Callable[..., Any],
    curl: Callable[..., subprocess.CompletedProcess[str]],
    host: Any,
    host_name: str,
    wait_until: Callable[..., Any],
) -> None:
    """A reload is enough, and what was taken away is gone by the next run."""
    main_process = host.check_output("systemctl show -p MainPID nginx")
    extra = "server { listen 80; server_name extra.test; return 200 from-conf-d; }"
    host.check_output("echo %s >/etc/nginx/conf.d/extra.conf", extra)
    try:
        first, second = (converge_again(limit=host_name).stdout for _ in range(2))
        answer = wait_until(lambda: ask("/", name="extra.test", scheme="http"))
    finally:
        host.check_output("rm /etc/nginx/conf.d/extra.conf")
    third = converge_again(limit=host_name).stdout
    assert (answer.status, answer.body) == (200, "from-conf-d")
    assert [recap(output, host_name)["changed"] for output in (first, second, third)] == [1, 0, 1], (
        first + second + third
    )
    wait_until(lambda: curl("/", name="extra.test", scheme="http").returncode in CURL_NO_ANSWER)
    assert host.check_output("systemctl show -p MainPID nginx") == main_process


def certificate_shown(host_name: str, published: Callable[..., tuple[str, int]], name: str) -> str:
    """The certificate that nginx shows to who asks for a name, as PEM."""
    with (
        socket.create_connection(published(host_name, 443), 10) as raw,
        unverified().wrap_socket(raw, server_hostname=name) as connection,
    ):
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")


def test_a_changed_name_or_a_withdrawn_certificate_makes_a_new_one(
    ask: Callable[..., Answer],
    converge_again: Callable[..., Any],
    host: Any,
    host_name: str,
    published: Callable[..., tuple[str, int]],
    wait_until: Callable[..., Any],
) -> None:
    """The old key goes; a reload is enough; and what an operator put into conf.d goes live with it."""
    main_process = host.check_output("systemctl show -p MainPID nginx")
    before = certificate_shown(host_name, published, SITE)
    host.check_output("echo 'add_header X-Extra yes;' >/etc/nginx/conf.d/extra.conf")
    changed = {"nginx_certificate": "", "nginx_certificate_key": "", "site_extra_names": ["new.test"]}
    written = host.check_output(WRITTEN)
    foretold = converge_again("--check", "--diff", "-e", json.dumps(changed), limit=host_name)
    # Makes one, writes with it, removes the one before.
    assert recap(foretold.stdout, host_name)["changed"] == 1, foretold.stdout
    kinds = {
        kind: re.findall(rf"/etc/ssl/private/nginx\.shop\.\w+\.pem{kind}", foretold.stdout)
        for kind in (": new", "\n@@ -1 ")
    }
    assert all(len(found) == 1 for found in kinds.values()), foretold.stdout
    assert "+    server_name shop.test www.shop.test new.test;" in foretold.stdout
    assert "PRIVATE KEY" not in foretold.stdout
    assert host.check_output(WRITTEN) == written
    result = converge_again("-e", json.dumps(changed), limit=host_name)
    assert result.returncode == 0, result.stdout
    wait_until(lambda: ask("/", name="new.test").status == 200)
    after = certificate_shown(host_name, published, "new.test")
    assert after != before
    assert ask("/", name="new.test").headers.get("strict-transport-security") is None
    [kept] = host.check_output("ls /etc/ssl/private/nginx.shop.*").split()
    assert after.strip() in host.file(kept).content_string
    assert host.check_output("systemctl show -p MainPID nginx") == main_process


def main_process(host: Any) -> str:
    """The one process of nginx that outlives a reload and no restart."""
    return host.check_output("systemctl show -P MainPID nginx")


def test_a_changed_certificate_and_configuration_lose_no_request(
    converge_again: Callable[..., Any],
    host: Any,
    host_name: str,
    published: Callable[..., tuple[str, int]],
    wait_until: Callable[..., Any],
) -> None:
    """There and back, under requests that never pause."""
    folder = Path(__file__).resolve().parents[3] / ".lab/nginx"
    before = certificate_shown(host_name, published, SITE), main_process(host)
    changed = {
        "nginx_certificate": f"{folder}/other.pem",
        "nginx_certificate_key": f"{folder}/other.key",
        "nginx_settings": {"keepalive_timeout": "5s"},
    }
    with Visitors(published(host_name, 443)) as visitors:
        there = converge_again("-e", json.dumps(changed), limit=host_name)
        other = (folder / "other.pem").read_text().strip()
        # Until a moment after the reload the old processes answer as well.
        wait_until(lambda: certificate_shown(host_name, published, SITE).strip() == other)
        back = converge_again(limit=host_name)
    assert (there.returncode, back.returncode) == (0, 0), there.stdout + back.stdout
    print(f"answers: {dict(visitors.answers)}")
    assert set(visitors.answers) == {"200"}
    assert visitors.answers["200"] > 100
    assert main_process(host) == before[1]


def test_a_self_signed_certificate_is_renewed_before_it_ends(
    converge_again: Callable[..., Any],
    host: Any,
    host_name: str,
    published: Callable[..., tuple[str, int]],
    wait_until: Callable[..., Any],
) -> None:
    """By a run in its last weeks, in a reload; before that a run leaves it."""
    self_signed = json.dumps({"nginx_certificate": "", "nginx_certificate_key": ""})
    first = converge_again("-e", self_signed, limit=host_name)
    assert first.returncode == 0, first.stdout
    [path] = host.check_output("ls /etc/ssl/private/nginx.shop.*").split()
    made, running = host.file(path).content_string, main_process(host)
    about_to_end = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=old -days 59"
    host.check_output(f"{about_to_end} -keyout {path} -out {path}.new && cat {path}.new >>{path} && rm {path}.new")
    renewed, again = (converge_again("-e", self_signed, limit=host_name) for _ in range(2))
    assert [recap(run.stdout, host_name)["changed"] for run in (renewed, again)] == [1, 0], (
        renewed.stdout + again.stdout
    )
    text = wait_until(lambda: (shown := certificate_shown(host_name, published, SITE)) not in made and shown)
    certificate = x509.load_pem_x509_certificate(text.encode())
    lives = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert 300 < lives.days <= 397
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert certificate.subject.rfc4514_string() == f"CN={SITE}"
    assert main_process(host) == running
    assert converge_again(limit=host_name).returncode == 0


def test_another_restart_policy_restarts_nothing(converge_again: Callable[..., Any], host: Any, host_name: str) -> None:
    """systemd takes it as it is; another confinement alone takes a restart."""
    running = main_process(host)
    folder = "/etc/systemd/system/nginx.service.d"
    host.check_output(f"echo '# by hand' >>{folder}/restart.conf")
    run = converge_again(limit=host_name)
    assert recap(run.stdout, host_name)["changed"] == 1, run.stdout
    assert main_process(host) == running
    host.check_output(f"echo '# by hand' >>{folder}/confinement.conf")
    run = converge_again(limit=host_name)
    assert recap(run.stdout, host_name)["changed"] == 1, run.stdout
    assert main_process(host) != running


def test_it_is_confined(exposure: Callable[[str], float]) -> None:
    """By systemd's own measure."""
    assert exposure("nginx") <= 3.0
