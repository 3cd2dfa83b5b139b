"""Strong random values for the secrets of an environment: python -m ….secret_values NAME… <vault.yml, which prints a line for each missing one."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence

import yaml
from ansible_collections.stockpot.stack.plugins.plugin_utils import authority

# Keys with their certificates.
AUTHORITY = authority.Pair("vault_service_authority_key", "vault_service_authority_certificate")
SIGNER = authority.Pair("vault_celery_signing_key", "vault_celery_signing_certificate")
BYTES = 36


def missing(names: Sequence[str], present: Mapping[str, str]) -> dict[str, str]:
    """Values for those secrets that are not there.

    Args:
        names: of all secrets.
        present: what there is.

    Raises:
        authority.AuthorityError: half of a key and its certificate is there, or what is there cannot sign.
    """
    pairs = {name: pair for pair in (AUTHORITY, SIGNER) for name in pair}
    for pair in (AUTHORITY, SIGNER):
        if len(there := [name for name in pair if present.get(name)]) == 1:
            other = next(name for name in pair if name not in there)
            raise authority.AuthorityError(
                f"{there[0]} is there and {other} is not: put that back, or take the other out, too."
            )
    found: dict[str, str] = {}
    for name in (name for name in names if not present.get(name)):
        if name not in pairs:
            found[name] = secrets.token_urlsafe(BYTES)
        elif name in AUTHORITY:
            found |= {} if name in found else zip_pair(AUTHORITY, authority.new_authority())
    issuer = authority.Pair(*({**present, **found}.get(name, "") for name in AUTHORITY))
    if any(name in SIGNER and not present.get(name) for name in names):
        found |= zip_pair(SIGNER, authority.new_signer(issuer))
    return found


def zip_pair(names: authority.Pair, values: authority.Pair) -> dict[str, str]:
    """The values by name."""
    return dict(zip(names, values, strict=True))


def main() -> None:
    """Prints YAML, a line each."""
    present = yaml.safe_load(sys.stdin.read()) or {}
    try:
        found = missing(sys.argv[1:], present)
    except authority.AuthorityError as error:
        sys.exit(f"secrets: {error}")
    for name, value in found.items():
        # JSON's texts are YAML's.
        print(f"{name}: {json.dumps(value)}")


if __name__ == "__main__":
    main()
