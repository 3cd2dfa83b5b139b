"""Checks and values for nginx that are worked out on the control node."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from passlib.hash import sha512_crypt


def _public_bytes(key: Any) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _shown(value: str) -> str:
    """Where a PEM text comes from, never the text itself."""
    return "the text given" if "-----BEGIN" in value else f"the file {value}"


def _covers(certificate: x509.Certificate, name: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        domains, addresses = (
            [entry.lower() for entry in names.get_values_for_type(x509.DNSName)],
            names.get_values_for_type(x509.IPAddress),
        )
    except x509.ExtensionNotFound:
        common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        domains, addresses = [str(entry.value).lower() for entry in common_names], []
    try:
        return ipaddress.ip_address(name) in addresses
    except ValueError:
        return name.lower() in domains or "*." + name.lower().partition(".")[2] in domains


def nginx_certificate_problems(
    certificate_pem: str,
    key_pem: str,
    certificate: str,
    key: str,
    server_names: Sequence[str],
) -> list[str]:
    """Say what is wrong with a given certificate, in sentences for the operator.

    Args:
        certificate_pem: the certificate and its chain as PEM; empty when the file could not be read.
        key_pem: the private key as PEM; empty when the file could not be read.
        certificate: the value of nginx_certificate, for the messages.
        key: the value of nginx_certificate_key, for the messages.
        server_names: the names the site answers to. Patterns and names without a dot are not looked for.

    Returns:
        One sentence a problem, each with the variable, the file and the fix; none when both can be used.
        Neither given is no problem.
    """
    if not certificate and not key:
        return []
    if not (certificate and key):
        empty, given = ("nginx_certificate", "nginx_certificate_key")[:: 1 if key else -1]
        return [f"{empty} is empty while {given} is set: set both, or neither for a self-signed certificate."]

    problems: list[str] = []
    leaf = private_key = None
    try:
        leaf = x509.load_pem_x509_certificates(certificate_pem.encode())[0]
    except ValueError:
        problems.append(
            f"nginx_certificate: {_shown(certificate)} is not there or holds no PEM certificate: "
            "name the full chain in PEM form."
        )
    try:
        private_key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    except TypeError:
        problems.append(
            f"nginx_certificate_key: {_shown(key)} is encrypted: decrypt it with `openssl pkey` and keep it in a vault."
        )
    except ValueError:
        problems.append(
            f"nginx_certificate_key: {_shown(key)} is not there or holds no PEM private key: name the key in PEM form."
        )
    if leaf and private_key and _public_bytes(leaf.public_key()) != _public_bytes(private_key.public_key()):
        problems.append(
            f"nginx_certificate_key: {_shown(key)} does not belong to the certificate in {_shown(certificate)} "
            "(nginx_certificate): give the key it was requested with, and the site's own certificate first in its file."
        )
    if leaf:
        now = datetime.now(UTC)
        if leaf.not_valid_after_utc <= now:
            problems.append(
                f"nginx_certificate: {_shown(certificate)} expired on {leaf.not_valid_after_utc:%Y-%m-%d}: renew it, "
                "or empty nginx_certificate and nginx_certificate_key for a self-signed one."
            )
        if leaf.not_valid_before_utc > now:
            problems.append(
                f"nginx_certificate: {_shown(certificate)} is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} "
                "UTC: check the clock of this machine, or wait."
            )
        missing = [name for name in server_names if re.match(r"^[\w:][\w:-]*\.", name) and not _covers(leaf, name)]
        if missing:
            problems.append(
                f"nginx_certificate: {_shown(certificate)} is not for {', '.join(missing)}: order one that covers "
                "nginx_server_names, or take the names out of there."
            )
    return problems


def pem(given: str) -> str:
    """A PEM text that is given itself or by its path.

    Args:
        given: the text, or the path of a file on the control node; empty for none.

    Returns:
        The text without space around it.

    Raises:
        OSError: the file cannot be read.
    """
    if not given or "-----BEGIN" in given:
        return given.strip()
    return Path(given).expanduser().read_text(encoding="utf-8").strip()


def certificate_entries(names: Sequence[str]) -> list[str]:
    """What a certificate holds for the names of a site, as openssl's subjectAltName has it.

    Args:
        names: nginx_server_names. What nginx takes but no certificate holds is left out: the catch-all and patterns.

    Returns:
        `DNS:shop.example.com` for a name, `IP:192.0.2.1` for an address.
    """
    entries = []
    for name in names:
        try:
            entries.append(f"IP:{ipaddress.ip_address(name.strip('[]'))}")
        except ValueError:
            if name[:1] not in ("~", "_", "."):
                entries.append(f"DNS:{name}")
    return entries


def nginx_logins(locations: Sequence[dict[str, Any]], application: str) -> list[dict[str, Any]]:
    """Work out what nginx needs to protect locations with a password.

    The salt need not be secret, it only has to differ between users; a fixed one gives the same line every time.
    The token is what a browser shows once it has logged in. It is made from the hash, so it tells no more than
    the password file does. nginx checks a password on every request: 5000 rounds take it 3 ms.

    Args:
        locations: entries of nginx_protected_locations.
        application: the application's name.

    Returns:
        For each location: `path` with both slashes, `upstream`, `deny`, `name` (letters, digits and underscores,
        different for each path), `token`, and its password `file` as the module `services` takes it.
    """
    logins = []
    for location in locations:
        inner = location["path"].strip("/")
        salt = hashlib.sha256(f"{application} {inner} {location['user']}".encode()).hexdigest()[:16]
        name = re.sub(r"[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):x}_", inner)
        hashed = sha512_crypt.using(rounds=5000, salt=salt).hash(str(location["password"]))
        logins.append(
            {
                "path": f"/{inner}/",
                "name": name,
                "upstream": location["upstream"],
                "deny": location.get("deny") or [],
                "token": hashlib.sha256(hashed.encode()).hexdigest()[:32],
                "file": {
                    "path": f"/etc/nginx/{application}.{name}.htpasswd",
                    "secret_content": f"{location['user']}:{hashed}\n",
                    "group": "www-data",
                    "mode": "0640",
                    "loaded_by": "reload",
                },
            }
        )
    return logins
