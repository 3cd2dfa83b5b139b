"""What the role nginx says about arguments that it cannot work with."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.stockpot.stack.plugins.plugin_utils import nginx
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.nginx import problems
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROLE = Path(__file__).resolve().parent.parent / "roles/nginx"
FLOWER = {"path": "/flower/", "upstream": "127.0.0.1:5555", "user": "flower", "password": "correct horse"}


def found(**changes: Any) -> list[str]:
    """The sentences for a site without mistakes, with changes."""
    site = {
        "nginx_application": "shop",
        "nginx_server_names": ["shop.test", "localhost"],
        "nginx_upstreams": ["unix:/run/shop.sock"],
    }
    return problems({**yaml.safe_load((ROLE / "defaults/main.yml").read_text()), **site, **changes})


def the_problem(**changes: Any) -> str:
    """The one sentence that a mistake gives."""
    [problem] = found(**changes)
    return problem


def make(names: list[str], *, starts: int = -1, ends: int = 30, password: bytes | None = None) -> tuple[str, str]:
    """A certificate and its key as PEM, valid from and to so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + timedelta(days=starts))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption)
    return certificate.public_bytes(pem).decode(), private.decode()


@pytest.fixture
def about(tmp_path: Path) -> Any:
    """The sentences about files that hold this certificate and this key, for these names."""

    def ask(certificate: str, key: str, names: list[str]) -> list[str]:
        (tmp_path / "site.pem").write_text(certificate)
        (tmp_path / "site.key").write_text(key)
        return found(
            nginx_certificate=str(tmp_path / "site.pem"),
            nginx_certificate_key=str(tmp_path / "site.key"),
            nginx_server_names=names,
        )

    return ask


def test_a_site_without_mistakes_passes() -> None:
    """The defaults, and everything an operator may write."""
    assert found() == []
    assert (
        found(
            nginx_server_names=["shop.test", "*.shop.test", "~^x", "_", ".shop.test", "192.0.2.1", "[2001:db8::1]"],
            nginx_upstreams=["unix:/run/shop.sock", "127.0.0.1:8000 weight=2", "app.internal:80", "[::1]:80"],
            nginx_trusted_proxies=["10.0.0.0/8", "2001:db8::/32"],
            nginx_static_path="/srv/www/static",
            nginx_static_url="assets",
            nginx_media_private=True,
            nginx_media_path="/srv/www/media/",
            nginx_client_max_body_size="0",
            nginx_proxy_timeout="1h30m",
            nginx_protected_locations=[
                {**FLOWER, "deny": ["/flower/metrics"]},
                {**FLOWER, "path": "/flower-2/"},
                {**FLOWER, "path": "/tools/grafana/"},
            ],
            nginx_settings={"gzip_comp_level": 6, "keepalive_timeout": "5s", "gzip": "on"},
            nginx_locations=[
                {"path": "/"},
                {"path": "/upload/", "client_max_body_size": "2g", "proxy_timeout": "10m", "allow": ["10.0.0.0/8"]},
                {"path": "/flower-3", "requests_per_minute": 6, "buffering": False},
            ],
            nginx_upstream_authority="/etc/ssl/services/shop/authority.pem",
            nginx_upstream_name="web.shop.internal",
            nginx_extra_locations="location ~ ^/a{2}$ { # {\n add_header X-Brace '}' always;\n return 200 \"${host} {\";\n}",
        )
        == []
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nginx_application": "my shop"}, ["'my shop'", "letters, digits"]),
        ({"nginx_server_names": []}, ["nginx_server_names is empty"]),
        ({"nginx_server_names": ["~^x"]}, ["main name comes first"]),
        ({"nginx_server_names": ["shop.test", "https://shop.test"]}, ["'https://shop.test' is no host name"]),
        ({"nginx_upstreams": []}, ["nginx_upstreams is empty"]),
        ({"nginx_upstreams": ["/run/shop.sock"]}, ["'/run/shop.sock'", "unix:/path"]),
        ({"nginx_upstreams": ["127.0.0.1"]}, ["address:port"]),
        ({"nginx_https_port": 70000}, ["nginx_https_port: 70000 is no port"]),
        ({"nginx_http_port": 443}, ["nginx_http_port is 443", "nginx_https_port"]),
        ({"nginx_login_attempts_per_minute": 0}, ["nginx_login_attempts_per_minute", "1 or more"]),
        ({"nginx_hsts_seconds": -1}, ["nginx_hsts_seconds", "0 or more"]),
        ({"nginx_client_max_body_size": "10 MB"}, ["nginx_client_max_body_size: '10 MB' is no size", "10m"]),
        ({"nginx_proxy_timeout": "a minute"}, ["nginx_proxy_timeout: 'a minute' is no time", "60s"]),
        ({"nginx_trusted_proxies": ["balancer"]}, ["nginx_trusted_proxies: 'balancer' is no address"]),
        ({"nginx_private_addresses": ["10.0.0.0/33"]}, ["nginx_private_addresses: '10.0.0.0/33' is no address"]),
        ({"nginx_static_path": "static"}, ["nginx_static_path: 'static' is no absolute path"]),
        ({"nginx_media_path": "srv/media"}, ["nginx_media_path: 'srv/media' is no absolute path"]),
        ({"nginx_static_path": "/srv/www/static", "nginx_static_url": "/"}, ["nginx_static_url: '/'"]),
        (
            {"nginx_media_path": "/srv/www/media", "nginx_media_url": "https://cdn.test/"},
            ["nginx_media_url", "without scheme"],
        ),
        ({"nginx_media_private": True}, ["nginx_media_private is true", "nginx_media_path is empty"]),
        ({"nginx_private_locations": ["metrics"]}, ["nginx_private_locations: 'metrics'", "/metrics"]),
        ({"nginx_private_locations": ["/"]}, ["nginx_private_locations: '/'"]),
        (
            {"nginx_settings": {"proxy_read_timeout": "5s"}},
            ["proxy_read_timeout belongs to the role", "nginx_proxy_timeout"],
        ),
        ({"nginx_settings": {"server_tokens": "on"}}, ["server_tokens belongs to the role: take it out"]),
        (
            {"nginx_settings": {"limit_req_zone": "x"}},
            ["limit_req_zone belongs to the http block", "/etc/nginx/conf.d/"],
        ),
        ({"nginx_settings": {"gzip": True}}, ["nginx_settings: gzip is True, not text", '"on"']),
        ({"nginx_upstream_name": "web.internal"}, ["web.internal, but nginx_upstream_authority is empty"]),
        ({"nginx_upstream_authority": "authority.pem"}, ["'authority.pem' is no absolute path"]),
        (
            {"nginx_protected_locations": [{**FLOWER, "upstream_name": "flower.internal"}]},
            ["the upstream_name of /flower/ is flower.internal, but nginx_upstream_authority is empty"],
        ),
    ],
)
def test_a_mistake_is_named_with_the_fix(changes: dict[str, Any], words: list[str]) -> None:
    """The variable comes first, and there is one sentence a mistake."""
    problem = the_problem(**changes)
    assert problem.startswith(tuple(changes))
    for word in words:
        assert word in problem


@pytest.mark.parametrize(
    ("locations", "words"),
    [
        ([{**FLOWER, "path": "flower/"}], ["'flower/'", "slash at both ends"]),
        ([{**FLOWER, "path": "/flower"}], ["'/flower'", "slash at both ends"]),
        ([{**FLOWER, "path": "/"}], ["'/'", "slash at both ends"]),
        ([FLOWER, FLOWER], ["/flower/ stands there twice"]),
        ([FLOWER, {**FLOWER, "path": "/flower/admin/"}], ["/flower/admin/ lies inside /flower/"]),
        ([{**FLOWER, "path": "/metrics/"}], ["/metrics/ is the path of nginx_private_locations"]),
        ([{**FLOWER, "upstream": "5555"}], ["upstream '5555' of /flower/", "address:port"]),
        ([{**FLOWER, "user": "a:b"}], ["the user of /flower/"]),
        ([{**FLOWER, "password": ""}], ["the password of /flower/ is empty"]),
        ([{**FLOWER, "deny": ["/metrics"]}], ["'/metrics', denied, is no path below /flower/"]),
    ],
)
def test_a_mistake_in_a_protected_location(locations: list[dict[str, Any]], words: list[str]) -> None:
    """It names the location, and no password."""
    problem = the_problem(nginx_protected_locations=locations)
    assert problem.startswith("nginx_protected_locations: ")
    assert "correct horse" not in problem
    for word in words:
        assert word in problem


@pytest.mark.parametrize(
    ("locations", "words"),
    [
        ([{"path": "upload"}], ["'upload' is no path", "/upload/"]),
        ([{"path": "/a"}, {"path": "/a/"}], ["/a/ stands there twice"]),
        ([{"path": "/metrics/web"}], ["/metrics/web is, or lies below, /metrics of nginx_private_locations"]),
        ([{"path": "/flower/api/"}], ["/flower/ of nginx_protected_locations", "open to everybody"]),
        ([{"path": "/static"}], ["/static is nginx_static_url"]),
        ([{"path": "/a", "client_max_body_size": "2 GB"}], ["client_max_body_size '2 GB' of /a is no size"]),
        ([{"path": "/a", "proxy_timeout": "long"}], ["proxy_timeout 'long' of /a is no time"]),
        ([{"path": "/a", "allow": ["office"]}], ["'office', allowed for /a, is no address"]),
        ([{"path": "/a", "requests_per_minute": -1}], ["requests_per_minute of /a", "0 or more"]),
    ],
)
def test_a_mistake_in_a_path_with_limits_of_its_own(locations: list[dict[str, Any]], words: list[str]) -> None:
    """A path below one that is fenced would lead round the fence."""
    problem = the_problem(
        nginx_locations=locations, nginx_protected_locations=[FLOWER], nginx_static_path="/srv/www/static"
    )
    assert problem.startswith("nginx_locations: ")
    for word in words:
        assert word in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("location /a/ { return 410;", "a brace is never closed"),
        ("} server { listen 81;", "a brace closes what was never opened"),
    ],
)
def test_an_operators_own_locations_are_whole_blocks(text: str, words: str) -> None:
    """What ends the server block early is no location."""
    problem = the_problem(nginx_extra_locations=text)
    assert problem.startswith("nginx_extra_locations: ")
    assert words in problem


def test_each_of_several_mistakes_has_its_sentence() -> None:
    """Paths inside one another are found wherever they stand in the list."""
    inside = [{**FLOWER, "path": path} for path in ("/a/c/", "/b/", "/a/", "/a/b/")]
    told = found(nginx_upstreams=[], nginx_proxy_timeout="x", nginx_protected_locations=inside)
    assert [sentence.split(":")[0].split()[0] for sentence in told] == [
        "nginx_upstreams",
        "nginx_proxy_timeout",
        "nginx_protected_locations",
        "nginx_protected_locations",
    ]


def test_a_good_certificate_is_taken(about: Any) -> None:
    """Exact names, one wildcard level, and what no certificate can hold: patterns and localhost."""
    names = ["shop.test", "www.shop.test", "localhost", "~^x", "_"]
    assert about(*make(["SHOP.test", "*.shop.test"]), names) == []


def test_a_certificate_may_be_given_as_text() -> None:
    """As it comes out of a vault."""
    certificate, key = make(["shop.test"])
    assert found(nginx_certificate=certificate, nginx_certificate_key=key) == []


def test_a_key_of_another_certificate(about: Any) -> None:
    """Both files and the variable are named."""
    [problem] = about(make(["shop.test"])[0], make(["shop.test"])[1], ["shop.test"])
    assert problem.startswith("nginx_certificate_key: the file ")
    assert "site.key does not belong to the certificate in the file" in problem
    assert "site.pem" in problem


def test_expired_and_not_yet_valid(about: Any) -> None:
    """With the date."""
    [expired] = about(*make(["shop.test"], starts=-9, ends=-1), ["shop.test"])
    [early] = about(*make(["shop.test"], starts=1), ["shop.test"])
    assert "site.pem expired on" in expired
    assert "renew it" in expired
    assert "valid only from" in early


def test_a_name_that_is_not_covered(about: Any) -> None:
    """A wildcard reaches one level, not two."""
    [problem] = about(*make(["*.shop.test"]), ["www.shop.test", "a.b.shop.test", "shop.test"])
    assert "is not for a.b.shop.test, shop.test" in problem


def test_what_cannot_be_read(about: Any) -> None:
    """A missing file, something else in it, and an encrypted key each have their sentence."""
    certificate, key = make(["shop.test"])
    assert "holds no PEM certificate" in about("", key, ["shop.test"])[0]
    assert "holds no PEM certificate" in about(key, key, ["shop.test"])[0]
    assert "holds no PEM private key" in about(certificate, "", ["shop.test"])[0]
    assert "holds no PEM private key" in about(certificate, certificate, ["shop.test"])[0]
    assert "is encrypted" in about(certificate, make(["shop.test"], password=b"x")[1], ["shop.test"])[0]
    missing, _ = found(nginx_certificate="/nowhere/site.pem", nginx_certificate_key="/nowhere/site.key")
    assert "the file /nowhere/site.pem is not there" in missing


@pytest.mark.parametrize(
    ("given", "empty"),
    [("nginx_certificate", "nginx_certificate_key"), ("nginx_certificate_key", "nginx_certificate")],
)
def test_one_without_the_other(given: str, empty: str) -> None:
    """Both or neither."""
    problem = the_problem(**{given: "/files/site.pem"})
    assert problem.startswith(f"{empty} is empty while {given} is set: set both, or neither")


def test_a_secret_given_as_text_stays_out_of_the_message() -> None:
    """The key's text is not shown."""
    certificate, key = make(["other.test"])
    text = " ".join(found(nginx_certificate=certificate, nginx_certificate_key=key[:80]))
    assert "the text given is not there or holds no PEM private key" in text
    assert "the text given is not for shop.test" in text
    assert "BEGIN" not in text


def test_a_self_signed_certificate_is_for_names_and_addresses() -> None:
    """What no certificate can hold is left out."""
    names = ["shop.test", "192.0.2.1", "[2001:db8::1]", "_", "~^x", ".shop.test"]
    assert nginx.certificate_entries(names) == ["DNS:shop.test", "IP:192.0.2.1", "IP:2001:db8::1"]


def test_password_lines_are_stable_and_differ_between_users() -> None:
    """The same line every run; another user, path or application another salt."""
    location = {"path": "flower", "upstream": "127.0.0.1:5555", "user": "a", "password": "p"}
    [first] = nginx.nginx_logins([location], "shop")
    assert nginx.nginx_logins([location], "shop") == [first]
    lines = {first["file"]["secret_content"].partition(":")[2]}
    for other in ({"user": "b"}, {"path": "/a-b/"}):
        [login] = nginx.nginx_logins([location | other], "shop")
        lines.add(login["file"]["secret_content"].partition(":")[2])
    [other] = nginx.nginx_logins([location | {"path": "/a-b/"}], "shop")
    assert len(lines) == 3
    assert (first["name"], other["name"]) == ("flower", "a_2d_b")
    assert first["file"]["secret_content"].startswith("a:$6$")


def test_only_passwords_of_locations_need_more_than_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without passlib everything else of the collection works."""
    monkeypatch.setitem(sys.modules, "passlib.hash", None)
    assert nginx.nginx_logins([], "shop") == []
    with pytest.raises(AnsibleFilterError, match="pip install libpass"):
        nginx.nginx_logins([FLOWER], "shop")


# Of the system, of the site's own deployment, of another one, and folders that hold such.
SECRET_FOLDERS = (
    *("/", "//", "/.", "/etc", "/etc/shop", "/etc/ssl/private", "/root", "/home", "/home/anna", "/var", "/var/lib"),
    *("/var/lib/redis", "/var/lib/postgresql/17", "/var/log/nginx", "/proc/1", "/run/shop", "/tmp", "/opt", "/usr"),
    *("/srv", "/srv/", "/srv/shop", "/srv/shop/", "/srv/shop/static/..", "/srv/shop/current", "/srv/shop/current/"),
    *(
        "/srv/shop/shown/source",
        "/srv/shop/current/source",
        "/srv/shop/current/source/",
        "/srv/shop/current/source/.",
        "/srv/shop/current/venv",
    ),
    *(
        "/srv/shop/current/venv/lib",
        "/srv/shop/releases",
        "/srv/shop/releases/0a1b2c",
        "/srv/shop/releases/0a1b2c/source",
    ),
    *("/srv/other/current/source", "/srv/other/current/source/staticfiles", "/srv/shop/../other/releases"),
)


@pytest.mark.parametrize("kind", ["static", "media"])
@pytest.mark.parametrize("path", SECRET_FOLDERS)
def test_no_path_shows_source_environment_or_another_project(kind: str, path: str) -> None:
    problem = the_problem(**{f"nginx_{kind}_path": path})
    assert problem.startswith(f"nginx_{kind}_path is {path!r}")
    assert "name a folder" in problem


@pytest.mark.parametrize(
    "path",
    [
        "/srv/shop/current/source/staticfiles",
        "/srv/shop/current/source/build/static",
        "/srv/shop/media",
        "/var/www/shop",
    ],
)
def test_a_folder_of_nothing_but_files_for_visitors_is_shown(path: str) -> None:
    assert found(nginx_static_path=path, nginx_media_path=path) == []
