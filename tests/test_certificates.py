"""The deployment's authority, those of its servers below it, and the program with which a server renews its certificates; with OpenSSL itself."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils import authority, secret_values
from cryptography import x509

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "roles/certificates/files/certificates.py"
NAMES = ["data-1", "localhost", "127.0.0.1", "web.shop.internal"]
SERVICES = [{"name": "redis"}, {"name": "web", "names": ["web.shop.internal"]}]


@pytest.fixture(scope="module")
def own() -> authority.Pair:
    """A deployment's authority."""
    return authority.new_authority()


@pytest.fixture(scope="module")
def server_key() -> str:
    """A server's private key."""
    words = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def public_key(server_key: str) -> str:
    """Its public part."""
    words = ["openssl", "pkey", "-pubout"]
    return subprocess.run(words, input=server_key, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def folder(tmp_path: Path, own: authority.Pair, server_key: str, public_key: str) -> Path:
    """A server's folder, as the role leaves it."""
    (tmp_path / "authority.pem").write_text(own.certificate)
    (tmp_path / "intermediate.pem").write_text(server_key + authority.intermediate(own, public_key, NAMES))
    configure(tmp_path)
    return tmp_path


def configure(folder: Path, **other: object) -> None:
    """Write what the role tells the program."""
    given = {"days": 30, "renewed_days": 20, "names": NAMES[:3], "services": SERVICES}
    (folder / "services.json").write_text(json.dumps({**given, **other}))


def program(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it as the timer does."""
    return subprocess.run(
        [sys.executable, PROGRAM, folder, *words], capture_output=True, text=True, check=False, timeout=60
    )


def made(folder: Path, name: str) -> Path:
    """A service's certificate."""
    file = folder / f"{name}.pem"
    done = program(folder, "make", name, str(file))
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture
def asked(folder: Path) -> Callable[[Path, str], str]:
    """What a strict client of the authority says to a service with this certificate, when it knows it by this name: "" for nothing."""
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    # As Python 3.13 is by itself.
    context.verify_flags |= ssl.VERIFY_X509_STRICT

    def ask(certificate: Path, name: str) -> str:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate)
        here, there = socket.socketpair()

        def serve() -> None:
            try:
                server.wrap_socket(there, server_side=True).close()
            except OSError:
                there.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            context.wrap_socket(here, server_hostname=name).close()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        finally:
            here.close()
            thread.join()
        return ""

    return ask


def test_a_service_shows_who_it_is_by_each_of_its_names(folder: Path, asked: Callable[[Path, str], str]) -> None:
    redis, web = made(folder, "redis"), made(folder, "web")
    assert [asked(redis, name) for name in ("data-1", "localhost", "127.0.0.1")] == ["", "", ""]
    assert asked(web, "web.shop.internal") == ""
    assert "mismatch" in asked(redis, "web.shop.internal")
    assert "mismatch" in asked(redis, "127.0.0.2")
    assert redis.stat().st_mode & 0o777 == 0o600


def test_one_may_be_for_names_alone(folder: Path) -> None:
    """It is made anew when that is said."""
    before = made(folder, "redis")
    configure(folder, services=[{"name": "redis", "addresses": False}])
    assert "the server's names are others" in program(folder, "look").stdout
    assert program(folder, "renew").returncode == 0
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", before],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:" in shown
    assert "IP Address:" not in shown
    assert program(folder, "look").stdout == ""


@pytest.mark.parametrize("foreign", ["data-2", "10.0.0.9"])
def test_a_server_cannot_make_one_for_another_server(
    folder: Path, asked: Callable[[Path, str], str], foreign: str
) -> None:
    """Its own authority makes it, and no client believes it."""
    configure(folder, names=[foreign])
    assert "subtree violation" in asked(made(folder, "redis"), foreign)


def test_a_server_cannot_make_another_authority(own: authority.Pair, public_key: str) -> None:
    found = x509.load_pem_x509_certificate(authority.intermediate(own, public_key, NAMES).encode())
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)


def test_an_intermediate_stays_unless_something_is_another(own: authority.Pair, public_key: str) -> None:
    certificate = authority.intermediate(own, public_key, NAMES)
    assert authority.is_good(certificate, own.certificate, public_key, list(reversed(NAMES)))
    assert not authority.is_good(certificate, own.certificate, public_key, NAMES[1:])
    assert not authority.is_good(certificate, authority.new_authority().certificate, public_key, NAMES)
    assert not authority.is_good("", own.certificate, public_key, NAMES)
    # What the authority has signed without names, and what is no certificate at all.
    assert not authority.is_good(authority.new_signer(own).certificate, own.certificate, public_key, NAMES)
    assert not authority.is_good("-----BEGIN CERTIFICATE-----\ncut off", own.certificate, public_key, NAMES)


def test_nothing_is_renewed_before_its_time_and_all_of_it_in_time(folder: Path) -> None:
    """The file keeps its mode; a service whose role has not made one gets none."""
    file = made(folder, "redis")
    file.chmod(0o640)
    before = file.read_text()
    assert program(folder, "renew").stdout == ""
    assert file.read_text() == before
    configure(folder, renewed_days=31)
    assert program(folder, "look").stdout.startswith(f"{file} is renewed: it would end within 31 days")
    assert file.read_text() == before
    done = program(folder, "renew")
    assert (done.returncode, done.stdout) == (0, f"{file} is renewed: it would end within 31 days.\n")
    assert file.read_text() != before
    assert file.stat().st_mode & 0o777 == 0o640
    assert not (folder / "web.pem").exists()


def test_other_names_and_another_authority_renew_it(
    folder: Path, server_key: str, public_key: str, asked: Callable[[Path, str], str]
) -> None:
    file = made(folder, "redis")
    configure(folder, names=NAMES)
    assert "the server's names are others" in program(folder, "renew").stdout
    assert asked(file, "web.shop.internal") == ""
    other = authority.new_authority()
    (folder / "authority.pem").write_text(other.certificate)
    (folder / "intermediate.pem").write_text(server_key + authority.intermediate(other, public_key, NAMES))
    assert "this server has another authority now" in program(folder, "renew").stdout
    assert program(folder, "renew").stdout == ""


def test_one_of_no_service_any_more_is_removed_when_it_has_ended(folder: Path) -> None:
    """Until then something may still show it."""
    configure(folder, days=0)
    gone = made(folder, "web")
    configure(folder, services=SERVICES[:1])
    (folder / "postgresql.pem").write_text(made(folder, "redis").read_text())
    assert program(folder, "look").stdout == f"{gone} is removed: no service has it, and it has ended.\n"
    assert gone.exists()
    assert program(folder, "renew").stdout == f"{gone} is removed: no service has it, and it has ended.\n"
    assert {path.name for path in folder.glob("*.pem")} == {
        "authority.pem",
        "intermediate.pem",
        "postgresql.pem",
        "redis.pem",
    }
    assert program(folder, "renew").stdout == ""


def test_one_that_has_ended_is_renewed(folder: Path) -> None:
    configure(folder, days=0)
    file = made(folder, "redis")
    configure(folder)
    assert program(folder, "renew").stdout.startswith(str(file))
    assert program(folder, "look").stdout == ""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl whose units run; it notes what it is asked, and fails to reload while the file `broken` is there."""
    command = tmp_path / "bin/systemctl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n[ "$1" != reload ] || [ ! -e {tmp_path}/broken ]\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    return tmp_path


def test_a_service_that_did_not_read_its_certificate_is_told_again(folder: Path, systemctl: Path) -> None:
    """And the program says so until it has."""
    services = [{"name": "redis", "units": ["redis-server.service"]}]
    made(folder, "redis")
    configure(folder, renewed_days=31, services=services)
    (systemctl / "broken").touch()
    failed = program(folder, "renew")
    assert failed.returncode == 1
    assert "redis-server.service goes on with the certificate that it has" in failed.stderr
    configure(folder, services=services)
    (systemctl / "broken").unlink()
    (systemctl / "asked").unlink()
    assert program(folder, "renew").returncode == 0
    assert "reload redis-server.service" in (systemctl / "asked").read_text()
    (systemctl / "asked").unlink()
    assert program(folder, "renew").returncode == 0
    assert not (systemctl / "asked").exists()


def test_missing_secrets_are_added_and_fit_those_that_are_there(own: authority.Pair) -> None:
    """The key that signs Celery's messages is certified by the authority of the same file."""
    present = {"vault_a": "kept", **secret_values.zip_pair(secret_values.AUTHORITY, own)}
    found = secret_values.missing(["vault_a", "vault_b", *secret_values.AUTHORITY, *secret_values.SIGNER], present)
    assert set(found) == {"vault_b", *secret_values.SIGNER}
    signer, issuer = (
        x509.load_pem_x509_certificate(text.encode())
        for text in (found["vault_celery_signing_certificate"], own.certificate)
    )
    signer.verify_directly_issued_by(issuer)


def test_a_signer_that_has_ended_says_so(own: authority.Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    assert authority.signer_problem(authority.new_signer(own)) == ""
    monkeypatch.setattr(authority, "SIGNING", -authority.BACKDATED / 2)
    assert "it ended on" in authority.signer_problem(authority.new_signer(own))


def test_half_an_authority_is_refused_with_the_other_halfs_name(own: authority.Pair) -> None:
    with pytest.raises(authority.AuthorityError, match="vault_service_authority_certificate is not"):
        secret_values.missing(list(secret_values.AUTHORITY), {"vault_service_authority_key": own.key})


def test_an_authority_that_cannot_be_used_says_why(own: authority.Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    assert authority.problem(own) == ""
    assert "no PEM text" in authority.problem(own._replace(certificate="no"))
    assert "do not belong together" in authority.problem(own._replace(key=authority.new_authority().key))
    monkeypatch.setattr(authority, "AUTHORITY", -authority.BACKDATED / 2)
    assert "it ended on" in authority.problem(authority.new_authority())
