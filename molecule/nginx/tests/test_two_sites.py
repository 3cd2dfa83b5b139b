"""A second project's site beside the first: each by a run of its own, and neither notices the other's."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from test_nginx import (
    ASK_FROM_LOOPBACK,
    CURL_TLS_REFUSED,
    SITE,
    Answer,
    Visitors,
    certificate_shown,
    main_process,
    recap,
    unverified,
)

# What test_nginx asks with.
from test_nginx import ask as ask
from test_nginx import curl as curl

BLOG = "blog.test"
SHOP_FILES = (
    "sha256sum /etc/nginx/nginx.conf /etc/nginx/sites/shop.conf /etc/nginx/shop.* /etc/ssl/private/nginx.shop.*"
)


@pytest.fixture(autouse=True)
def _both(second_site: Callable[..., Any], host_name: str) -> None:
    """The blog is there."""
    result = second_site(host_name)
    assert result.returncode == 0, result.stdout


@pytest.fixture(scope="session")
def second_site(converge_again: Callable[..., Any]) -> Callable[..., Any]:
    """The run of the second project, once a host."""
    runs: dict[str, Any] = {}

    def run(host_name: str) -> Any:
        if host_name not in runs:
            runs[host_name] = converge_again(playbook="blog.yml", limit=host_name)
        return runs[host_name]

    return run


def test_each_site_answers_by_its_own_name_with_its_own(
    ask: Callable[..., Answer], host_name: str, published: Callable[..., tuple[str, int]]
) -> None:
    """Application, files and certificate."""
    assert json.loads(ask("/x", name=BLOG).body)["headers"]["Host"].startswith(BLOG)
    assert json.loads(ask("/x").body)["headers"]["Host"].startswith(SITE)
    assert ask("/static/site.css", name=BLOG).body == "of the blog"
    assert ask("/static/css/site.css").body == "x" * 4000
    assert ask("/static/site.css").status == 404
    assert certificate_shown(host_name, published, BLOG) != certificate_shown(host_name, published, SITE)


def test_each_site_keeps_its_own_limits_logins_and_fences(ask: Callable[..., Answer]) -> None:
    """A password, a size and a private path of one hold for that one alone."""
    body = ["-H", "Expect:", "-X", "POST", "--http1.1", "--data-binary", "x" * 100_000]
    assert [ask("/flower/", "-u", f"flower:{word} horse", name=BLOG).status for word in ("correct", "another")] == [
        401,
        200,
    ]
    assert [ask("/flower/", "-u", f"flower:{word} horse").status for word in ("correct", "another")] == [200, 401]
    assert [ask("/figures", name=name).status for name in (BLOG, SITE)] == [403, 200]
    assert [ask("/metrics", name=name).status for name in (BLOG, SITE)] == [200, 403]
    assert ask("/x", *body, name=BLOG).status == 200


def test_nginx_has_nothing_to_warn_of(host: Any) -> None:
    """No name of one conflicts with the other's."""
    said = host.run("nginx -t")
    assert said.rc == 0
    assert "warn" not in said.stderr + said.stdout


def test_on_the_server_itself_a_site_is_asked_by_the_header_alone(host: Any) -> None:
    """As the deployment asks it, without DNS; a name that is nobody's gets no answer there either."""
    program = ASK_FROM_LOOPBACK.replace('server_hostname="{site}"', 'server_hostname="127.0.0.1"')
    for site in (SITE, BLOG):
        asked = host.run("python3 -c %s", program.format(site=site, path="/here"))
        assert asked.stdout.startswith('200 {"path": "/here"'), asked
    nobodys = host.run("python3 -c %s", program.format(site="evil.test", path="/")).stderr
    assert re.search("RemoteDisconnected|ConnectionResetError", nobodys), nobodys


def sent(host_name: str, published: Callable[..., tuple[str, int]], path: str, length: int) -> str:
    """The first line of the answer to a request that announces a body and sends one byte of it."""
    with (
        socket.create_connection(published(host_name, 443), 20) as raw,
        unverified().wrap_socket(raw, server_hostname=BLOG) as connection,
    ):
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: {BLOG}\r\nContent-Length: {length}\r\n\r\nx".encode())
        return connection.makefile("rb").readline().decode().strip()


def test_a_path_takes_larger_bodies_and_has_its_own_patience(
    ask: Callable[..., Answer], host_name: str, published: Callable[..., tuple[str, int]]
) -> None:
    """More than the site's limit there and below, and not elsewhere; the application's silence is borne for as long as is said."""
    megabytes = 1024 * 1024
    assert "413" in sent(host_name, published, "/other", 2 * megabytes + 1)
    assert "413" in sent(host_name, published, "/upload", 3 * megabytes + 1)
    # The application gets what there is of a body, and may answer before the rest.
    assert "200" in sent(host_name, published, "/upload/early", 3 * megabytes)
    # After two seconds, not after the site's minute, which curl would not wait for.
    assert ask("/upload/silent", name=BLOG).status == 504


def test_a_path_answers_those_who_are_named(ask: Callable[..., Answer]) -> None:
    """And nobody else."""
    assert ask("/office/", name=BLOG).status == 403
    assert ask("/office/x", name=BLOG).status == 403
    assert ask("/officer", name=BLOG).status == 200


def test_a_path_may_be_asked_so_often_and_no_more(ask: Callable[..., Answer]) -> None:
    """One, one more at once, then a page that says to wait; the other site and paths are not counted."""
    answers = [ask("/search", name=BLOG) for _ in range(4)]
    assert {answer.status for answer in answers[2:]} == {429}
    assert "Too many" in answers[-1].body
    assert ask("/search").status == 200
    assert ask("/elsewhere", name=BLOG).status == 200


def test_an_operators_own_location_is_there(ask: Callable[..., Answer]) -> None:
    """On that site alone."""
    gone = ask("/old", name=BLOG)
    assert (gone.status, gone.body.strip()) == (410, "gone for good")
    assert ask("/old").status == 200


def test_neither_project_s_run_touches_the_other_s_site(
    converge_again: Callable[..., Any], host: Any, host_name: str, published: Callable[..., tuple[str, int]]
) -> None:
    """Nothing changes by turns; the second goes and comes again while the first serves without losing a request."""
    before = host.check_output(SHOP_FILES), main_process(host)
    runs = [converge_again(playbook=playbook, limit=host_name) for playbook in ("blog.yml", "converge.yml")]
    assert [recap(run.stdout, host_name)["changed"] for run in runs] == [0, 0], runs[0].stdout + runs[1].stdout
    host.check_output("rm /etc/nginx/sites/blog.conf && systemctl reload nginx")
    with Visitors(published(host_name, 443)) as visitors:
        again = converge_again(playbook="blog.yml", limit=host_name)
    assert again.returncode == 0, again.stdout
    assert set(visitors.answers) == {"200"}
    assert (host.check_output(SHOP_FILES), main_process(host)) == before


# nginx.conf as it was when it held one site alone.
ALONE = """
user www-data; pid /run/nginx.pid; error_log /var/log/nginx/error.log;
events {} http { ssl_session_cache shared:tls:10m;
  limit_req_zone $binary_remote_addr zone=shop_flower:1m rate=10r/m;
  server { listen 80 default_server; listen 443 ssl http2 default_server; server_name _; ssl_reject_handshake on; return 444; }
  server { listen 80; server_name shop.test; return 308 https://$host$request_uri; }
  server { listen 443 ssl http2; server_name shop.test localhost; ssl_certificate FILE; ssl_certificate_key FILE;
    location / { proxy_pass http://unix:/run/upstream.sock; }
    location /flower/ { limit_req zone=shop_flower; proxy_pass http://127.0.0.1:5555; }
    location /static/ { alias /srv/shop/static/; } } }
"""


@pytest.mark.long
def test_a_host_of_one_site_alone_is_taken_over_in_one_run(
    converge_again: Callable[..., Any], host: Any, host_name: str, published: Callable[..., tuple[str, int]]
) -> None:
    """A reload, without losing a request; the next run changes nothing."""
    [certificate] = host.check_output("ls /etc/ssl/private/nginx.shop.*").split()
    host.check_output("rm /etc/nginx/sites/*")
    host.check_output("printf %%s %s >/etc/nginx/nginx.conf", ALONE.replace("FILE", certificate))
    host.check_output("systemctl reload nginx")
    running = main_process(host)
    with Visitors(published(host_name, 443)) as visitors:
        over, again = (converge_again(limit=host_name) for _ in range(2))
    assert [recap(run.stdout, host_name)["changed"] for run in (over, again)] == [1, 0], over.stdout + again.stdout
    assert set(visitors.answers) == {"200"}
    assert main_process(host) == running
    assert converge_again(playbook="blog.yml", limit=host_name).returncode == 0


def test_a_site_is_taken_away_while_the_other_serves(
    ask: Callable[..., Answer],
    converge_again: Callable[..., Any],
    curl: Callable[..., Any],
    host: Any,
    host_name: str,
    published: Callable[..., tuple[str, int]],
    wait_until: Callable[..., Any],
) -> None:
    """Foretold, done without losing a request of the other, done once; and it comes back."""
    before = host.check_output(SHOP_FILES), main_process(host)
    foretold = converge_again("--check", playbook="absent.yml", limit=host_name)
    assert recap(foretold.stdout, host_name)["changed"] == 1, foretold.stdout
    assert ask("/", name=BLOG).status == 200
    with Visitors(published(host_name, 443)) as visitors:
        runs = [converge_again(playbook="absent.yml", limit=host_name) for _ in range(2)]
    assert [recap(run.stdout, host_name)["changed"] for run in runs] == [1, 0], runs[0].stdout + runs[1].stdout
    assert set(visitors.answers) == {"200"}
    wait_until(lambda: curl("/", name=BLOG).returncode == CURL_TLS_REFUSED)
    assert host.run("ls /etc/nginx/blog.* /etc/nginx/sites/blog.* /etc/ssl/private/nginx.blog.*").stdout == ""
    assert (host.check_output(SHOP_FILES), main_process(host)) == before
    assert converge_again(playbook="blog.yml", limit=host_name).returncode == 0
    wait_until(lambda: ask("/", name=BLOG).status == 200)
