"""What nginx is told, by what the role is given."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.nginx import OWN_DIRECTIVES
from rendering import ROOT, render

FLOWER = {
    "path": "/flower/",
    "upstream": "127.0.0.1:5555",
    "user": "flower",
    "password": "correct horse",
    "deny": ["/flower/metrics"],
}
EVERYTHING = {
    "nginx_certificate": "-----BEGIN CERTIFICATE-----",
    "nginx_certificate_key": "-----BEGIN PRIVATE KEY-----",
    "nginx_static_path": "/srv/shop/static",
    "nginx_media_path": "/srv/shop/media/",
    "nginx_media_private": True,
    "nginx_trusted_proxies": ["10.0.0.0/8"],
    "nginx_upstream_keepalive": 8,
    "nginx_protected_locations": [FLOWER],
    "nginx_settings": {"keepalive_timeout": "5s", "gzip_comp_level": 6},
}


def written(template: str = "site.conf.j2", debian: str = "13", **given: Any) -> str:
    """A template's text for a small site, with what else is given."""
    site = {
        "nginx_application": "shop",
        "nginx_server_names": ["shop.test", "www.shop.test"],
        "nginx_upstreams": ["unix:/run/shop.sock"],
        "ansible_facts": {"distribution_major_version": debian},
    }
    return render("nginx", template, **site | given)


def locations(configuration: str) -> list[str]:
    """What stands behind each `location`."""
    return re.findall(r"^ {4}location (.+) \{$", configuration, re.MULTILINE)


def block(configuration: str, opening: str) -> str:
    """A block by its first line, up to the brace that closes it."""
    [found] = re.findall(rf"^( *){re.escape(opening)} \{{\n(.*?)^\1\}}$", configuration, re.MULTILINE | re.DOTALL)
    return found[1]


def test_every_request_has_an_id_of_nginx_that_its_log_and_the_application_learn() -> None:
    """No location sets headers of its own: it would lose this one, and let a visitor's through."""
    text = written(**EVERYTHING)
    assert re.findall(r"^( *)proxy_set_header X-Request-ID (.+);$", text, re.MULTILINE) == [("    ", "$request_id")]
    assert "proxy_set_header" not in text[text.index("    location ") :]
    shared = written("nginx.conf.j2", **EVERYTHING)
    assert " id=$request_id " in shared
    assert "access_log /var/log/nginx/access.log timed;" in shared


@pytest.mark.parametrize("given", [{}, EVERYTHING], ids=["little", "everything"])
@pytest.mark.parametrize("debian", ["12", "13"])
@pytest.mark.parametrize("template", ["nginx.conf.j2", "site.conf.j2", "logins.conf.j2"])
def test_every_template_is_whole(template: str, debian: str, given: dict[str, Any]) -> None:
    """Nothing is undefined, every brace is closed, and the file says whose it is."""
    text = written(template, debian, **given)
    assert text.startswith("# Managed by Ansible (role nginx)")
    assert text.endswith("\n")
    assert text.count("{") == text.count("}")
    assert "{{" not in text


def test_without_files_the_application_answers_for_them() -> None:
    """An empty path leaves the URL to the application."""
    assert locations(written()) == [
        "/",
        "= /metrics",
        "^~ /metrics/",
        *(f"@{code}" for code in (413, 429, 502, 503, 504)),
    ]


def test_files_are_served_from_their_folders() -> None:
    """With or without slashes at the ends, as alias wants it; links out of the uploads are not followed."""
    text = written(nginx_static_path="/srv/static/", nginx_static_url="assets", nginx_media_path="/srv/media")
    assert "alias /srv/static/;" in block(text, "location ^~ /assets/")
    media = block(text, "location ^~ /media/")
    assert "alias /srv/media/;" in media
    assert "disable_symlinks on from=/srv/media;" in media


def test_private_uploads_wait_for_the_application() -> None:
    """Nothing but an answer of the application leads to them; public ones are no different for that."""
    media = block(written(nginx_media_path="/srv/media", nginx_media_private=True), "location ^~ /media/")
    assert "internal;" in media
    assert "disable_symlinks on from=/srv/media;" in media
    assert "internal;" not in written(nginx_media_path="/srv/media")


def test_a_protected_location_asks_for_its_own_password() -> None:
    """The file of its own, a limit for strangers, its upstream; and what is denied is denied to all."""
    text = written(
        nginx_protected_locations=[FLOWER, {**FLOWER, "path": "/a-b/", "upstream": "10.0.0.2:80", "deny": []}]
    )
    flower, other = block(text, "location ^~ /flower/"), block(text, "location ^~ /a-b/")
    assert "auth_basic_user_file /etc/nginx/shop.flower.htpasswd;" in flower
    assert "limit_req zone=shop.flower burst=10 nodelay;" in flower
    assert "proxy_pass http://shop.flower;" in flower
    assert "auth_basic_user_file /etc/nginx/shop.a_2d_b.htpasswd;" in other
    assert block(text, "upstream shop.flower").strip() == "server 127.0.0.1:5555;"
    assert block(text, "upstream shop.a_2d_b").strip() == "server 10.0.0.2:80;"
    assert block(text, "location ^~ /flower/metrics").strip() == "return 403;"


def test_who_has_logged_in_is_not_counted() -> None:
    """The token that a cookie has to show stands in the file that only root reads, not in nginx.conf."""
    logins = written("logins.conf.j2", nginx_protected_locations=[FLOWER], nginx_login_attempts_per_minute=3)
    [token] = re.findall(r'^    ([0-9a-f]{32}) "";$', logins, re.MULTILINE)
    assert f"flower_login={token}; Path=/flower/; Secure; HttpOnly" in logins
    assert "zone=shop.flower:1m rate=3r/m;" in logins
    assert token not in written(nginx_protected_locations=[FLOWER])
    assert "limit_req_zone" not in written("logins.conf.j2")


@pytest.mark.parametrize(("debian", "listening", "directives"), [("12", True, 0), ("13", False, 1)])
def test_http2_is_switched_on_as_the_release_wants_it(debian: str, listening: bool, directives: int) -> None:
    """A parameter of listen before nginx 1.25, a directive since."""
    tls = re.findall(r"listen .* ssl.*;", written("nginx.conf.j2", debian) + written(debian=debian))
    assert len(tls) == 6
    assert all(("http2" in line) is listening for line in tls)
    assert written(debian=debian).count("http2 on;") == directives


def test_ports_are_the_given_ones() -> None:
    """And the redirect names the port that visitors use."""
    given = {"nginx_http_port": 8080, "nginx_https_port": 8443, "nginx_public_https_port": 443, "nginx_ipv6": False}
    text = written(**given)
    for written_text in (text, written("nginx.conf.j2", **given)):
        listening = {line.split()[1].rstrip(";") for line in re.findall(r"listen .*;", written_text)}
        assert listening == {"8080", "8443", "127.0.0.1:8443"}
    assert "return 308 https://$host$request_uri;" in text
    assert "return 308 https://$host:9443$request_uri;" in written(nginx_public_https_port=9443)


def test_a_load_balancer_is_believed_only_when_it_is_trusted() -> None:
    """Otherwise any visitor could claim an address."""
    assert "real_ip" not in written()
    text = written(nginx_trusted_proxies=["10.0.0.0/8", "192.0.2.7"])
    assert re.findall(r"set_real_ip_from (.*);", text) == ["10.0.0.0/8", "192.0.2.7"]
    assert "real_ip_header X-Forwarded-For;" in text


def test_private_locations_answer_the_given_addresses() -> None:
    """The path itself and all below it; everybody else is refused."""
    text = written(nginx_private_locations=["/metrics", "/health/"], nginx_private_addresses=["10.1.2.3"])
    for opening in ("= /metrics", "^~ /metrics/", "= /health", "^~ /health/"):
        rules = [line.strip() for line in block(text, f"location {opening}").splitlines()]
        assert rules[:2] == ["allow 10.1.2.3;", "deny all;"]


def test_only_a_given_certificate_brings_hsts() -> None:
    """And only for as long as it is wanted."""
    given = {"nginx_certificate": "-----BEGIN X-----", "nginx_certificate_key": "-----BEGIN X-----"}
    assert "Strict-Transport-Security" not in written()
    assert '"max-age=300"' in written(**given, nginx_hsts_seconds=300)
    assert "Strict-Transport-Security" not in written(**given, nginx_hsts_seconds=0)


def test_another_certificate_is_another_file() -> None:
    """So that the one in use stays until nginx has accepted the new one; other names need another self-signed one."""
    given = [
        {},
        {"nginx_server_names": ["new.test"]},
        {"nginx_certificate": "-----BEGIN A", "nginx_certificate_key": "-----BEGIN K"},
        {"nginx_certificate": "-----BEGIN B", "nginx_certificate_key": "-----BEGIN K"},
    ]
    files = [re.findall(r"ssl_certificate(?:_key)? (.*);", written(**one)) for one in given]
    assert all(certificate == key for certificate, key in files)
    assert len({certificate for certificate, _ in files}) == len(given)


def test_settings_of_the_operator_win() -> None:
    """Once each, for nginx refuses a directive that stands there twice."""
    settings = {"keepalive_timeout": "5s", "gzip_comp_level": 6}
    text = written(nginx_settings=settings)
    assert re.findall(r"^    keepalive_timeout (.*);", text, re.MULTILINE) == ["5s"]
    assert "    gzip_comp_level 6;" in text
    assert written("nginx.conf.j2", nginx_settings=settings) == written("nginx.conf.j2")


def test_the_rules_know_every_directive_that_the_template_writes() -> None:
    """A setting that would stand there twice is refused before anything is changed."""
    overridable = set(re.findall(r"^  (\w+):", (ROOT / "roles/nginx/vars/main.yml").read_text(), re.MULTILINE))
    plain = {**EVERYTHING, "nginx_settings": {}}
    shared = set(
        re.findall(r"^ {4}([a-z]\w*) ", written("nginx.conf.j2", **plain).partition("http {")[2], re.MULTILINE)
    )
    of_the_site = set(re.findall(r"^ {0,4}([a-z]\w*) ", written(**plain).partition("\nserver {")[2], re.MULTILINE))
    # Those that nginx takes more than once.
    repeated = {"add_header", "error_page", "set"}
    assert {"map"} | (shared | of_the_site) - overridable - repeated == set(OWN_DIRECTIVES)


EVERY_LIMIT = {
    "path": "/upload",
    "client_max_body_size": "2g",
    "proxy_timeout": "600s",
    "request_buffering": False,
    "buffering": True,
    "allow": ["10.0.0.0/8", "::1"],
    "requests_per_minute": 6,
}


def test_a_path_has_limits_of_its_own() -> None:
    """That very path and all below it; what an entry leaves out stays as it is, and the site's own location stays too."""
    text = written(nginx_locations=[EVERY_LIMIT, {"path": "/events/", "buffering": False}])
    for opening in ("location = /upload", "location ^~ /upload/"):
        assert [line.strip() for line in block(text, opening).splitlines()] == [
            "client_max_body_size 2g;",
            "proxy_read_timeout 600s;",
            "proxy_send_timeout 600s;",
            "proxy_request_buffering off;",
            "proxy_buffering on;",
            "allow 10.0.0.0/8;",
            "allow ::1;",
            "deny all;",
            "limit_req zone=shop.location.1 burst=6 nodelay;",
            "proxy_pass http://shop;",
        ]
    assert "limit_req_zone $binary_remote_addr zone=shop.location.1:1m rate=6r/m;" in text
    assert [line.strip() for line in block(text, "location ^~ /events/").splitlines()] == [
        "proxy_buffering off;",
        "proxy_pass http://shop;",
    ]
    assert locations(text).count("/") == 1
    assert "than 10m" not in text


def test_the_whole_site_may_be_such_a_path() -> None:
    """It takes the place of the site's own location, which nginx would refuse to see twice."""
    text = written(nginx_locations=[{"path": "/", "requests_per_minute": 60}])
    assert locations(text).count("/") == 1
    assert "limit_req zone=shop.location.1" in block(text, "location /")


def test_an_operators_own_locations_stand_in_the_server_block() -> None:
    """Between lines that say where they come from, for the message of a refusal."""
    text = written(nginx_extra_locations="location /old/ {\n    return 410;\n}\n")
    assert (
        "    # From nginx_extra_locations.\nlocation /old/ {\n    return 410;\n}\n    # End of nginx_extra_locations."
        in text
    )
    assert "nginx_extra_locations" not in written()


def defined(text: str) -> set[str]:
    """What a site defines in the http block, which all sites of a host share: its variables, upstreams and zones."""
    maps = re.findall(r"^map \S+ (\$\w+) \{$", text, re.MULTILINE)
    return {*maps, *re.findall(r"^(upstream \S+) \{$", text, re.MULTILINE), *re.findall(r"zone=([^:;\s]+):", text)}


@pytest.mark.parametrize("names", [("shop", "shop2"), ("a-b", "a_2d_b"), ("shop", "shop-flower")])
def test_two_sites_share_no_name(names: tuple[str, str]) -> None:
    """Whatever their applications are called."""
    given = {**EVERYTHING, "nginx_locations": [EVERY_LIMIT]}
    one, other = (
        defined(written(**given, nginx_application=name) + written("logins.conf.j2", **given, nginx_application=name))
        for name in names
    )
    assert len(one) == len(other) > 8
    assert not one & other


def test_what_all_sites_share_is_the_same_whoever_writes_it() -> None:
    """Or two projects on a host would write it in turn, and reload nginx each time."""
    other = {
        **EVERYTHING,
        "nginx_application": "blog",
        "nginx_server_names": ["blog.test"],
        "nginx_locations": [EVERY_LIMIT],
    }
    assert written("nginx.conf.j2", **other) == written("nginx.conf.j2")


def test_what_is_no_static_file_is_not_served_as_one() -> None:
    """Source beside the collected files, and the releases of whatever application owns a folder right below /srv."""
    text = written(nginx_static_path="/srv/shop/current/source/static", nginx_media_path="/srv/other/")
    assert r"location ~ /\.|\.pyc?$ {" in block(text, "location ^~ /static/")
    assert r"location ~ /\.|^/media/(current|shown|releases)/ {" in block(text, "location ^~ /media/")
    elsewhere = written(nginx_static_path="/var/www/shop", nginx_media_path="/srv/shop/media")
    assert elsewhere.count(r"location ~ /\. {") == 2


def test_upstreams_are_asked_over_tls_only_by_their_names_and_of_their_authority() -> None:
    """Each place is: one without TLS would send what visitors send in clear text."""
    tls = {"nginx_upstream_authority": "/etc/ssl/authority.pem", "nginx_upstream_name": "web.shop.internal"}
    flower = {**FLOWER, "upstream_name": "flower.shop.internal"}
    text = written(**EVERYTHING | tls | {"nginx_protected_locations": [flower]})
    assert "proxy_ssl_verify on;" in text
    assert "proxy_ssl_trusted_certificate /etc/ssl/authority.pem;" in text
    assert {line.split()[1] for line in text.splitlines() if "proxy_pass " in line} == {
        "https://shop;",
        "https://shop.flower;",
    }
    assert "proxy_ssl_name flower.shop.internal;" in block(text, "location ^~ /flower/")
    plain = written(**EVERYTHING)
    assert "https://shop" not in plain
    assert "proxy_ssl" not in plain
