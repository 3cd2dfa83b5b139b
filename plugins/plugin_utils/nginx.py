"""Values for nginx that are worked out on the control node."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError


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


def spelled(text: str) -> str:
    """A text in letters, digits and underscores alone, as a variable of nginx may be named; of two texts never the same."""
    return re.sub(r"[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):x}_", text)


def nginx_prefix(application: str) -> str:
    """What the names of a site's variables begin with: no other application's begin so."""
    return f"site_{spelled(application)}"


def nginx_locations(locations: Sequence[dict[str, Any]], application: str) -> list[dict[str, Any]]:
    """What nginx is told about paths with limits of their own.

    Args:
        locations: entries of nginx_locations.
        application: the application's name.

    Returns:
        For each entry: `matches`, what stands behind `location`; `directives` for each of these blocks; and `zone`, the directive of
        the http block that they need, or "".
    """
    return [_location(entry, f"{application}.location.{number}") for number, entry in enumerate(locations, 1)]


def _location(entry: dict[str, Any], zone: str) -> dict[str, Any]:
    path, rate, directives = entry["path"], entry.get("requests_per_minute"), []
    if entry.get("client_max_body_size"):
        directives.append(f"client_max_body_size {entry['client_max_body_size']}")
    if entry.get("proxy_timeout"):
        directives += [f"proxy_{way}_timeout {entry['proxy_timeout']}" for way in ("read", "send")]
    for key, directive in (("request_buffering", "proxy_request_buffering"), ("buffering", "proxy_buffering")):
        if entry.get(key) is not None:
            directives.append(f"{directive} {'on' if entry[key] else 'off'}")
    if entry.get("allow"):
        directives += [*(f"allow {address}" for address in entry["allow"]), "deny all"]
    if rate:
        directives.append(f"limit_req zone={zone} burst={rate} nodelay")
    below = [f"^~ {path.rstrip('/')}/"]
    return {
        "matches": ["/"] if path == "/" else below if path.endswith("/") else [f"= {path}", *below],
        "directives": directives,
        "zone": f"limit_req_zone $binary_remote_addr zone={zone}:1m rate={rate}r/m" if rate else "",
    }


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
        different for each path), `upstream_name`, `token`, and its password `file` as the module `services` takes it.

    Raises:
        AnsibleFilterError: the control node lacks passlib.
    """
    if not locations:
        return []
    # Here, so that nothing else of the collection needs it.
    try:
        from passlib.hash import sha512_crypt
    except ImportError as error:
        raise AnsibleFilterError(
            "nginx_protected_locations: hashing their passwords takes the Python package libpass beside Ansible: pip install libpass."
        ) from error
    logins = []
    for location in locations:
        inner = location["path"].strip("/")
        salt = hashlib.sha256(f"{application} {inner} {location['user']}".encode()).hexdigest()[:16]
        name = spelled(inner)
        hashed = sha512_crypt.using(rounds=5000, salt=salt).hash(str(location["password"]))
        logins.append(
            {
                "path": f"/{inner}/",
                "name": name,
                "upstream": location["upstream"],
                "upstream_name": location.get("upstream_name", ""),
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
