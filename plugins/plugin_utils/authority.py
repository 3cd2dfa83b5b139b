"""The deployment's own authority, whose key stays on the control node, and the certificates that it gives.

Each server gets an authority below it, for its own names and addresses and for no other authority. With that it makes and renews the
certificates of its services by itself.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

# How long they are good for.
AUTHORITY = datetime.timedelta(days=20 * 365)
INTERMEDIATE = datetime.timedelta(days=3 * 365)
SIGNING = datetime.timedelta(days=20 * 365)
# A run gives a server another intermediate in the last year.
INTERMEDIATE_RENEWED = datetime.timedelta(days=365)
# A server's clock may be behind.
BACKDATED = datetime.timedelta(days=1)
CERTIFICATES_ONLY = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class AuthorityError(ValueError):
    """The authority cannot be used; the message says why and holds nothing secret."""


class Pair(NamedTuple):
    """A private key and its certificate, both PEM."""

    key: str
    certificate: str


def new_authority() -> Pair:
    """An authority of a deployment's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named("Stockpot authority")
    built = (
        _certificate(name, name, key.public_key(), AUTHORITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(CERTIFICATES_ONLY, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(_key_text(key), _text(built))


def new_signer(authority: Pair) -> Pair:
    """A key with which Celery's messages are signed, and its certificate; RSA, for Celery takes no other.

    Raises:
        AuthorityError: the authority cannot be read, or its key is another one's.
    """
    authority_key, issuer = _read(authority)
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    built = (
        _certificate(_named("Celery messages"), issuer.subject, key.public_key(), _at_most(SIGNING, issuer))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    return Pair(_key_text(key), _text(built))


def intermediate(authority: Pair, public_key: str, names: Sequence[str]) -> str:
    """The certificate of a server's own authority, PEM.

    Args:
        authority: the deployment's.
        public_key: the server's, PEM.
        names: its host names and IP addresses, the only ones that it may give certificates for; at least one of each kind.

    Raises:
        AuthorityError: the authority cannot be read, or its key is another one's.
    """
    authority_key, issuer = _read(authority)
    permitted = _subtrees(names)
    public = serialization.load_pem_public_key(public_key.encode())
    built = (
        _certificate(
            _named(f"Services of {names[0]}"[:64]),
            issuer.subject,
            public,
            _at_most(INTERMEDIATE, issuer),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(CERTIFICATES_ONLY, critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return _text(built)


def is_good(certificate: str, authority: str, public_key: str, names: Iterable[str]) -> bool:
    """Whether a server's intermediate may stay.

    Args:
        certificate: the intermediate's, PEM; empty where there is none.
        authority: the deployment's, PEM.
        public_key: the server's, PEM.
        names: as for `intermediate`.

    Raises:
        AuthorityError: the deployment's cannot be read.
    """
    if not certificate:
        return False
    issuer = _certificate_of(authority)
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        found.verify_directly_issued_by(issuer)
        constraints = found.extensions.get_extension_for_class(x509.NameConstraints).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    # Nothing outlives its authority.
    enough = min(_now() + INTERMEDIATE_RENEWED, issuer.not_valid_after_utc)
    return (
        found.not_valid_after_utc >= enough
        and found.public_key() == serialization.load_pem_public_key(public_key.encode())
        and set(constraints.permitted_subtrees or ()) == set(_subtrees(names))
    )


def problem(authority: Pair) -> str:
    """What is wrong with an authority; empty for nothing."""
    try:
        _key, certificate = _read(authority)
    except AuthorityError as error:
        return str(error)
    if certificate.not_valid_after_utc <= _now():
        return f"it ended on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return ""


def signer_problem(signer: Pair) -> str:
    """What is wrong with a key that is to sign Celery's messages, and its certificate; empty for nothing."""
    try:
        certificate, key = _certificate_of(signer.certificate), _key_of(signer.key)
    except AuthorityError as error:
        return str(error)
    if not isinstance(key, rsa.RSAPrivateKey):
        return "its key is not RSA, and Celery takes no other"
    if key.public_key() != certificate.public_key():
        return "its key and its certificate do not belong together"
    if certificate.not_valid_after_utc <= _now():
        return f"it ended on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return ""


def _read(authority: Pair) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    certificate, key = _certificate_of(authority.certificate), _key_of(authority.key)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityError("its key and its certificate do not belong together")
    return key, certificate


def _certificate_of(text: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise AuthorityError("its certificate is no PEM text") from error


def _key_of(text: str) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuthorityError("its key is no PEM text of a private key without a password") from error


def _subtrees(names: Iterable[str]) -> list[x509.GeneralName]:
    """Names and addresses, each alone."""
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_network(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _certificate(
    subject: x509.Name, issuer: x509.Name, public_key: x509.CertificatePublicKeyTypes, lasts: datetime.timedelta
) -> x509.CertificateBuilder:
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lasts)
    )


def _at_most(lasts: datetime.timedelta, issuer: x509.Certificate) -> datetime.timedelta:
    left = issuer.not_valid_after_utc - _now()
    if left <= datetime.timedelta():
        raise AuthorityError(f"it ended on {issuer.not_valid_after_utc:%Y-%m-%d}")
    return min(lasts, left)


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_text(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
