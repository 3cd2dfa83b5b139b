"""What the role says about certificates that cannot be used."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils import nginx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


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


def problems(certificate: str, key: str, names: list[str]) -> list[str]:
    """Ask the filter about files that hold this."""
    return nginx.nginx_certificate_problems(certificate, key, "/files/site.pem", "/files/site.key", names)


def test_a_good_certificate_is_taken() -> None:
    """Exact names, one wildcard level, and what no certificate can hold: patterns and localhost."""
    names = ["shop.test", "www.shop.test", "localhost", "~^x", "_"]
    assert problems(*make(["shop.test", "*.shop.test"]), names) == []


def test_no_certificate_is_no_problem() -> None:
    """The role makes its own."""
    assert nginx.nginx_certificate_problems("", "", "", "", ["shop.test"]) == []


def test_a_key_of_another_certificate() -> None:
    """Both files and the variable are named."""
    [problem] = problems(make(["shop.test"])[0], make(["shop.test"])[1], ["shop.test"])
    assert "nginx_certificate_key: the file /files/site.key does not belong" in problem
    assert "/files/site.pem" in problem


def test_expired_and_not_yet_valid() -> None:
    """With the date."""
    [expired] = problems(*make(["shop.test"], starts=-9, ends=-1), ["shop.test"])
    [early] = problems(*make(["shop.test"], starts=1), ["shop.test"])
    assert "nginx_certificate: the file /files/site.pem expired on" in expired
    assert "renew it" in expired
    assert "valid only from" in early


def test_a_name_that_is_not_covered() -> None:
    """A wildcard reaches one level, not two."""
    [problem] = problems(*make(["*.shop.test"]), ["www.shop.test", "a.b.shop.test", "shop.test"])
    assert "is not for a.b.shop.test, shop.test" in problem


def test_what_cannot_be_read() -> None:
    """A missing file, something else in it, and an encrypted key each have their sentence."""
    certificate, key = make(["shop.test"])
    assert "is not there or holds no PEM certificate" in problems("", key, [])[0]
    assert "is not there or holds no PEM private key" in problems(certificate, "", [])[0]
    assert "is encrypted" in problems(certificate, make(["shop.test"], password=b"x")[1], [])[0]


@pytest.mark.parametrize("given", [("/files/site.pem", ""), ("", "/files/site.key")])
def test_one_without_the_other(given: tuple[str, str]) -> None:
    """Both or neither."""
    [problem] = nginx.nginx_certificate_problems("", "", *given, [])
    assert "set both, or neither" in problem


def test_a_secret_given_as_text_stays_out_of_the_message() -> None:
    """The key's text is not shown."""
    certificate, key = make(["shop.test"])
    text = " ".join(nginx.nginx_certificate_problems(certificate, key[:80], certificate, key[:80], []))
    assert "the text given" in text
    assert "BEGIN" not in text


def test_password_lines_are_stable_and_differ_between_users() -> None:
    """The same line every run; another user, path or application another salt."""
    location = {"path": "flower", "upstream": "127.0.0.1:5555", "user": "a", "password": "p"}
    [first] = nginx.nginx_logins([location], "shop")
    assert nginx.nginx_logins([location], "shop") == [first]
    [other] = nginx.nginx_logins([{**location, "path": "/a-b/"}], "shop")
    assert first["path"] == "/flower/"
    assert first["content"] != other["content"]
    assert (first["name"], other["name"]) == ("flower", "a_2d_b")
    assert first["content"].startswith("a:$6$")


def test_the_play_stops_before_the_first_change(
    converge_again: Callable[..., subprocess.CompletedProcess[str]], host: Any, host_name: str
) -> None:
    """A key of another certificate: the message is shown, and the server is as it was."""
    if_changed = "find /etc/nginx /etc/ssl/private /etc/systemd/system/nginx.service -type f | sort | xargs sha256sum"
    before = host.check_output(if_changed)
    folder = Path(__file__).resolve().parents[3] / ".lab/nginx"
    result = converge_again(
        "-e",
        f"nginx_certificate={folder}/good.pem nginx_certificate_key={folder}/other.key",
        limit=host_name,
        playbook="nginx.yml",
    )
    assert result.returncode
    assert "other.key does not belong to the certificate" in " ".join(result.stdout.split())
    assert host.check_output(if_changed) == before
